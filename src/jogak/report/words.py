"""Words and numbers of the reports, in Korean and English."""

from __future__ import annotations

from jogak.spec.film import Lang as Lang

WORDS: dict[Lang, dict[str, str]] = {
    "en": {
        "report": "Film report",
        "poster": "A frame of the film",
        "pass": "met",
        "fail": "missed",
        "plan": "The plan",
        "negative": "without",
        "music": "Music",
        "notes": "What was adjusted, and why",
        "contact": "Contact sheet",
        "scores": "Scores of each shot",
        "scores_more": "dot: mean over the shot's frames · bar: 95 % interval",
        "axis": "axis",
        "sound": "Sound, measured",
        "sound_more": "ITU-R BS.1770-4 on the finished mix · green: what was asked for",
        "events": "Where each sound fell, against the plan",
        "methods": "How the frames were made",
        "stages": "Time and memory of each stage",
        "stage": "stage",
        "calls": "calls",
        "stored": "from store",
        "time": "time",
        "share": "share of the work",
        "memory": "memory",
        "settings": "Every setting and seed",
        "pipeline": "The pipeline, as it ran",
        "limits": "What this film and these numbers are not",
        "film": "film",
    },
    "ko": {
        "report": "영화 보고서",
        "poster": "영화의 한 장면",
        "pass": "충족",
        "fail": "미달",
        "plan": "계획",
        "negative": "제외",
        "music": "음악",
        "notes": "무엇을 왜 조정했나",
        "contact": "콘택트 시트",
        "scores": "샷별 점수",
        "scores_more": "점: 그 샷 프레임들의 평균 · 막대: 95 % 구간",
        "axis": "눈금",
        "sound": "측정한 소리",
        "sound_more": "완성된 믹스를 ITU-R BS.1770-4로 측정 · 초록: 요구 범위",
        "events": "소리가 계획한 순간에 맞았나",
        "methods": "프레임을 만든 방법",
        "stages": "단계별 시간과 메모리",
        "stage": "단계",
        "calls": "호출",
        "stored": "저장소",
        "time": "시간",
        "share": "작업량의 몫",
        "memory": "메모리",
        "settings": "모든 설정과 시드",
        "pipeline": "실제로 실행된 파이프라인",
        "limits": "이 영화와 숫자의 한계",
        "film": "영화",
    },
}

SCORES: dict[str, dict[Lang, str]] = {
    "clip_score": {"en": "Text match", "ko": "글과 일치"},
    "subject_consistency": {"en": "Subject", "ko": "주인공 일관성"},
    "background_consistency": {"en": "Background", "ko": "배경 일관성"},
    "temporal_flicker": {"en": "Steadiness of shots at rest", "ko": "멈춘 샷의 안정성"},
    "temporal_flicker_compensated": {"en": "Steadiness", "ko": "안정성"},
    "motion_smoothness": {"en": "Smoothness", "ko": "매끄러움"},
    "motion_amount": {"en": "Motion", "ko": "움직임"},
    "dynamic_degree": {"en": "Share of shots that move", "ko": "움직이는 샷의 비율"},
}
"""What a score is called, by the part of its name before the slash."""

LEGEND: dict[Lang, str] = {
    "en": "Text match: 100 × cosine of frame and prompt. Subject, background: how alike each frame is "
    "to the one before and to the first, by two networks. Steadiness: how alike neighbours are "
    "once motion is undone. Smoothness: how well a dropped frame is found again from its "
    "neighbours. Motion: pixels that the fastest 5 % go in an eighth of a second, in a picture "
    "256 pixels high. ± is half of the 95 % interval.",
    "ko": "글과 일치: 프레임과 프롬프트의 코사인 × 100. 주인공·배경 일관성: 각 프레임이 바로 앞과 첫 "
    "프레임을 얼마나 닮았는지, 두 신경망으로. 안정성: 움직임을 되돌린 뒤 이웃 프레임이 닮은 "
    "정도. 매끄러움: 빼 둔 프레임을 이웃에서 되살린 정도. 움직임: 가장 빠른 5 %가 1/8초에 가는 "
    "픽셀(높이 256 기준). ±는 95 % 구간의 절반.",
}

CHECKS: dict[str, dict[Lang, str]] = {
    "integrated_loudness": {"en": "Integrated loudness", "ko": "통합 음량"},
    "true_peak": {"en": "True peak", "ko": "트루 피크"},
    "dialogue_over_bed": {"en": "Speech over its bed", "ko": "배경음 대비 말소리"},
    "event_error": {"en": "Worst event error", "ko": "가장 큰 이벤트 오차"},
}

SIZES: dict[str, dict[Lang, str]] = {
    "wide": {"en": "wide", "ko": "와이드"},
    "medium": {"en": "medium", "ko": "미디엄"},
    "close": {"en": "close", "ko": "클로즈"},
    "action": {"en": "action", "ko": "액션"},
    "closing": {"en": "closing", "ko": "마무리"},
}
CAMERAS: dict[str, dict[Lang, str]] = {
    "still": {"en": "camera still", "ko": "카메라 고정"},
    "pan_left": {"en": "pan left", "ko": "왼쪽 팬"},
    "pan_right": {"en": "pan right", "ko": "오른쪽 팬"},
    "tilt_up": {"en": "tilt up", "ko": "틸트 업"},
    "tilt_down": {"en": "tilt down", "ko": "틸트 다운"},
    "zoom_in": {"en": "zoom in", "ko": "줌 인"},
    "zoom_out": {"en": "zoom out", "ko": "줌 아웃"},
}
MOODS: dict[str, dict[Lang, str]] = {
    "calm": {"en": "calm", "ko": "차분한"},
    "happy": {"en": "happy", "ko": "행복한"},
    "sad": {"en": "sad", "ko": "슬픈"},
    "tense": {"en": "tense", "ko": "긴장된"},
    "epic": {"en": "epic", "ko": "웅장한"},
    "mysterious": {"en": "mysterious", "ko": "신비로운"},
    "playful": {"en": "playful", "ko": "장난스러운"},
}
SOUNDS: dict[str, dict[Lang, str]] = {
    "rain": {"en": "rain", "ko": "비"},
    "wind": {"en": "wind", "ko": "바람"},
    "waves": {"en": "waves", "ko": "파도"},
    "fire": {"en": "fire", "ko": "불"},
    "birds": {"en": "birds", "ko": "새소리"},
    "insects": {"en": "insects", "ko": "풀벌레"},
    "stream": {"en": "stream", "ko": "시냇물"},
    "crowd": {"en": "crowd", "ko": "군중"},
    "thunder": {"en": "thunder", "ko": "천둥"},
    "steps": {"en": "steps", "ko": "발소리"},
    "whoosh": {"en": "whoosh", "ko": "휙 소리"},
    "impact": {"en": "impact", "ko": "부딪힘"},
    "bell": {"en": "bell", "ko": "종"},
    "splash": {"en": "splash", "ko": "첨벙"},
    "chime": {"en": "chime", "ko": "차임"},
    "engine": {"en": "engine", "ko": "엔진"},
    "door": {"en": "door", "ko": "문"},
    "bark": {"en": "bark", "ko": "멍멍"},
    "meow": {"en": "meow", "ko": "야옹"},
    "magic": {"en": "magic", "ko": "마법"},
}

POCKET_LIMIT: dict[Lang, str] = {
    "en": "The pictures come from a small model that has seen drawings only: illustrated worlds, no "
    "photographs, and subjects that it draws worse the rarer they are.",
    "ko": "그림은 그림체만 본 작은 모델이 그렸습니다. 삽화 같은 세계이지 사진이 아니며, 드문 "
    "대상일수록 서툽니다.",
}
OTHER_LIMIT: dict[Lang, str] = {
    "en": "The pictures come from a model that was brought along. Size, strength and steps of the drawn frames were "
    "measured best on pocket; another model may do better with others.",
    "ko": "그림은 직접 가져온 모델이 그렸습니다. 프레임의 크기·강도·단계 수는 pocket에서 가장 좋았던 값이며, 다른 "
    "모델에는 다른 값이 더 나을 수 있습니다.",
}
LIMITS: dict[Lang, tuple[str, ...]] = {
    "en": (
        "Text alignment is the cosine of a small judging CLIP that this project trained by itself, "
        "with another seed than pocket's own: compare it only between films judged by the same judge.",
        "Consistency, steadiness, smoothness and motion follow VBench, but with other networks and "
        "another optical flow, as each name says: they cannot be compared with VBench's table.",
        "Intervals say how sure a mean over this film's own frames and shots is. They say nothing of "
        "another film, and no score here stands for what a person thinks of it.",
    ),
    "ko": (
        "글과 일치 점수는 이 프로젝트가 pocket과 다른 시드로 따로 학습한 작은 평가용 CLIP의 "
        "코사인입니다. 같은 평가 모델로 잰 영화끼리만 비교할 수 있습니다.",
        "일관성·안정성·매끄러움·움직임은 VBench의 정의를 따르지만, 이름에 적힌 대로 다른 신경망과 "
        "다른 광류를 썼습니다. VBench 표의 숫자와 비교할 수 없습니다.",
        "구간은 이 영화의 프레임과 샷 평균이 얼마나 확실한지를 말할 뿐, 다른 영화에 대해서는 "
        "아무것도 말하지 않습니다. 어떤 점수도 사람의 감상을 대신하지 않습니다.",
    ),
}


def duration(seconds: float, lang: Lang) -> str:
    """As a person says it: "0.4 s", "41 s", "3 min 05 s"; "0.4초", "41초", "3분 05초"."""
    minute, second = ("분", "초") if lang == "ko" else (" min", " s")
    if seconds < 0.05:
        return f"<0.1{second}"
    if seconds < 9.95:
        return f"{seconds:.1f}{second}"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{second}"
    return f"{whole // 60}{minute} {whole % 60:02}{second}"


def memory(size: int) -> str:
    """Bytes in MB or GB, the powers of ten."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
