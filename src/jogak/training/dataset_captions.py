"""The words beside a picture: reading them, putting the trigger word first, finding what all of them say."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from jogak.models.lexicon import lexicon
from jogak.spec.dataset import MAX_CAPTION
from jogak.store.pictures import UnusableFile, read_file

MAX_BYTES = 100_000

_WORD = re.compile(r"[^\W_]+(?:['’_-][^\W_]+)*")
_GROUND = re.compile(r"[^\s,]+\s+background\b|\S+\s+배경\S*|\bbackground\b|배경\S*", re.IGNORECASE)
"""What names the background: to have it in every caption is right."""
_PARTICLES = "에서|에게|에는|으로|처럼|까지|부터|은|는|이|가|을|를|의|에|와|과|도|로|만"
_PARTICLE = re.compile(rf"(?<=[가-힣]{{2}})(?:{_PARTICLES})$")
_SMALL = frozenset({
    "a", "an", "the", "and", "or", "of", "in", "on", "at", "by", "to", "with", "from", "for", "is", "are",
    "be", "was", "it", "its", "as", "this", "that", "there", "has", "have", "picture", "photo", "image",
    "drawing", "illustration", "그림", "사진", "있는", "있다", "하는", "그리고", "및",
})  # fmt: skip


def read_caption(path: Path) -> list[str]:
    """The lines of a caption file that say something; the first is the caption, as trainers take it.

    Raises `UnusableFile`, a `SpecError`, when the file is no regular file, above 100 kB, not UTF-8 (naming the encoding it looks
    like), holds control characters, or its first line is longer than 2,000 characters.
    """
    data = read_file(path, MAX_BYTES)
    try:
        text = unicodedata.normalize("NFC", data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        looks = _encoding(data)
        raise UnusableFile(
            f"{path} is not UTF-8{f' (it looks like {looks})' if looks else ''}; save it as UTF-8.",
            f"{path}: UTF-8이 아닙니다{f'({looks}로 보입니다)' if looks else ''}. UTF-8로 저장하세요.",
        ) from None
    if any(unicodedata.category(sign) == "Cc" and sign not in "\t\r\n" for sign in text):
        raise UnusableFile(
            f"{path} holds control characters; write the caption as plain text in UTF-8.",
            f"{path}: 제어 문자가 있습니다. UTF-8 일반 텍스트로 쓰세요.",
        )
    lines = [" ".join(line.split()) for line in re.split(r"[\r\n]+", text) if line.strip()]
    if lines and len(lines[0]) > MAX_CAPTION:
        raise UnusableFile(
            f"{path} has {len(lines[0]):,} characters; a caption has at most {MAX_CAPTION:,}.",
            f"{path}: {len(lines[0]):,}자입니다. 캡션은 {MAX_CAPTION:,}자까지입니다.",
        )
    return lines


def _encoding(data: bytes) -> str:
    """What the bytes look like, when it is not UTF-8; empty when nothing is known."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "UTF-16"
    try:
        text = data.decode("cp949")
    except UnicodeDecodeError:
        return ""
    return "CP949" if sum("가" <= sign <= "힣" for sign in text) >= 2 else ""


def says(text: str, word: str) -> bool:
    """Whether a caption holds a word or several, whole, upper and lower case alike; a Korean particle may
    follow."""
    pattern = rf"(?<![\w-]){re.escape(word)}(?:{_PARTICLES})?(?![\w-])"
    return re.search(pattern, text, re.IGNORECASE) is not None


def with_trigger(text: str, trigger: str, class_name: str = "") -> str:
    """The caption with the trigger word first, and what it is (`class_name`) where the caption does not say
    it: "sk_style, a fox in a meadow". A caption that is so already stays as it is. Upper and lower case are
    alike, as they are to CLIP."""
    word = rf"(?<![\w-]){re.escape(trigger)}(?![\w-])"
    complete = not class_name or says(text, class_name)
    if complete and text.startswith(trigger) and len(re.findall(word, text, re.IGNORECASE)) == 1:
        return text
    rest = re.sub(rf"{word}\s*,?\s*", "", text, flags=re.IGNORECASE).strip(" ,")
    rest = " ".join(rest.split())
    head = trigger if not class_name or says(rest, class_name) else f"{trigger} {class_name}"
    return f"{head}, {rest}" if rest else head


def words(text: str) -> list[str]:
    """The words that say something: lower case, Korean without its particle, no articles, no background, place,
    hour or weather, which belong into a caption."""
    plain = _scenery().sub(" ", _GROUND.sub(" ", text))
    found = [_PARTICLE.sub("", word.lower()) for word in _WORD.findall(plain)]
    return [word for word in found if word not in _SMALL]


def frequent(captions: Sequence[str], share: float, without: Iterable[str] = ()) -> dict[str, int]:
    """Words in at least `share` of the captions, with how many hold each; `without` are not counted."""
    left_out = {part for text in without for part in words(text)}
    counts = Counter(word for text in captions for word in set(words(text)))
    least = share * len(captions)
    return {word: n for word, n in counts.most_common() if n >= least and word not in left_out}


@cache
def _scenery() -> re.Pattern[str]:
    """Every way in which the lexicon says a place, an hour or a weather, the longest first."""
    known = lexicon()
    said = {
        text
        for group in (known.places, known.times, known.weathers)
        for word in group
        for text in (*word.words("en"), *word.words("ko"), word.en_in, word.en_at, word.ko_in, word.ko_at)
        if text
    }
    longest = sorted(said, key=lambda text: (-len(text), text))
    return re.compile(
        rf"(?<![\w-])(?:{'|'.join(map(re.escape, longest))})(?:{_PARTICLES})?(?![\w-])", re.IGNORECASE
    )


def guess_trigger(captions: Sequence[str], groups: Sequence[str]) -> str:
    """The trigger word that a set already uses: the first word of its folders' names if captions hold it, else
    the first tag that nearly all captions begin with; empty when there is none."""
    firsts = {name.split()[0] for name in groups if name.split()}
    told = [text for text in captions if text]
    if len(firsts) == 1:
        first = firsts.pop()
        if not told or sum(says(text, first) for text in told) >= len(told) / 2:
            return first
    heads = Counter(re.split(r"[,\s]", text)[0] for text in told)
    head, count = heads.most_common(1)[0] if heads else ("", 0)
    common = len(told) >= 3 and count >= 0.8 * len(told) and head.lower() not in _SMALL
    return head if common else ""


def known_word(trigger: str) -> str | None:
    """What the lexicon means by a trigger, when it is a real word there; None for a made-up one."""
    wanted = trigger.casefold().replace("_", " ").replace("-", " ").strip()
    known = lexicon()
    groups = (
        known.looks, known.places, known.times, known.weathers, known.colours, known.sizes, known.positions,
        known.counts, known.actions, known.moods, known.concepts,
    )  # fmt: skip
    for group in groups:
        for word in group:
            if wanted in (text.casefold() for text in (*word.words("en"), *word.words("ko"))):
                return f"{word.en} / {word.ko}"
    return None


def concept_named(word: str) -> str | None:
    """The id of the concept that a word stands for, in either language; None when the lexicon lacks it."""
    wanted = " ".join(word.casefold().split())
    for concept in lexicon().concepts if wanted else ():
        if wanted in (known.casefold() for known in (*concept.words("en"), *concept.words("ko"))):
            return concept.id
    return None
