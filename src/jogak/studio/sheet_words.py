"""Words of the character sheet: how a pose is said in a prompt, and what page, notes and scores say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from jogak.adapters.poses import pose_names
from jogak.spec.film import Lang
from jogak.spec.sheet import Character, Panel

POSE_WORDS: Mapping[str, Mapping[Lang, str]] = MappingProxyType({
    "standing": {"en": "standing", "ko": "서 있는"},
    "back": {"en": "standing, seen from behind", "ko": "뒷모습으로 서 있는"},
    "walking": {"en": "walking", "ko": "걷는"},
    "running": {"en": "running", "ko": "달리는"},
    "waving": {"en": "waving", "ko": "손을 흔드는"},
    "sitting": {"en": "sitting", "ko": "앉아 있는"},
    "jumping": {"en": "jumping", "ko": "뛰어오르는"},
    "lying": {"en": "lying down", "ko": "누워 있는"},
    "pointing": {"en": "pointing", "ko": "손가락으로 어딘가를 가리키는"},
    "dancing": {"en": "dancing", "ko": "춤추는"},
    "cheering": {"en": "cheering with both arms up", "ko": "두 팔을 들고 만세를 부르는"},
    "hands_on_hips": {"en": "standing with hands on hips", "ko": "허리에 손을 얹고 선"},
    "thinking": {"en": "thinking, a hand at the chin", "ko": "턱에 손을 대고 생각하는"},
    "open_arms": {"en": "standing with open arms", "ko": "두 팔을 벌린"},
    "bowing": {"en": "bowing", "ko": "허리 숙여 인사하는"},
})  # fmt: skip
"""A named pose as pocket's puppets were captioned."""


def pose_words(name: str, lang: Lang) -> str:
    """A pose's name as prompt words; nothing for what is no name (a file)."""
    plain = re.sub(r"[\s_-]+", "", name.casefold())
    for key, names in pose_names().items():
        if plain in {re.sub(r"[\s_-]+", "", word) for word in (key, *names)}:
            return POSE_WORDS[key][lang] if key in POSE_WORDS else key.replace("_", " ")
    return ""


def panel_words(character: Character, panel: Panel) -> tuple[str, str]:
    """The prompt, and the same as a judge can read it: without the trigger word, which means nothing to it."""
    said = (panel.scene, panel.expression, panel.action, panel.extra)
    lang: Lang = "ko" if any(re.search("[가-힣]", words) for words in said) else "en"
    does = panel.action or pose_words(panel.pose, lang)
    # "waving with a happy smile" is one thing, "thinking, a hand at the chin, with …" is not
    gap = ", " if "," in does or " with " in does else " "
    acts = gap.join(filter(None, (does.strip(), panel.expression.strip())))
    rest = [part.strip() for part in (acts, panel.scene, panel.extra, character.look) if part.strip()]
    who = [part for part in (character.trigger.strip(), character.subject.strip()) if part]
    return ", ".join([*who, *rest]), ", ".join([*who[bool(character.trigger.strip()) :], *rest])


def panel_caption(panel: Panel, lang: Lang) -> str:
    """What stands below a panel: its caption, else its pose and place."""
    pose = panel.action or pose_words(panel.pose, lang)
    return panel.caption.text(lang) or ", ".join(filter(None, (pose, panel.scene))) or panel.extra


WORDS: Mapping[Lang, Mapping[str, str]] = MappingProxyType({
    "en": {
        "identity": "Identity", "pose": "Pose", "tone": "Tone",
        "lora": "LoRA {}", "references": "IP-Adapter on {} reference pictures, weight {:g}",
        "control": "ControlNet {}, weight {:g}", "ip": "IP-Adapter {}, weight {:g}",
        "no_identity": "prompt words alone: there is no LoRA, and no IP-Adapter for {} to look at the references",
        "no_control": "prompt words alone: no pose ControlNet came with {}",
        "no_tone": "prompt words alone: no tone picture was given", "not_asked": "not asked for",
        "no_ip": "prompt words alone: no IP-Adapter came with {}, so the tone picture was not looked at",
        "no_ip_words": "by nothing: no IP-Adapter came with {}, so the tone picture was not looked at, and the sheet has "
        "no words for the look",
        "panel": "panel {}", "take": "take {}", "sheet": "this sheet", "first": "every panel's first take",
        "seed": "seed", "weight": "LoRA weight",
        "below": "below bar", "copy": "a copy of a reference picture",
        "off_text": "shows its own words no better than the other panels'",
        "kept_pass": "kept: consistency {:.3f}, at or above the bar {:.3f}",
        "kept_best": "kept as the best of {}: {:.3f}, below the bar {:.3f}",
        "kept_fault": "kept as the best of {}, but {}",
        "less": "less alike than the one kept: {:.3f} against {:.3f}",
        "won": "Of {takes} pictures the {panels} were kept whose subjects are most alike to the references and to each other; "
        "copies of references and pictures off their words came last. {passed} of {panels} panels reach the bar "
        "of {bar:.3f}.",
        "gained": " Drawing again brought the mean consistency from {:.3f} to {:.3f}.",
        "first_lost": "the panels below the bar were drawn again",
        "note_measure": "Consistency is the mean of two cosines of {} features: to the references and to the "
        "other panels. The subject is what stands out (saliency), cut out as a box; nobody marked it. It sees likeness of "
        "drawing, not a person: another character in the same manner scores not far below.",
        "note_bar": "The bar, {:.3f}, is what nine in ten of the {} references reach among themselves.",
        "note_asked_bar": "The bar, {:.3f}, is the one that was asked for.",
        "note_fixed_bar": "The bar, {:.3f}, is fixed, since fewer than {} references are known.",
        "note_no_references": "No reference pictures are known, so consistency is that of the panels among themselves.",
        "note_training": "The references are the pictures that the LoRA was trained on.",
        "note_poses": "The pose maps show what was asked for; no ControlNet read them.",
        "budget": "The {} seconds of drawing were used up.", "tries": "All {} tries were used up.",
    },
    "ko": {
        "identity": "정체성", "pose": "자세", "tone": "톤",
        "lora": "LoRA {}", "references": "참고 그림 {}장을 보는 IP-Adapter, 가중치 {:g}",
        "control": "ControlNet {}, 가중치 {:g}", "ip": "IP-Adapter {}, 가중치 {:g}",
        "no_identity": "프롬프트의 말로만: LoRA가 없고, 참고 그림을 볼 {}용 IP-Adapter도 없음",
        "no_control": "프롬프트의 말로만: {}용 자세 ControlNet이 들어 있지 않음",
        "no_tone": "프롬프트의 말로만: 톤 그림이 없음", "not_asked": "요청하지 않음",
        "no_ip": "프롬프트의 말로만: {}용 IP-Adapter가 들어 있지 않아 톤 그림을 보지 못함",
        "no_ip_words": "아무것도 이끌지 않음: {}용 IP-Adapter가 들어 있지 않아 톤 그림을 보지 못했고, 화풍을 적은 말도 없음",
        "panel": "패널 {}", "take": "{}번째", "sheet": "이 시트", "first": "모든 패널의 첫 번째",
        "seed": "시드", "weight": "LoRA 가중치",
        "below": "기준 미만", "copy": "참고 그림의 사본",
        "off_text": "자기 글보다 다른 패널의 글에 더 가까움",
        "kept_pass": "채택: 일관성 {:.3f}, 기준 {:.3f} 이상",
        "kept_best": "{}장 가운데 가장 나아 채택: {:.3f}, 기준 {:.3f} 미만",
        "kept_fault": "{}장 가운데 가장 나아 채택, 다만 {}",
        "less": "채택한 것보다 덜 닮음: {:.3f}, 채택 {:.3f}",
        "won": "그림 {takes}장 가운데 대상이 참고 그림과, 그리고 서로 가장 닮은 {panels}장을 골랐습니다. 참고 그림의 사본과 글에서 "
        "벗어난 그림은 뒤로 미뤘습니다. 패널 {panels}개 중 {passed}개가 기준 {bar:.3f}에 이릅니다.",
        "gained": " 다시 그려서 평균 일관성이 {:.3f}에서 {:.3f}이 되었습니다.",
        "first_lost": "기준에 못 미친 패널을 다시 그림",
        "note_measure": "일관성은 {} 특징의 코사인 두 가지(참고 그림에 대한 것, 다른 패널에 대한 것)의 평균입니다. "
        "대상은 눈에 띄는 곳(살리언시)을 상자로 자른 것이며 사람이 표시하지 않았습니다. 이 숫자는 그림의 닮음을 볼 뿐 누구인지를 "
        "알아보지 못합니다. 같은 화풍의 다른 캐릭터도 조금 낮을 뿐입니다.",
        "note_bar": "기준 {0:.3f}은 참고 그림 {1}장 열에 아홉이 서로에게서 얻는 값입니다.",
        "note_asked_bar": "기준 {:.3f}은 요청한 값입니다.",
        "note_fixed_bar": "참고 그림이 {1}장보다 적어 기준은 고정값 {0:.3f}입니다.",
        "note_no_references": "참고 그림을 알 수 없어, 일관성은 패널끼리의 닮음입니다.",
        "note_training": "참고 그림은 LoRA를 학습한 그림입니다.",
        "note_poses": "자세 맵은 요청한 자세를 보일 뿐이며, 이를 읽은 ControlNet은 없습니다.",
        "budget": "그리기에 쓸 {}초를 다 썼습니다.", "tries": "다시 그리기 {}번을 다 썼습니다.",
    },
})  # fmt: skip
