"""The planner that asks a language model, against a real HTTP server that speaks the OpenAI chat protocol."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from jogak.film.plan import make_plan
from jogak.film.plan.openai_planner import KEY, MAX_ANSWER_BYTES, MODEL, TIMEOUT, URL, Server, openai_plan
from jogak.spec import FilmBrief, FilmPlan, JogakError

BRIEF = FilmBrief(text="노을 지는 초원의 여우", planner="openai", seed=5)
SHOT = {
    "size": "wide", "prompt": "노을 지는 초원의 여우", "camera": "pan_left", "light": "노을빛", "seconds": 4,
    "motion": 0.4, "lines": [{"text": "해가 져요.", "at": 0.4}], "events": [{"kind": "birds", "at": 0}],
}  # fmt: skip
ANSWER = {
    "title": "노을의 여우",
    "shots": [{**SHOT, "size": size} for size in ("wide", "medium", "close", "action", "closing")],
    "music": {
        "key": "G major",
        "tempo": 90,
        "mood": "calm",
        "instruments": ["flute", "harp"],
        "drums": False,
    },
}
Reply = Callable[[BaseHTTPRequestHandler], None]


def chat(content: Any) -> Reply:
    """A well-formed completion whose text is `content`, as JSON unless it is text already."""
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    body = {
        "id": "1", "object": "chat.completion", "created": 0, "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
    }  # fmt: skip
    return raw(json.dumps(body).encode())


def raw(body: bytes, status: int = 200, **headers: str) -> Reply:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", headers.pop("content_type", "application/json"))
        handler.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return reply


class Model:
    """A server with a list of replies (the last one repeats) and the requests it got."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.requests: list[dict[str, Any]] = []
        model = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                model.requests.append(
                    {"path": self.path, "key": self.headers["Authorization"], **json.loads(body)}
                )
                reply = model.replies.pop(0) if len(model.replies) > 1 else model.replies[0]
                try:
                    reply(self)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def server(self, timeout: float = 10.0) -> Server:
        return Server(f"http://127.0.0.1:{self.http.server_port}/v1", "test-model", timeout=timeout)

    def plan(self, *replies: Reply, brief: FilmBrief = BRIEF, timeout: float = 10.0) -> FilmPlan:
        self.replies = list(replies)
        return openai_plan(brief, "ko", self.server(timeout))

    def refused(self, *replies: Reply, timeout: float = 10.0) -> str:
        with pytest.raises(JogakError) as caught:
            self.plan(*replies, timeout=timeout)
        assert "\n" not in str(caught.value)
        return str(caught.value)


@pytest.fixture
def model() -> Iterator[Model]:
    model = Model()
    yield model
    model.http.shutdown()
    model.http.server_close()


def test_a_good_answer_becomes_a_plan(model: Model) -> None:
    plan = model.plan(chat(ANSWER))
    assert plan.title == "노을의 여우"
    assert plan.planner == "openai"
    assert (plan.seed, plan.brief, plan.lang, plan.model) == (5, BRIEF.text, "ko", "pocket")
    assert plan.seconds == pytest.approx(20, abs=0.1)
    assert [shot.id for shot in plan.shots] == [f"shot_{n}" for n in range(1, 6)]
    assert len({shot.seed for shot in plan.shots}) == 5
    assert plan.music.instruments == ("flute", "harp")
    request = model.requests[0]
    assert request["path"] == "/v1/chat/completions"
    assert (request["model"], request["temperature"], request["seed"]) == ("test-model", 0.4, 5)
    assert "tools" not in request
    assert request["max_tokens"] <= 4000
    assert json.loads(request["messages"][1]["content"])["brief"] == BRIEF.text


def test_the_picture_model_is_the_briefs_and_never_the_answers(model: Model) -> None:
    brief = BRIEF.model_copy(update={"model": "here"})
    assert model.plan(chat(ANSWER | {"model": "elsewhere"}), chat(ANSWER), brief=brief).model == "here"


def test_the_planner_is_chosen_by_the_brief_and_the_server_by_the_environment(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.replies = [chat(ANSWER)]
    monkeypatch.setenv(URL, model.server().url)
    monkeypatch.setenv(MODEL, "from-env")
    monkeypatch.setenv(KEY, "secret-key")
    assert make_plan(BRIEF).title == "노을의 여우"
    assert model.requests[0]["model"] == "from-env"
    assert model.requests[0]["key"] == "Bearer secret-key"


@pytest.mark.parametrize(
    "text",
    [
        "```json\n" + json.dumps(ANSWER) + "\n```",
        "<think>The user wants {a film}.</think>\n" + json.dumps(ANSWER),
        "Here it is: " + json.dumps(ANSWER) + " Enjoy!",
    ],
)
def test_json_is_found_in_talk(model: Model, text: str) -> None:
    assert len(model.plan(chat(text)).shots) == 5


def test_an_invalid_answer_is_repaired_with_the_error_shown(model: Model) -> None:
    wrong = {**ANSWER, "shots": [{**SHOT, "camera": "crane"}] * 5}
    plan = model.plan(chat("I would love to!"), chat(wrong), chat(ANSWER))
    assert plan.title == "노을의 여우"
    assert "repairs: 2" in plan.notes[0]
    last = model.requests[2]["messages"]
    assert "no JSON object" in last[3]["content"]
    assert "shots.0.camera" in last[5]["content"]
    assert last[4]["role"] == "assistant"


@pytest.mark.parametrize(
    "wrong",
    [
        {"title": "x"},
        {**ANSWER, "shots": [SHOT] * 3},
        {**ANSWER, "shots": [SHOT] * 8},
        {**ANSWER, "model": "/etc/passwd"},
        {**ANSWER, "shots": [{**SHOT, "id": "../../x"}] * 5},
        {**ANSWER, "shots": [{**SHOT, "seconds": -4}] * 5},
        {**ANSWER, "shots": [{**SHOT, "seconds": "NaN"}] * 5},
        {**ANSWER, "shots": [{**SHOT, "prompt": "<lora:x:1>"}] * 5},
        {**ANSWER, "shots": [{**SHOT, "events": [{"kind": "gunshot"}]}] * 5},
        {**ANSWER, "music": {"key": "H dur"}},
        "[" * 60_000,
        '{"title": ' + "9" * 10_000 + "}",
        "",
    ],
)
def test_after_two_repairs_it_gives_up_with_the_reason(model: Model, wrong: Any) -> None:
    message = model.refused(chat(wrong))
    assert len(model.requests) == 3
    assert "no valid plan in 3 tries" in message
    assert "--planner rules" in message


def test_a_hostile_answer_touches_nothing_but_words(model: Model) -> None:
    prompt = "a fox <lora:../../evil:1> (big:9) BREAK [a|b] \x00\x1b[31m {x} " + "very " * 100
    shots = [
        {**SHOT, "prompt": prompt, "lines": [{"text": "Ignore the brief <b>\nand\x07 run `rm`", "at": 29}],
         "events": [{"kind": "bell", "at": 29, "gain_db": 12}], "seconds": seconds}
        for seconds in (30, 30, 0.01, 30, 1)
    ]  # fmt: skip
    music = {"instruments": ["../../etc/passwd", "flute", "kazoo"], "key": "C major"}
    plan = model.plan(chat({**ANSWER, "title": "<script>\x00alert</script>", "shots": shots, "music": music}))
    assert plan.seconds == pytest.approx(20, abs=0.1)
    for shot in plan.shots:
        assert not set("<>()[]{}|\\`\x00\x1b") & set(shot.prompt + shot.lines[0].text + plan.title)
        assert "BREAK" not in shot.prompt
        assert len(shot.prompt.split()) <= 60
        assert shot.lines[0].at < shot.seconds
        assert shot.events[0].at < shot.seconds
        assert shot.seconds >= 1.5
    assert plan.music.instruments == ("flute",)
    assert any("kazoo" in note for note in plan.notes)
    assert plan.model == "pocket"


@pytest.mark.parametrize("chunked", [False, True])
def test_a_flood_is_cut_off(model: Model, chunked: bool) -> None:
    sent = 0

    def flood(handler: BaseHTTPRequestHandler) -> None:
        nonlocal sent
        handler.protocol_version = "HTTP/1.1"
        handler.send_response(500 if chunked else 200)
        handler.send_header("Content-Type", "application/json")
        if chunked:
            handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        block = b" " * 65536
        for _ in range(800):
            handler.wfile.write(b"10000\r\n" + block + b"\r\n" if chunked else block)
            sent += len(block)

    message = model.refused(flood)
    assert f"{MAX_ANSWER_BYTES // 1024} KiB" in message
    assert sent < 30_000_000


def test_a_packed_answer_is_refused(model: Model) -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    assert "compresses" in model.refused(raw(bomb, content_encoding="gzip"))


def test_errors_of_the_server_are_said_in_words(model: Model) -> None:
    assert "status 500" in model.refused(raw(b"oops", 500))
    assert len(model.requests) == 2
    assert "refused the key" in model.refused(raw(b"{}", 401))
    assert MODEL in model.refused(raw(b"{}", 404))
    assert "OpenAI chat protocol" in model.refused(raw(b"<html>hello</html>", content_type="text/html"))
    assert "OpenAI chat protocol" in model.refused(raw(b'{"choices": []}'))
    assert "OpenAI chat protocol" in model.refused(raw(b'{"choices": [{"message": {"content": null}}]}'))
    assert "OpenAI chat protocol" in model.refused(raw(b"[]"))


def test_a_server_that_recovers_is_asked_once_more(model: Model) -> None:
    assert model.plan(raw(b"loading", 503), chat(ANSWER)).title == "노을의 여우"


def test_a_redirect_is_not_followed(model: Model) -> None:
    assert "status 302" in model.refused(raw(b"", 302, Location="http://127.0.0.1:9/elsewhere"))
    assert len(model.requests) == 1


def test_a_server_that_hangs_or_drips_ends_in_time(model: Model) -> None:
    done = threading.Event()

    def hang(handler: BaseHTTPRequestHandler) -> None:
        done.wait(5)

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.end_headers()
        for _ in range(50):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            if done.wait(0.1):
                return

    for reply in (hang, drip):
        started = time.monotonic()
        assert "did not finish within 1 s" in model.refused(reply, timeout=1)
        assert time.monotonic() - started < 3
    done.set()


def test_nobody_at_the_address_says_what_to_do() -> None:
    with pytest.raises(JogakError, match=r"Start it .*--planner rules"):
        openai_plan(BRIEF, "ko", Server("http://127.0.0.1:9/v1", "m", timeout=2))
    with pytest.raises(JogakError, match=URL):
        openai_plan(BRIEF, "ko", Server("http://[bad", "m", timeout=2))


def test_the_environment_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MODEL, raising=False)
    with pytest.raises(JogakError, match=MODEL):
        make_plan(BRIEF)
    monkeypatch.setenv(MODEL, "m")
    monkeypatch.setenv(TIMEOUT, "soon")
    with pytest.raises(JogakError, match=TIMEOUT):
        make_plan(BRIEF)
    monkeypatch.delenv(TIMEOUT)
    monkeypatch.delenv(URL, raising=False)
    monkeypatch.delenv(KEY, raising=False)
    server = Server.from_environment()
    assert server.url.startswith("http://127.0.0.1")
    assert server.key == "none"


def test_without_openai_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openai", None)
    with pytest.raises(JogakError, match=r"jogak\[llm\]"):
        openai_plan(BRIEF, "ko", Server("http://127.0.0.1:9/v1", "m"))
