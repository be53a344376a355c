from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from fontTools.ttLib import TTFont

from jogak.report.picture_facts import gather, read_scores
from jogak.report.picture_report import picture_html, picture_pdf, report_data, write_report
from jogak.spec import Document, Image, ImageRequest, JogakError, ModelRef, SpecError
from jogak.spec.picture_scores import (
    Alarm,
    Alternative,
    Bar,
    Copy,
    EvalRequest,
    ItemScores,
    MapPair,
    Missing,
    PictureScores,
    Shown,
)
from jogak.spec.scores import Score
from jogak.spec.training import CellScores, SweepReport, SweepRequest
from jogak.store import Run, Store, current, scope, step
from tests.report.pdf import read_pdf

MODEL = ModelRef(
    name="/models/pocket", family="pocket", folder=Path("x"), digest="ab" * 32, numeric="torch-fp32-t1"
)
HOSTILE = '<script>alert("x")</script> #panic("x") {{y}} \\ $z$ "><img src=http://evil.example/x> \x07\u202e'


def put(seed: int, size: tuple[int, int] = (96, 64)) -> Image:
    small = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), np.uint8)
    with current().store.new_file(".png") as path:
        PIL.Image.fromarray(small).resize(size).save(path)
        return current().store.put(path, Image, width=size[0], height=size[1])


@step(version="1")
def draw_image(request: ImageRequest, model: ModelRef) -> Image:
    return put(request.seed)


@step(version="1")
def draw_grid(number: int) -> Image:
    return put(number, (300, 200))


@step(version="1")
def judged(scores: PictureScores) -> PictureScores:
    return scores


@step(version="1")
def written(text: str) -> Document:
    with current().store.new_file(".json") as path:
        path.write_text(text, encoding="utf-8")
        return current().store.put(path, Document)


@step(version="1")
def kept_map(number: int) -> MapPair:
    return MapPair(
        picture="a.png",
        kind="canny",
        measure="edge_f1",
        value=0.81,
        wanted=put(90),
        found=put(91),
        shown=put(92),
    )


@step(version="1")
def thumbnail(name: str, role: str, seed: int) -> Shown:
    return Shown(name=name, role=role, image=put(seed))  # pyright: ignore[reportArgumentType]


@step(version="1")
def swept(report: SweepReport) -> SweepReport:
    return report


def score(name: str, value: float, half: float = 0.05, **more: Any) -> Score:
    return Score(name=name, value=value, low=value - half, high=value + half, n=24, seed=0, **more)


def full(words: str = "a fox in the snow") -> PictureScores:
    return PictureScores(
        pictures=24,
        references=30,
        lead="kid/efficientnet-lite0",
        whole=(
            score("kid/efficientnet-lite0", 12.0, 3, unit="×10⁻³", backbone="efficientnet-lite0", better="lower"),
            score("clip_score/pocket-judge", 27.5, 1.5, unit="cos×100", backbone="pocket-judge"),
            score("edge_f1/canny", 0.81, backbone="canny"),
        ),
        items=(ItemScores(picture="a.png", prompt=words, scores=(score("clip_score/pocket-judge", 31.0),)),),
        bars=(
            Bar(name="identity_share", value=0.95, at_least=0.9, part="quality"),
            Bar(name="copies", value=1, at_most=0, part="quality"),
            Bar(name="edge_f1", value=0.81, at_least=0.75, part="control"),
        ),
        alarm=Alarm(
            cosine_above=0.6, likeness_above=0.93, references=30, calibrated=True,
            copies=(Copy(picture="copy.png", reference="r7.png", cosine=0.9, likeness=0.99, mirrored=True),),
        ),
        alternatives=(
            Alternative(
                name="weight 0.8", settings={"weight": "0.8"}, scores=(score("identity/eye", 0.8),), chosen=True,
                reason="Identity leads by more than its interval.",
            ),
            Alternative(name="weight 0.4", scores=(score("identity/eye", 0.6),), reason="identity 0.60 against 0.80"),
        ),
        missing=(Missing(name="lpips", why="no_weights"),),
        notes=("two files could not be read",),
    )  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def eval_run(store: Store) -> Run:
    with store.run("eval", spec=EvalRequest(folder="/somewhere/fox set", seed=3)) as run:
        kept_map(1)
        for at, (name, role) in enumerate(
            [("a.png", "picture"), ("copy.png", "copy"), ("r7.png", "original")]
        ):
            with scope(name):
                thumbnail(name, role, 40 + at)
        judged(full())
    return store.run_record(run.id)


def image_run(store: Store, prompt: str = "달밤의 여우", count: int = 3) -> Run:
    with store.run("image", spec=ImageRequest(prompt=prompt, steps=7)) as run:
        for seed in range(count):
            with scope(f"seed {seed}"):
                draw_image(ImageRequest(prompt=prompt, steps=7, seed=seed), MODEL)
    return store.run_record(run.id)


class _Page(HTMLParser):
    """Tags, attributes and words of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return "".join(self.words).replace("\u200b", "")


def both(run: Run, **more: Any) -> tuple[str, str]:
    """The words of the PDF, and of the page."""
    facts = gather(run, **more)
    return read_pdf(picture_pdf(facts)).text, _Page(picture_html(facts)).text


def test_an_evaluation_says_everything_in_both_forms(eval_run: Run) -> None:
    for text in both(eval_run):
        for said in (
            "Evaluation of fox set", "Quality", "Control precision", "Reasoning", "0.0120", "0.0090 … 0.0150", "27.5",
            "leads at this number", "1 of 24 pictures copy a reference", "copy.png ← r7.png", "mirrored", "lpips",
            "its weights are not here", "weight 0.8", "chosen", "Identity leads by more than its interval.",
            "identity 0.60 against 0.80", "Edges kept", "0.81", "two files could not be read", "/somewhere/fox set",
        ):  # fmt: skip
            assert said in text, said


def test_maps_that_could_not_be_measured_stand_in_their_part(eval_run: Run) -> None:
    lacking = Missing(name="control_fidelity/depth", why="no_weights", detail="DPT → $JOGAK_ANNOTATORS/depth")
    more = PictureScores(missing=(lacking,))
    data, _ = report_data(gather(eval_run, scores=more))
    assert [name for name, _ in data["missing"]["quality"]] == ["lpips"]
    assert len(data["missing"]["control"]) == 1
    for lang, said in (("en", "its weights are not here"), ("ko", "가중치가 없음")):
        for text in both(eval_run, scores=more, lang=lang):
            for words in ("control_fidelity/", said, "$JOGAK_ANNOTATORS/"):
                assert words in text


def test_points_follow_from_bars_alone(eval_run: Run) -> None:
    data, _ = report_data(gather(eval_run))
    assert [(part["key"], part["points"], part["weight"]) for part in data["rubric"]] == [
        ("quality", "20", 40), ("control", "40", 40), ("reasoning", "20", 20),
    ]  # fmt: skip
    better = Bar(name="copies", value=0, at_most=0, part="quality")
    later, _ = report_data(gather(eval_run, scores=PictureScores(bars=(better,))))
    assert later["rubric"][0]["points"] == "40"  # a later measurement of a bar replaces the run's own


def test_pictures_maps_and_copies_are_shown(eval_run: Run) -> None:
    data, pictures = report_data(gather(eval_run))
    assert len(data["maps"]) == 1
    assert all(data["maps"][0][key] in pictures for key in ("shown", "wanted", "found"))
    (pair,) = data["alarm"]["pairs"]
    assert pair["left"] in pictures
    assert pair["right"] in pictures
    assert [one["label"] for one in data["gallery"]] == ["a.png"]
    assert "31.0" in data["gallery"][0]["more"]


def test_pictures_alone_make_a_report_in_their_language(store: Store) -> None:
    run = image_run(store)
    facts = gather(run)
    assert facts.lang == "ko"
    assert facts.title == "달밤의 여우"
    assert (facts.drawn, facts.recorded) == (3, 3)
    for text in both(run):
        for said in (
            "품질",
            "제어 정밀도",
            "근거",
            "seed 0",
            "seed 2",
            "sha256 abababababababab",
            "jogak eval",
        ):
            assert said in text, said
        assert "/models" not in text
    data, _ = report_data(facts)
    assert [part["points"] for part in data["rubric"]] == [
        "–",
        "–",
        "7",
    ]  # on record, but nothing was compared
    english, _ = both(run, lang="en")
    assert "Every setting" in english


def test_scores_from_elsewhere_are_shown_with_their_pictures(store: Store, tmp_path: Path) -> None:
    run = image_run(store)
    digest = next(picture.sha256 for picture in gather(run).pictures)
    own = ItemScores(picture="x.png", sha256=digest, scores=(score("identity/eye", 0.77),))
    (tmp_path / "scores.json").write_text(
        full().model_copy(update={"items": (own,)}).to_json(), encoding="utf-8"
    )
    facts = gather(run, scores=read_scores(tmp_path / "scores.json"))
    assert facts.pictures[0].scores[0].value == 0.77
    assert facts.scores.lead == "kid/efficientnet-lite0"


def test_scores_lie_in_a_json_file_of_the_run(store: Store) -> None:
    with store.run("sheet", spec=ImageRequest(prompt="fox")) as run:
        written(full().to_json())
        written('{"something": "else"}')
        written("[" * 100_000)
    assert gather(store.run_record(run.id)).scores.lead == "kid/efficientnet-lite0"


def sweep_report(best: int = 1) -> SweepReport:
    def cell(at: int, value: float) -> CellScores:
        return CellScores(
            checkpoint=f"fox-{at}00.safetensors", step=at * 100, weight=0.75, identity=0.5, likeness=value,
            adherence=9, obedience=0.9, diversity=0.4, variety=0.8, copied=0, value=value, low=value - 0.05,
            high=value + 0.05, n=8,
        )  # fmt: skip

    return SweepReport(
        request=SweepRequest(), prompts=("sk fox",), plain=cell(0, 0), cells=(cell(1, 0.5), cell(2, 0.8), cell(3, 0.6)),
        best=best, verdict="right", reason_en="Because it is right.", reason_ko="알맞기 때문입니다.", grid=put(7, (300, 200)),
    )  # fmt: skip


def test_a_sweeps_cells_are_the_alternatives(store: Store) -> None:
    with store.run("sweep", spec=SweepRequest()) as run:
        swept(sweep_report())
    facts = gather(store.run_record(run.id))
    assert [one.name for one in facts.scores.alternatives] == [
        "fox-200 × 0.75",
        "fox-300 × 0.75",
        "fox-100 × 0.75",
    ]
    assert [one.chosen for one in facts.scores.alternatives] == [True, False, False]
    assert facts.reason == "Because it is right."
    assert facts.scores.alternatives[1].reason == "Likeness 0.60 against 0.80"
    checks = {check["name"]: check["passed"] for check in report_data(facts)[0]["checks"]}
    assert checks["The choice leads by more than its interval"] is True
    for text in both(store.run_record(run.id)):
        assert "Because it is right." in text
    assert "알맞기 때문입니다." in both(store.run_record(run.id), lang="ko")[0]


@step(version="1")
def draw_sweep(scores: list[CellScores], best: int) -> Image:
    return put(best)


def test_a_sweep_that_kept_only_its_cells_is_understood(store: Store) -> None:
    with store.run("sweep", spec=SweepRequest()) as run:
        draw_sweep(list(sweep_report().cells), 2)
    facts = gather(store.run_record(run.id))
    assert facts.scores.alternatives[0].name == "fox-300 × 0.75"
    assert facts.reason == "Its value is the highest of 3: 0.60 (0.55–0.65)."


def test_a_way_that_leads_by_less_than_its_interval_is_said_to(store: Store) -> None:
    close = full().model_copy(
        update={
            "alternatives": (
                Alternative(
                    name="a", scores=(score("identity/eye", 0.62),), chosen=True, reason="a bit more"
                ),
                Alternative(name="b", scores=(score("identity/eye", 0.6),)),
            )
        }
    )
    with store.run("sheet", spec=ImageRequest(prompt="fox")) as run:
        judged(close)
    checks = {
        check["name"]: check["passed"] for check in report_data(gather(store.run_record(run.id)))[0]["checks"]
    }
    assert checks["The choice leads by more than its interval"] is False
    assert checks["Choices that carry a reason"] is True


def test_the_page_needs_nothing_and_runs_nothing(eval_run: Run) -> None:
    page = picture_html(gather(eval_run, lang="ko"))
    parsed = _Page(page)
    assert not {tag for tag, _ in parsed.tags} & {"script", "link", "iframe", "object", "form", "base"}
    for tag, attributes in parsed.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "href"], tag
        if tag == "img":
            assert (attributes["src"] or "").startswith("data:image/jpeg;base64,")
            assert attributes["alt"]
    assert re.findall(r"url\((?!data:)", page) == []
    assert "http" not in page.replace("http-equiv", "")
    assert "default-src 'none'" in page
    assert "@media print" in page


def test_hangul_shows_on_machines_without_it(eval_run: Run) -> None:
    page = picture_html(gather(eval_run, lang="ko"))
    faces = re.findall(r"url\(data:font/woff;base64,([^)]+)\)", page)
    assert len(faces) == 2
    for face in faces:
        letters = set(TTFont(io.BytesIO(base64.b64decode(face))).getBestCmap())
        shown = {ord(letter) for letter in _Page(page).text if "가" <= letter <= "힣"}
        assert shown
        assert shown <= letters


def test_hostile_words_are_only_words(store: Store) -> None:
    scores = full(HOSTILE)
    named = [one.model_copy(update={"name": HOSTILE, "reason": HOSTILE}) for one in scores.alternatives]
    with store.run("image", spec=ImageRequest(prompt=HOSTILE, negative=HOSTILE)) as run:
        with scope(HOSTILE):
            draw_image(ImageRequest(prompt=HOSTILE), MODEL)
        judged(scores.model_copy(update={"alternatives": tuple(named), "notes": (HOSTILE,)}))
    facts = gather(store.run_record(run.id))
    page = picture_html(facts)
    assert "<script>" not in page
    assert not [tag for tag, found in _Page(page).tags if tag == "script" or "evil" in str(found.get("src"))]
    assert '<script>alert("x")</script>' in _Page(page).text
    assert '#panic("x")' in read_pdf(picture_pdf(facts)).text


@pytest.mark.parametrize("sign", ["가", "🦊", "a", "<", "e\u0301", "\ud7ff"])
def test_long_words_of_anything_make_a_report(store: Store, sign: str) -> None:
    run = image_run(store, (sign * 3000)[:3000], count=1)
    facts = gather(run)
    assert 2 <= len(read_pdf(picture_pdf(facts)).pages) <= 6
    assert picture_html(facts)


def test_equal_facts_give_equal_bytes(eval_run: Run) -> None:
    facts = gather(eval_run)
    assert picture_pdf(facts) == picture_pdf(facts)
    assert picture_html(facts) == picture_html(facts)


def test_pictures_that_are_gone_are_left_out(store: Store) -> None:
    run = image_run(store)
    facts = gather(run)
    facts.pictures[0].path.unlink()
    facts.pictures[1].path.write_bytes(b"no picture")
    assert len(report_data(gather(run))[0]["gallery"]) == 1
    assert picture_pdf(gather(run))


def test_a_run_of_nothing_still_has_a_report(store: Store) -> None:
    with pytest.raises(RuntimeError), store.run("image", spec=ImageRequest(prompt="fox")) as run:
        raise RuntimeError("stopped")
    assert "fox" in both(store.run_record(run.id))[0]


def test_a_films_run_is_sent_to_its_own_report(store: Store) -> None:
    with store.run("film") as run:
        pass
    with pytest.raises(JogakError, match=r"report\.pdf"):
        gather(store.run_record(run.id))


def test_places_on_axes_lie_on_them(eval_run: Run) -> None:
    odd = PictureScores(
        whole=(
            score("clip_margin/eye", -3.7, 5), score("kid/eye", -2.0, 1, unit="×10⁻³"), score("fd/eye", 0.0, 0.0),
            Score(name="diversity/eye", value=1e-9, n=1), score("identity/eye", -0.2, 0.1), score("fd/other", 1e7, 1e6),
        )
    )  # fmt: skip
    data, _ = report_data(gather(eval_run, scores=odd))
    rows = [*data["quality"]["rows"], *data["control"]["rows"]]
    assert len(rows) == 9
    for row in rows:
        assert all(-1e-9 <= row[key] <= 1 + 1e-9 for key in ("at", "low", "high") if row[key] is not None), (
            row
        )
    cells = [cell for row in data["alternatives"]["rows"] for cell in row["cells"] if cell]
    assert all(0 <= cell[key] <= 1 for cell in cells for key in ("at", "low", "high"))


def test_a_report_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    write_report(tmp_path / "new" / "report.html", b"x")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["report.html"]
    (tmp_path / "file").write_text("")
    with pytest.raises(JogakError, match="Cannot write"):
        write_report(tmp_path / "file" / "report.html", b"x")


@pytest.mark.parametrize("text", ["{", "[]", '{"pictures": -1}', '{"whole": [{"name": "x"}]}', "[" * 100_000])
def test_scores_that_are_none_are_refused_in_a_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "scores.json").write_text(text, encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        read_scores(tmp_path / "scores.json")
    assert "\n" not in str(caught.value)
    with pytest.raises(SpecError):
        read_scores(tmp_path / "absent.json")
