"""The prompt language of the field, read as leniently as AUTOMATIC1111's web UI reads it: no text is an
error.

| written | means | |---|---| | `(x)` | attention to x × 1.1 | | `(x:1.3)` | × 1.3 | | `[x]` | ÷ 1.1 | | `\\(`
`\\)` `\\[` `\\]` `\\\\` | the sign itself | | `BREAK` | the rest goes into a chunk of its own | |
`[a:b:0.25]` | a for the first quarter of the steps, then b; `[b:0.25]` b from there on, `[a::0.25]` a until
there | | `[a:b:5]` | the same after five steps | | `[a\\|b]` | a and b in turn, step by step |

A prompt longer than one chunk (75 tokens) goes on in the next; all chunks are seen at once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from jogak.models import DiffusionModel
from jogak.spec import SpecError

MAX_CHUNKS = 16
"""Chunks of 75 tokens in one prompt; each makes every step slower."""
MAX_WEIGHT = 10.0
MAX_DEPTH = 40
"""Brackets nested deeper than this are read as plain signs."""
COMMA_REACH = 20
"""A chunk that is full is cut after its last comma, when that is at most so many tokens back."""


def encode(model: DiffusionModel, prompt: str, step: int = 0, steps: int = 1) -> Tensor:
    """The prompt as it stands at a step (0-based) of `steps`: (1, 77·chunks, D), weights applied.

    A token's hidden state is multiplied by its weight, then the whole is scaled so that its mean is what it
    was without weights, as AUTOMATIC1111 does; where the mean is so near zero that its ratio is noise (beyond
    a half or a double), that is left out. Raises `SpecError` for a prompt of more than `MAX_CHUNKS` chunks.
    """
    chunks = chunks_of(model, weighted(at_step(prompt, step, steps)))
    states = model.encode_tokens([model.chunk(chunk.tokens) for chunk in chunks])
    weights = torch.ones(len(states), model.text_length)
    for i, chunk in enumerate(chunks):
        weights[i, 1 : 1 + len(chunk.weights)] = torch.tensor(chunk.weights)
    if (weights != 1).any():
        words = states[:, : model.text_length]  # what stands behind them (SDXL's pooled text) has no weight
        heavier = words * weights.unsqueeze(-1)
        ratio = (words.mean() / heavier.mean()).item()
        heavier = heavier * ratio if 0.5 < ratio < 2 else heavier
        states = torch.cat([heavier, states[:, model.text_length :]], 1)
    return states.reshape(1, -1, states.shape[-1])


def check(model: DiffusionModel, prompt: str, steps: int) -> None:
    """Raises `SpecError` for a prompt that cannot be drawn: too long at some step, or asking for what the
    field writes in prompts and this version cannot do, so that nothing is silently left out."""
    for text in {at_step(prompt, step, steps) for step in range(steps)}:
        chunks_of(model, weighted(text))
    if found := re.search(r"<(lora|lyco|hypernet):[^<>]{0,100}", prompt):
        raise SpecError(
            f"the prompt asks for {found.group()}>, which this version cannot apply; take it out."
        )


# what a prompt says at a step


@dataclass(frozen=True)
class _Scheduled:
    before: Sequence[_Node]
    after: Sequence[_Node]
    when: float
    """a share of the steps, or a number of steps"""
    is_share: bool


@dataclass(frozen=True)
class _Alternate:
    options: Sequence[Sequence[_Node]]


_Node = str | _Scheduled | _Alternate

_SCHEDULE_TOKEN = re.compile(r"\\.?|[\[\]():|]|[^\\\[\]():|]+", re.DOTALL)
_NUMBER = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*", re.ASCII)


def at_step(prompt: str, step: int, steps: int) -> str:
    """The prompt at a step (0-based) of `steps`, its schedules and alternations resolved."""
    return _text_at(_parse_schedules(prompt), step, steps)


def changes(prompt: str) -> bool:
    """Whether the prompt says different things at different steps."""
    return any(not isinstance(node, str) for node in _parse_schedules(prompt))


class _Open:
    """A bracket that was opened and is not closed yet: its parts so far, and the signs between them."""

    def __init__(self, sign: str) -> None:
        self.sign = sign
        self.parts: list[list[_Node]] = [[]]
        self.between: list[str] = []

    def split(self, sign: str) -> None:
        self.between.append(sign)
        self.parts.append([])

    def plain(self, closing: str) -> list[_Node]:
        """What stands here when the bracket means no schedule: all of it as written."""
        nodes: list[_Node] = [self.sign, *self.parts[0]]
        for sign, part in zip(self.between, self.parts[1:], strict=True):
            nodes += [sign, *part]
        return [*nodes, closing]

    def closed(self) -> list[_Node]:
        """What stands here once `]` is met."""
        if "|" in self.between:
            return [_Alternate(self._options())]
        number = _NUMBER.fullmatch(self._last_text())
        if number is None or len(self.parts) not in (2, 3):
            return self.plain("]")
        before = self.parts[0] if len(self.parts) == 3 else []
        return [_Scheduled(before, self.parts[-2], min(float(number[1]), 1e6), "." in number[1])]

    def _options(self) -> list[list[_Node]]:
        options = [list(self.parts[0])]
        for sign, part in zip(self.between, self.parts[1:], strict=True):
            if sign == "|":
                options.append(list(part))
            else:
                options[-1] += [sign, *part]
        return options

    def _last_text(self) -> str:
        return "".join(node if isinstance(node, str) else "|" for node in self.parts[-1])


def _parse_schedules(prompt: str) -> list[_Node]:
    stack = [_Open("")]
    for token in _SCHEDULE_TOKEN.findall(prompt):
        top = stack[-1]
        if token in ("(", "[") and len(stack) <= MAX_DEPTH:
            stack.append(_Open(token))
        elif token == "]" and top.sign == "[":
            stack.pop()
            stack[-1].parts[-1] += top.closed()
        elif token == ")" and top.sign == "(":
            stack.pop()
            stack[-1].parts[-1] += top.plain(")")
        elif token in (":", "|") and top.sign == "[":
            top.split(token)
        else:
            top.parts[-1].append(token)
    while len(stack) > 1:  # never closed: as written
        top = stack.pop()
        stack[-1].parts[-1] += top.plain("")
    return stack[0].parts[0]


def _text_at(nodes: Sequence[_Node], step: int, steps: int) -> str:
    texts: list[str] = []
    for node in nodes:
        if isinstance(node, _Scheduled):
            turn = int(node.when * steps) if node.is_share else int(node.when)
            texts.append(_text_at(node.before if step < turn else node.after, step, steps))
        elif isinstance(node, _Alternate):
            texts.append(_text_at(node.options[step % len(node.options)], step, steps))
        else:
            texts.append(node)
    return "".join(texts)


# how much each word of it counts

BREAK = None
"""Stands between pieces where a new chunk begins."""

Piece = tuple[str, float]
_WEIGHT_TOKEN = re.compile(
    r"\\.|[()\[\]]|:\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*\)|[^\\()\[\]:]+|:|\\", re.ASCII | re.DOTALL
)
_ESCAPED = "()[]\\"


def weighted(text: str) -> list[Piece | None]:
    """A text without schedules as (words, weight) pieces, with `BREAK` where a new chunk begins."""
    pieces: list[Piece | None] = []
    open_round: list[int] = []
    open_square: list[int] = []
    for found in _WEIGHT_TOKEN.finditer(text):
        token, weight = found.group(), found.group(1)
        if token[0] == "\\":
            pieces.append((token[1:] if token[1:] and token[1] in _ESCAPED else token, 1.0))
        elif token == "(":
            open_round.append(len(pieces))
        elif token == "[":
            open_square.append(len(pieces))
        elif weight is not None and open_round:
            _multiply(pieces, open_round.pop(), float(weight))
        elif token == ")" and open_round:
            _multiply(pieces, open_round.pop(), 1.1)
        elif token == "]" and open_square:
            _multiply(pieces, open_square.pop(), 1 / 1.1)
        else:
            pieces += _with_breaks(token)
    for start in open_round:
        _multiply(pieces, start, 1.1)
    for start in open_square:
        _multiply(pieces, start, 1 / 1.1)
    return _joined(pieces)


def _with_breaks(text: str) -> list[Piece | None]:
    pieces: list[Piece | None] = []
    for i, part in enumerate(re.split(r"\s*\bBREAK\b\s*", text)):
        if i > 0:
            pieces.append(BREAK)
        pieces.append((part, 1.0))
    return pieces


def _multiply(pieces: list[Piece | None], start: int, factor: float) -> None:
    factor = max(-MAX_WEIGHT, min(MAX_WEIGHT, factor))
    for i, piece in enumerate(pieces[start:], start):
        if piece is not None:
            pieces[i] = piece[0], max(-MAX_WEIGHT, min(MAX_WEIGHT, piece[1] * factor))


def _joined(pieces: list[Piece | None]) -> list[Piece | None]:
    """Neighbours of equal weight as one, so that a word is not cut where a sign was escaped; empty ones left
    out."""
    joined: list[Piece | None] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        if piece is not None and last is not None and piece[1] == last[1]:
            joined[-1] = (last[0] + piece[0], last[1])
        elif piece is None or piece[0]:
            joined.append(piece)
    return joined


# chunks of tokens


class Chunk:
    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.weights: list[float] = []
        self.after_comma = 0
        """tokens up to and with the last comma"""


def chunks_of(model: DiffusionModel, pieces: Sequence[Piece | None]) -> list[Chunk]:
    """The pieces' tokens in chunks, at least one. A chunk that overflows is cut at its last comma, if
    near."""
    room = model.text_length - 2
    comma = model.tokens(",")
    chunks = [Chunk()]
    for piece in pieces:
        if piece is None:
            if chunks[-1].tokens:
                chunks.append(Chunk())
            continue
        for token in model.tokens(piece[0]):
            if len(chunks[-1].tokens) == room:
                chunks.append(_rest(chunks[-1], room, by_comma=[token] != comma))
            chunks[-1].tokens.append(token)
            chunks[-1].weights.append(piece[1])
            if [token] == comma:
                chunks[-1].after_comma = len(chunks[-1].tokens)
    if len(chunks) > 1 and not chunks[-1].tokens:
        chunks.pop()
    if len(chunks) > MAX_CHUNKS:
        raise SpecError(
            f"the prompt fills {len(chunks)} chunks of {room} tokens; at most {MAX_CHUNKS} are read."
        )
    return chunks


def _rest(full: Chunk, room: int, by_comma: bool) -> Chunk:
    """The chunk after a full one; it begins with what followed the full one's last comma, if that is near."""
    rest = Chunk()
    cut = full.after_comma
    if by_comma and 0 < cut < room and room - cut <= COMMA_REACH:
        rest.tokens, full.tokens = full.tokens[cut:], full.tokens[:cut]
        rest.weights, full.weights = full.weights[cut:], full.weights[:cut]
    return rest
