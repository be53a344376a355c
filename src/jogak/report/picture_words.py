"""Words of the picture report, in Korean and English."""

from __future__ import annotations

from jogak.report.words import Lang

WORDS: dict[Lang, dict[str, str]] = {
    "en": {
        "report": "Picture report",
        "rubric": "The rubric",
        "rubric_more": "points = weight × share of the bars that were met, among those measured",
        "quality": "Quality",
        "control": "Control precision",
        "reasoning": "Reasoning",
        "of": "of",
        "not_measured": "not measured",
        "no_bar": "measured, but no bar was set",
        "nothing": "Nothing of this part was measured in this run. To measure it: jogak eval FOLDER --reference FOLDER -o scores.json, then jogak report with --scores scores.json.",
        "pass": "met",
        "fail": "missed",
        "scores_more": "dot: value · bar: 95 % interval · n: what it stands on",
        "score": "score",
        "value": "value",
        "interval": "95 % interval",
        "asked": "asked for",
        "lead": "leads at this number of pictures",
        "lower": "lower is better",
        "bars": "Bars",
        "alarm": "Memorisation alarm",
        "alarm_on": "alarm",
        "alarm_off": "quiet",
        "maps": "Maps: asked for, and taken from the picture again",
        "wanted": "asked for",
        "found": "found again",
        "picture": "picture",
        "original": "reference",
        "missing": "Not measured, and why",
        "alternatives": "What was tried",
        "alternatives_more": "sorted, best first; the chosen one is marked",
        "way": "way",
        "verdict": "verdict",
        "chosen": "chosen",
        "why": "Why it won",
        "no_choice": "This run recorded no choice: its pictures stand side by side, and nothing was preferred.",
        "no_alternatives": "One way was tried, so nothing could win.",
        "checks": "Can the result be followed?",
        "setting_reasons": "Why each setting",
        "gallery": "Pictures",
        "settings": "Every setting",
        "drawing": "Every picture was drawn with",
        "models": "Weights",
        "stages": "Time and memory of each stage",
        "stage": "stage",
        "calls": "calls",
        "stored": "from store",
        "time": "time",
        "share": "share of the work",
        "memory": "memory",
        "notes": "Notes",
        "limits": "What these numbers are not",
    },
    "ko": {
        "report": "그림 보고서",
        "rubric": "평가표",
        "rubric_more": "점수 = 배점 × 측정한 기준 가운데 충족한 비율",
        "quality": "품질",
        "control": "제어 정밀도",
        "reasoning": "근거",
        "of": "/",
        "not_measured": "측정하지 않음",
        "no_bar": "측정했으나 기준이 없음",
        "nothing": "이 실행에서는 이 항목을 측정하지 않았습니다. jogak eval 폴더 --reference 폴더 -o scores.json 으로 측정한 뒤 jogak report에 --scores scores.json 을 주세요.",
        "pass": "충족",
        "fail": "미달",
        "scores_more": "점: 값 · 막대: 95 % 구간 · n: 근거가 된 수",
        "score": "점수",
        "value": "값",
        "interval": "95 % 구간",
        "asked": "기준",
        "lead": "이 장수에서 기준이 되는 거리",
        "lower": "낮을수록 좋음",
        "bars": "기준",
        "alarm": "복제 경보",
        "alarm_on": "경보",
        "alarm_off": "이상 없음",
        "maps": "맵: 요청한 것과 그림에서 다시 뽑은 것",
        "wanted": "요청",
        "found": "다시 추출",
        "picture": "그림",
        "original": "참고 그림",
        "missing": "측정하지 않은 것과 그 까닭",
        "alternatives": "시도한 것들",
        "alternatives_more": "좋은 순서, 선택한 것은 표시",
        "way": "방법",
        "verdict": "판정",
        "chosen": "선택",
        "why": "선택한 까닭",
        "no_choice": "이 실행에는 선택이 기록되지 않았습니다. 그림들을 나란히 보일 뿐 우열을 정하지 않았습니다.",
        "no_alternatives": "한 가지 방법만 시도해서 비교할 것이 없습니다.",
        "checks": "결과를 따라갈 수 있는가",
        "setting_reasons": "설정마다의 까닭",
        "gallery": "그림",
        "settings": "모든 설정",
        "drawing": "모든 그림에 공통인 설정",
        "models": "가중치",
        "stages": "단계별 시간과 메모리",
        "stage": "단계",
        "calls": "호출",
        "stored": "저장소",
        "time": "시간",
        "share": "작업량의 몫",
        "memory": "메모리",
        "notes": "메모",
        "limits": "이 숫자들의 한계",
    },
}

JOURNEYS: dict[str, dict[Lang, str]] = {
    "image": {"en": "Pictures drawn", "ko": "그린 그림"},
    "eval": {"en": "Evaluation of {}", "ko": "{} 평가"},
    "sweep": {"en": "Sweep of a LoRA", "ko": "LoRA 스윕"},
    "sheet": {"en": "Character sheet", "ko": "캐릭터 시트"},
    "train": {"en": "Training of a LoRA", "ko": "LoRA 학습"},
}

SCORES: dict[str, dict[Lang, tuple[str, str]]] = {
    "kid": {
        "en": ("KID", "distance to the references, unbiased at any number"),
        "ko": ("KID", "참고 그림과의 거리, 장수와 무관하게 치우침 없음"),
    },
    "fd": {
        "en": ("Fréchet distance", "to the references; biased upwards for few pictures"),
        "ko": ("프레셰 거리", "참고 그림과의 거리, 장수가 적으면 크게 나옴"),
    },
    "fid": {
        "en": ("FID", "Fréchet distance by FID's own Inception network"),
        "ko": ("FID", "FID의 Inception 신경망으로 잰 프레셰 거리"),
    },
    "clip_score": {
        "en": ("Text match", "100 × cosine of picture and prompt"),
        "ko": ("글과 일치", "그림과 프롬프트의 코사인 × 100"),
    },
    "clip_margin": {
        "en": ("Lead over other words", "own prompt against the other prompts of the set"),
        "ko": ("다른 글과의 차이", "자기 프롬프트와 나머지 프롬프트의 차이"),
    },
    "identity": {
        "en": ("Identity", "mean feature cosine to the references"),
        "ko": ("정체성", "참고 그림들과의 평균 특징 코사인"),
    },
    "identity_ceiling": {
        "en": ("… of the references", "how alike the references are to each other"),
        "ko": ("… 참고 그림끼리", "참고 그림들이 서로 닮은 정도"),
    },
    "diversity": {
        "en": ("Diversity", "mean feature distance of two pictures"),
        "ko": ("다양성", "두 그림의 평균 특징 거리"),
    },
    "memorised": {
        "en": ("Copies", "share of pictures that copy a reference"),
        "ko": ("복제", "참고 그림을 베낀 그림의 비율"),
    },
    "copied": {
        "en": ("Copies", "share of pictures that copy a training picture"),
        "ko": ("복제", "학습 그림을 베낀 그림의 비율"),
    },
    "edge_f1": {
        "en": ("Edges kept", "F1 of edges within 2 pixels"),
        "ko": ("윤곽 일치", "2픽셀 안에서 맞은 윤곽의 F1"),
    },
    "lines_ms_ssim": {
        "en": ("Lines kept", "MS-SSIM of the line maps"),
        "ko": ("선 일치", "선 맵의 MS-SSIM"),
    },
    "depth_rmse": {
        "en": ("Depth error", "RMSE as a share of the range"),
        "ko": ("깊이 오차", "범위에 대한 RMSE"),
    },
    "pck": {"en": ("Joints kept", "PCK@0.1"), "ko": ("관절 일치", "PCK@0.1")},
    "oks": {"en": ("Pose", "object keypoint similarity"), "ko": ("자세", "키포인트 유사도(OKS)")},
    "likeness": {
        "en": ("Likeness", "of the way from the plain model to the training set"),
        "ko": ("닮음", "기본 모델에서 학습 그림까지 간 정도"),
    },
    "obedience": {
        "en": ("Obedience", "share of the plain model's text match that is kept"),
        "ko": ("순응", "기본 모델의 글 일치를 지킨 비율"),
    },
    "adherence": {
        "en": ("Text match", "100 × cosine of picture and prompt"),
        "ko": ("글과 일치", "그림과 프롬프트의 코사인 × 100"),
    },
    "value": {"en": ("Value", "what the choice maximises"), "ko": ("종합", "선택이 최대로 하는 값")},
    "consistency": {
        "en": ("Consistency", "with the other panels and the references"),
        "ko": ("일관성", "다른 패널과 참고 그림에 대한"),
    },
}
"""What a score is called and what it measures, by the part of its name before the slash."""

CONTROL_SCORES = frozenset(
    {"edge_f1", "lines_ms_ssim", "depth_rmse", "pck", "oks", "control", "control_fidelity"}
)

BARS: dict[str, dict[Lang, str]] = {
    "consistency": {
        "en": "Consistency of the least alike panel",
        "ko": "가장 덜 닮은 패널의 일관성",
    },
    "fd_over_halves": {
        "en": "Distance to the references, against that of their own halves",
        "ko": "참고 그림과의 거리 ÷ 참고 그림 절반끼리의 거리",
    },
    "text_margin_low": {
        "en": "Lead over other words, lower end of its interval",
        "ko": "다른 글과의 차이, 구간의 아래 끝",
    },
    "identity_share": {
        "en": "Identity, as a share of the references' own",
        "ko": "정체성 ÷ 참고 그림끼리의 정체성",
    },
    "diversity_share": {
        "en": "Diversity, as a share of the references' own",
        "ko": "다양성 ÷ 참고 그림끼리의 다양성",
    },
    "copies": {"en": "Copies of reference pictures", "ko": "참고 그림을 베낀 그림"},
    "edge_f1": {"en": "Edges kept (F1)", "ko": "윤곽 일치(F1)"},
    "depth_rmse": {"en": "Depth error (share of the range)", "ko": "깊이 오차(범위 대비)"},
    "pck": {"en": "Joints kept (PCK@0.1)", "ko": "관절 일치(PCK@0.1)"},
    "seen_ratio": {
        "en": "Loss on training pictures, end against beginning",
        "ko": "학습 그림의 손실, 끝 ÷ 처음",
    },
    "held_out_ratio": {
        "en": "Loss on held-out pictures, end against its lowest",
        "ko": "따로 둔 그림의 손실, 끝 ÷ 가장 낮은 값",
    },
    "likeness": {"en": "Likeness to the training pictures", "ko": "학습 그림과 닮음"},
    "obedience": {
        "en": "Text match that is left of the plain model's",
        "ko": "기본 모델의 글 일치 가운데 남은 비율",
    },
    "copied": {"en": "Share of copies of training pictures", "ko": "학습 그림을 베낀 그림의 비율"},
}

CHECKS: dict[str, dict[Lang, str]] = {
    "training_recorded": {
        "en": "Base, pictures, captions and seed of the training are on record",
        "ko": "기반 모델·그림·캡션·시드가 기록된 학습",
    },
    "setting_reasons": {"en": "Settings that carry a reason", "ko": "까닭이 적힌 설정"},
    "replayable": {
        "en": "Pictures whose every setting, seed and weights are on record",
        "ko": "모든 설정·시드·가중치가 기록된 그림",
    },
    "alternatives": {"en": "Ways that were compared", "ko": "비교한 방법의 수"},
    "reason": {"en": "Choices that carry a reason", "ko": "까닭이 적힌 선택"},
    "lead": {
        "en": "The choice leads by more than its interval",
        "ko": "선택이 구간보다 크게 앞섬",
    },
    "intervals": {"en": "Scores with sample size and interval", "ko": "표본 수와 구간이 있는 점수"},
}

WHY: dict[str, dict[Lang, str]] = {
    "few_pictures": {"en": "too few pictures", "ko": "그림이 너무 적음"},
    "no_reference": {"en": "no reference pictures were given", "ko": "참고 그림이 없음"},
    "no_prompts": {"en": "no prompt is known", "ko": "프롬프트를 알 수 없음"},
    "no_maps": {"en": "no control map was asked for", "ko": "요청한 제어 맵이 없음"},
    "no_detector": {"en": "no detector for this kind is shipped", "ko": "이 종류의 검출기가 들어 있지 않음"},
    "no_weights": {"en": "its weights are not here", "ko": "가중치가 없음"},
    "same_prompts": {"en": "all prompts are the same", "ko": "프롬프트가 모두 같음"},
    "not_asked": {"en": "it was not asked for", "ko": "요청하지 않음"},
    "no_sweep": {
        "en": "no sweep of this training is there; jogak sweep FOLDER makes one",
        "ko": "이 학습의 스윕이 없음, jogak sweep 폴더 로 만들 수 있음",
    },
    "no_validation": {
        "en": "no pictures were held out, or validation was off",
        "ko": "따로 둔 그림이 없거나 검증을 끔",
    },
    "no_folder": {
        "en": "the training's folder is gone, or holds another training",
        "ko": "학습 폴더가 없거나 다른 학습이 들어 있음",
    },
}

SETTINGS: dict[str, str] = {
    "prompt": "프롬프트", "negative": "제외", "model": "모델", "width": "너비", "height": "높이", "steps": "단계",
    "guidance": "가이던스", "sampler": "샘플러", "seed": "시드", "seeds": "시드", "strength": "강도", "init": "시작 그림",
    "mask": "마스크", "hires": "확대", "loras": "LoRA", "controls": "제어", "ips": "IP-Adapter", "weight": "가중치",
    "weights": "가중치", "folder": "폴더", "reference": "참고 폴더", "clip": "CLIP", "limit": "최대 장수", "prompts": "프롬프트",
    "kind": "종류", "image": "그림", "start": "시작", "end": "끝", "mode": "방식", "name": "이름", "trigger": "트리거",
    "checkpoints": "체크포인트", "count": "개수", "base": "기반 모델", "rank": "랭크", "alpha": "알파", "lr": "학습률",
    "batch": "배치", "optimizer": "옵티마이저", "resolution": "해상도", "title": "제목", "panels": "패널", "scene": "장면",
    "pose": "자세", "expression": "표정", "maps": "맵", "targets": "대상 층", "text_encoder": "텍스트 인코더",
    "text_lr": "텍스트 학습률", "accumulate": "누적", "flip": "좌우 반전", "weight_decay": "가중치 감쇠", "scheduler": "스케줄러",
    "warmup": "워밍업", "clip_norm": "기울기 상한", "precision": "정밀도", "ema": "이동 평균", "min_snr_gamma": "min-SNR γ",
    "noise_offset": "노이즈 오프셋", "caption_dropout": "캡션 드롭아웃", "tag_dropout": "태그 드롭아웃", "prior": "사전 보존", "masked_loss": "마스크 손실",
    "validation": "검증 비율", "validate_every": "검증 간격", "save_every": "저장 간격", "bucket_step": "버킷 간격",
    "gradient_checkpointing": "기울기 체크포인트", "sample_prompts": "미리보기 프롬프트", "sample_every": "미리보기 간격",
    "sample_steps": "미리보기 단계", "state_every": "상태 간격", "prior_weight": "사전 보존 가중치", "unmasked_weight": "마스크 밖 가중치",
}  # fmt: skip
"""Korean for the words of which settings' names are made."""

LIMITS: dict[Lang, tuple[str, ...]] = {
    "en": (
        "A number bears the name of the network whose eye was used. KID and Fréchet distance by EfficientNet-lite0 are "
        "not FID and cannot be compared with FID of other papers; only a file of FID's own network makes it FID.",
        "Intervals say how sure a mean over these pictures is. They say nothing of other prompts, seeds or characters.",
        "The memorisation alarm finds copies, mirrored, cropped or compressed. It does not find a motif that was taken "
        "and drawn anew.",
        "Points follow from bars alone and only from those that were measured; they stand for no person's judgement.",
    ),
    "ko": (
        "숫자는 그것을 잰 신경망의 이름을 답니다. EfficientNet-lite0으로 잰 KID와 프레셰 거리는 FID가 아니며 다른 논문의 FID와 "
        "비교할 수 없습니다. FID의 신경망 파일을 준 경우에만 FID입니다.",
        "구간은 이 그림들의 평균이 얼마나 확실한지만 말합니다. 다른 프롬프트, 시드, 캐릭터에 대해서는 말하지 않습니다.",
        "복제 경보는 뒤집거나 자르거나 압축한 사본을 찾습니다. 소재를 가져와 새로 그린 것은 찾지 못합니다.",
        "점수는 측정한 기준에서만 나오며 사람의 평가를 대신하지 않습니다.",
    ),
}
