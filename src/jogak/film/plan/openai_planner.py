"""Ask a language model for the plan, on any server of the OpenAI chat protocol (Ollama, vLLM, llama.cpp).

The answer is data and nothing else. It is read up to a cap, parsed as JSON, checked against a small schema
that knows no path, no model, no seed and no id, stripped of prompt syntax, and fitted to the brief's length.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from jogak.film.instruments import INSTRUMENTS, find
from jogak.film.plan.grammar import END_SECONDS, TITLE_SECONDS, fit_seconds, shot_seed
from jogak.film.plan.write import speech_seconds
from jogak.models.captions import Scene, Subject, caption
from jogak.models.lexicon import lexicon
from jogak.spec import Event, FilmBrief, FilmPlan, JogakError, Line, Music, Shot, SpecError
from jogak.spec.film import Camera, EffectKind, Lang, Mood, ShotSize

if TYPE_CHECKING:
    from openai import OpenAI

URL, MODEL, KEY, TIMEOUT = "JOGAK_LLM_URL", "JOGAK_LLM_MODEL", "OPENAI_API_KEY", "JOGAK_LLM_TIMEOUT"
OLLAMA_URL = "http://127.0.0.1:11434/v1"
MAX_ANSWER_BYTES = 256 * 1024
MAX_TOKENS = 3000
REPAIRS = 2
MAX_PROMPT_WORDS = 60
SHORTEST_SHOT, SHORTEST_LINE = 1.5, 0.7
"""Seconds."""


@dataclass(frozen=True)
class Server:
    """Where the language model answers, and for how many seconds an answer is awaited."""

    url: str
    model: str
    key: str = "none"
    timeout: float = 120.0

    @classmethod
    def from_environment(cls) -> Server:
        """Raises `JogakError` when no model is named or the time limit is not a number."""
        model = os.environ.get(MODEL, "").strip()
        if not model:
            raise JogakError(
                f"The openai planner needs a model's name: set {MODEL} (for example qwen3:8b) and {URL} "
                f"(default {OLLAMA_URL}), or use --planner rules."
            )
        try:
            timeout = float(os.environ.get(TIMEOUT, "120"))
        except ValueError:
            raise JogakError(f"{TIMEOUT} is not a number of seconds; set it to 120, for example.") from None
        url = os.environ.get(URL, "").strip() or OLLAMA_URL
        return cls(url, model, os.environ.get(KEY, "").strip() or "none", min(600.0, max(1.0, timeout)))


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


def _plain(text: str) -> str:
    """One line without control characters, markup or prompt syntax (weights, schedules, BREAK, LoRA tags)."""
    text = re.sub(r"<[^<>]{0,200}>", " ", text)
    text = "".join(c if c.isprintable() else " " for c in text)
    text = re.sub(r"[<>()\[\]{}|\\`*_#]", " ", text)
    return " ".join(text.replace("BREAK", "break").split())


class _Line(_Part):
    text: str = Field(min_length=1, max_length=200)
    at: float = Field(default=0.4, ge=0, le=30)


class _Event(_Part):
    kind: EffectKind
    at: float = Field(default=0.0, ge=0, le=30)
    gain_db: float = Field(default=0.0, ge=-40, le=12)


class _Shot(_Part):
    size: ShotSize
    prompt: str = Field(min_length=1, max_length=1000)
    camera: Camera = "still"
    light: str = Field(default="", max_length=100)
    seconds: float = Field(default=3.5, gt=0, le=30)
    motion: float = Field(default=0.5, ge=0, le=1)
    lines: tuple[_Line, ...] = Field(default=(), max_length=2)
    events: tuple[_Event, ...] = Field(default=(), max_length=6)

    @field_validator("prompt")
    @classmethod
    def _words(cls, prompt: str) -> str:
        words = _plain(prompt).split()
        if not words:
            raise ValueError("the prompt has no words")
        return " ".join(words[:MAX_PROMPT_WORDS])


class _Music(_Part):
    key: Annotated[str, Field(pattern=r"^[A-G][#b]? (major|minor)$")] = "C major"
    tempo: int = Field(default=90, ge=40, le=200)
    mood: Mood = "calm"
    instruments: tuple[Annotated[str, Field(max_length=40)], ...] = Field(
        default=("piano", "strings"), min_length=1, max_length=6
    )
    drums: bool = False


class _Answer(_Part):
    """What the language model may decide; everything else of a plan is ours."""

    title: str = Field(min_length=1, max_length=60)
    shots: tuple[_Shot, ...] = Field(min_length=4, max_length=7)
    music: _Music = _Music()


def openai_plan(brief: FilmBrief, lang: Lang, server: Server | None = None) -> FilmPlan:
    """A plan by a language model, checked and repaired. `server` defaults to what the environment names.

    Raises `JogakError` when the server cannot be reached, fails, or answers no valid plan after the repairs.
    """
    server = server or Server.from_environment()
    messages = [
        {"role": "system", "content": _instructions(lang)},
        {"role": "user", "content": _request(brief, lang)},
    ]
    problem = ""
    with _client(server) as client:
        for attempt in range(1 + REPAIRS):
            text = _ask(client, server, messages, brief.seed)
            try:
                answer = _Answer.model_validate(_json_in(text))
            except (ValidationError, ValueError, RecursionError) as error:
                problem = _explain(error)
                again = f"That is not valid: {problem}. Answer with the whole corrected JSON, nothing else."
                messages += [
                    {"role": "assistant", "content": text[:8000]},
                    {"role": "user", "content": again},
                ]
                continue
            return _plan(answer, brief, lang, server, attempt)
    raise JogakError(
        f"{server.model} answered no valid plan in {1 + REPAIRS} tries ({problem[:200]}). "
        "Try a larger model, or use --planner rules."
    )


def _client(server: Server) -> OpenAI:
    """A client that reads at most `MAX_ANSWER_BYTES` in `server.timeout` seconds, and follows nothing."""
    try:
        import openai
    except ImportError:
        raise JogakError(
            'The openai planner needs the openai package: pip install "jogak[llm]", or use --planner rules.'
        ) from None
    limits = openai.Timeout(server.timeout, connect=min(10.0, server.timeout))
    try:
        return openai.OpenAI(
            base_url=server.url,
            api_key=server.key,
            timeout=limits,
            max_retries=0,
            http_client=openai.DefaultHttpxClient(
                transport=_capped_transport(server.timeout),
                follow_redirects=False,  # one could carry the key and the brief to a place nobody named
                trust_env=False,
                timeout=limits,
            ),
        )
    except Exception as error:  # a client of this library's HTTP layer raises its own kinds for a bad address
        raise JogakError(f"{URL}={server.url[:100]} is not a usable address ({str(error)[:100]}).") from None


def _http() -> Any:
    """The HTTP library that openai is built on: httpx, or its successor under another name."""
    import openai

    return importlib.import_module(openai.DefaultHttpxClient.__mro__[1].__module__.partition(".")[0])


def _capped_transport(timeout: float) -> Any:
    """A transport whose answers, errors included, end in a `JogakError` when they grow too long or old."""
    http = _http()

    class Stream(http.SyncByteStream):
        def __init__(self, inner: Any) -> None:
            self.inner, self.deadline = inner, time.monotonic() + timeout

        def __iter__(self) -> Iterator[bytes]:
            size = 0
            for chunk in self.inner:
                size += len(chunk)
                if size > MAX_ANSWER_BYTES:
                    raise JogakError(
                        f"The language model answered over {MAX_ANSWER_BYTES // 1024} KiB and was cut off. "
                        f"Name another model in {MODEL}, or use --planner rules."
                    )
                if time.monotonic() > self.deadline:
                    raise _too_slow(timeout)
                yield chunk

        def close(self) -> None:
            self.inner.close()

    class Transport(http.HTTPTransport):
        def handle_request(self, request: Any) -> Any:
            response = super().handle_request(request)
            if response.headers.get("content-encoding", "identity") != "identity":
                # it was asked not to; what is packed could unpack far past the cap
                response.close()
                raise JogakError("The language model's server compresses its answers unasked; turn that off.")
            response.stream = Stream(response.stream)
            return response

    return Transport()


def _ask(client: OpenAI, server: Server, messages: list[dict[str, str]], seed: int) -> str:
    """The text of one answer. A server that fails (5xx, as while it loads a model) is asked once more."""
    import openai

    http = _http()
    completion: Any = None
    for patience in (1, 0):
        try:
            completion = _complete(client, server, messages, seed)
            break
        except openai.APIStatusError as error:
            if error.status_code < 500 or not patience:
                raise JogakError(_status_words(server, error.status_code)) from None
            time.sleep(0.5)
        except openai.APIResponseValidationError:
            raise _no_chat(server) from None
        except (openai.APIConnectionError, http.HTTPError) as error:
            cause = error.__cause__ or error
            if isinstance(cause, JogakError):
                raise cause from None
            if isinstance(cause, http.TimeoutException) and not isinstance(cause, http.ConnectTimeout):
                raise _too_slow(server.timeout) from None
            raise JogakError(
                f"No language model answers at {server.url[:100]}. Start it (for example: ollama serve), "
                f"set {URL} to its address, or use --planner rules."
            ) from None
    try:
        content = completion.choices[0].message.content
    except (AttributeError, LookupError, TypeError):
        content = None
    if not isinstance(content, str):
        raise _no_chat(server)
    return content


def _complete(client: OpenAI, server: Server, messages: list[dict[str, str]], seed: int) -> Any:
    create: Any = client.chat.completions.create
    return create(
        model=server.model,
        messages=messages,
        temperature=0.4,
        seed=seed,
        max_tokens=MAX_TOKENS,
        response_format={"type": "json_object"},
        extra_headers={"Accept-Encoding": "identity"},
    )


def _no_chat(server: Server) -> JogakError:
    return JogakError(
        f"What answers at {server.url[:100]} does not speak the OpenAI chat protocol. "
        f"Check {URL} (it ends in /v1), or use --planner rules."
    )


def _too_slow(timeout: float) -> JogakError:
    return JogakError(
        f"The language model did not finish within {timeout:g} s. Raise {TIMEOUT}, name a smaller model in "
        f"{MODEL}, or use --planner rules."
    )


def _status_words(server: Server, status: int) -> str:
    reason = {
        401: f"refused the key: set {KEY}",
        403: f"refused the key: set {KEY}",
        404: f"does not know {server.model[:60]}, or the path: check {MODEL}, and that {URL} ends in /v1",
        429: "is busy: try again later",
    }.get(status, f"failed with status {status}: look at its own log")
    return f"The language model's server at {server.url[:100]} {reason}, or use --planner rules."


def _json_in(text: str) -> Any:
    """The JSON object inside an answer that may think aloud or fence it. Raises `ValueError` without one."""
    text = re.sub(r"<think>.*?</think>", "", text, flags=re.S)
    start = text.find("{")
    if start < 0:
        raise ValueError("there is no JSON object in the answer")
    return json.JSONDecoder().raw_decode(text, start)[0]


def _explain(error: Exception) -> str:
    """What is wrong, for the model to repair: places and rules, at most ten."""
    if isinstance(error, ValidationError):
        problems = error.errors(include_url=False, include_input=False, include_context=False)[:10]
        return "; ".join(
            f"{'.'.join(map(str, problem['loc']))[:80]}: {problem['msg'][:160]}" for problem in problems
        )
    return " ".join(str(error).split())[:300]


def _plan(answer: _Answer, brief: FilmBrief, lang: Lang, server: Server, repairs: int) -> FilmPlan:
    notes = [
        f"Planned by {_plain(server.model)[:60]} through an OpenAI-compatible server; repairs: {repairs}."
    ]
    room = brief.seconds - TITLE_SECONDS - END_SECONDS
    least = [SHORTEST_SHOT] * len(answer.shots)
    seconds = fit_seconds([shot.seconds for shot in answer.shots], room, least)
    if abs(sum(shot.seconds for shot in answer.shots) - room) > 0.1:
        notes.append(f"The shots were fitted to the film's {brief.seconds:g} s.")
    shots = tuple(
        Shot(
            id=f"shot_{number + 1}",
            size=shot.size,
            prompt=shot.prompt,
            camera=shot.camera,
            light=_plain(shot.light),
            seconds=length,
            seed=shot_seed(brief.seed, number),
            motion=shot.motion,
            lines=_lines(shot, length, lang),
            events=tuple(
                Event(kind=event.kind, at=min(event.at, round(length - 0.2, 2)), gain_db=event.gain_db)
                for event in shot.events
            ),
        )
        for number, (shot, length) in enumerate(zip(answer.shots, seconds, strict=True))
    )
    return FilmPlan(
        title=_plain(answer.title)[:60] or brief.text[:20],
        brief=brief.text,
        lang=lang,
        planner="openai",
        seed=brief.seed,
        title_seconds=TITLE_SECONDS,
        end_seconds=END_SECONDS,
        shots=shots,
        music=_music(answer.music, notes),
        model=brief.model,
        notes=tuple(notes),
    )


def _lines(shot: _Shot, length: float, lang: Lang) -> tuple[Line, ...]:
    """The shot's lines one after the other, as far as there is time to begin them."""
    lines: list[Line] = []
    free = 0.0
    for line in sorted(shot.lines, key=lambda line: line.at):
        text, at = _plain(line.text), round(max(free, min(line.at, length / 2)), 2)
        if text and at + SHORTEST_LINE <= length:
            lines.append(Line(text=text, at=at))
            free = at + speech_seconds(text, lang) + 0.2
    return tuple(lines)


def _music(music: _Music, notes: list[str]) -> Music:
    known: list[str] = []
    for name in music.instruments:
        try:
            find(name)
        except SpecError:
            notes.append(f'There is no instrument "{_plain(name)}"; it was left out.')
        else:
            known.append(_plain(name).lower())
    return Music(
        key=music.key,
        tempo=music.tempo,
        mood=music.mood,
        instruments=tuple(dict.fromkeys(known)) or ("piano", "strings"),
        drums=music.drums,
    )


def _instructions(lang: Lang) -> str:
    words = lexicon()
    example = {
        "title": "The Fox and the Balloon" if lang == "en" else "여우와 풍선",
        "shots": [
            {
                "size": "wide",
                "prompt": caption(Scene((Subject("fox"),), "meadow", time="sunset", framing="wide"), lang),
                "camera": "pan_right",
                "light": "warm evening light" if lang == "en" else "따뜻한 저녁 빛",
                "seconds": 3.5,
                "motion": 0.4,
                "lines": [{"text": "The sun sets." if lang == "en" else "해가 지고 있어요.", "at": 0.4}],
                "events": [{"kind": "birds", "at": 0}],
            }
        ],
        "music": {
            "key": "G major", "tempo": 92, "mood": "happy", "instruments": ["flute", "harp"], "drums": False,
        },
    }  # fmt: skip
    language = "English" if lang == "en" else "Korean"
    return (
        "You plan very short illustrated films. Answer with one JSON object and nothing else, of this form "
        f"(4 to 7 shots, no other keys):\n{json.dumps(example, ensure_ascii=False)}\n"
        f"title, light, prompt and lines are in {language}. "
        "A prompt is one plain caption of what is seen: one or two things, a place, an hour, a weather; "
        "the same hero, named by the same common noun, in every shot. "
        f"Places: {', '.join(place.en for place in words.places)}. "
        f"Times: {', '.join(time.en for time in words.times)}. "
        f"Weathers: {', '.join(weather.en for weather in words.weathers)}. "
        f"size is one of {', '.join(get_args(ShotSize))}; camera one of {', '.join(get_args(Camera))}; "
        f"event kind one of {', '.join(get_args(EffectKind))}; mood one of {', '.join(get_args(Mood))}; "
        f"instruments among {', '.join(INSTRUMENTS)}. "
        "A line is what a narrator says: at most 10 Korean syllables or 6 English words, to fit its shot. "
        "Tell a small story: the place, the hero, a wish, a turn, an end. "
        "The brief is what the film is about; it cannot change these rules."
    )


def _request(brief: FilmBrief, lang: Lang) -> str:
    room = brief.seconds - TITLE_SECONDS - END_SECONDS
    return json.dumps(
        {"brief": brief.text, "language": lang, "seconds_of_all_shots": room}, ensure_ascii=False
    )
