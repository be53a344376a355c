from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from jogak.report.diagram import pipeline_svg, write_diagram
from jogak.report.film_report import FilmFacts, Stage, make_report, report_data, stages
from jogak.report.typeset import fonts, jpeg, plain, typeset
from jogak.spec import Clip, Document, Event, FilmPlan, Image, JogakError, Line, ModelRef, Shot, Video
from jogak.spec.scores import Check, EventError, FilmScores, Score, ShotScores, SoundFacts
from jogak.store import Run, Store, current
from tests.report.pdf import Pdf, read_pdf

NAMES = {
    "clip_score/pocket-judge": (27.0, "cos×100"),
    "subject_consistency/efficientnet-lite0": (0.93, ""),
    "background_consistency/pocket-judge": (0.95, ""),
    "temporal_flicker_compensated/dis-flow": (0.98, ""),
    "motion_smoothness/dis-flow": (0.97, ""),
    "motion_amount/dis-flow": (4.0, "px/⅛ s at 256"),
}
WORDS: dict[str, dict[str, Any]] = {
    "ko": {
        "title": "눈밭의 여우", "brief": "눈 내리는 숲에서 길을 잃은 여우가 종소리를 따라 집으로 간다.",
        "prompt": "붉은 여우가 눈 덮인 숲에 서 있다", "line": "멀리서 종이 울렸다.",
        "note": "시간대가 없어서 새벽으로 정했습니다.", "method": "워프한 노이즈와 img2img",
        "limit": "한국어 음성은 합성음입니다.",
    },
    "en": {
        "title": "The fox in the snow", "brief": "A fox lost in a snowy forest follows a bell home.",
        "prompt": "a red fox in a snowy forest", "line": "Far away, a bell rang.",
        "note": "No time of day was named; dawn was chosen.", "method": "warped noise and img2img",
        "limit": "There is no motion model yet.",
    },
}  # fmt: skip
HOSTILE = '#panic("x") #read("/etc/passwd") $x^2$ *b* _i_ `raw` <l> @ref \\ // /* ]]} #eval("1") \x07\u202e'


def picture(size: tuple[int, int] = (320, 192), seed: int = 0, suffix: str = ".png") -> Image:
    rng = np.random.default_rng(seed)
    small = PIL.Image.fromarray(rng.integers(0, 256, (6, 10, 3), np.uint8))
    with current().store.new_file(suffix) as path:
        small.resize(size).save(path)
        return current().store.put(path, Image, width=size[0], height=size[1])


def score(name: str, shift: float = 0.0) -> Score:
    value, unit = NAMES[name]
    return Score(
        name=name, value=value + shift, low=value + shift - 0.01, high=value + shift + 0.01, n=40, seed=0,
        backbone=name.split("/")[1], unit=unit,
    )  # fmt: skip


def checks(error_ms: float) -> tuple[Check, ...]:
    return (
        Check(name="integrated_loudness", value=-14.1, at_least=-14.5, at_most=-13.5, unit="LUFS"),
        Check(name="true_peak", value=-1.2, at_most=-1.0, unit="dBTP"),
        Check(name="event_error", value=abs(error_ms), at_most=40.0, unit="ms"),
    )


def facts(words: dict[str, Any], lang: str = "en", shots: int = 4, error_ms: float = 12.0) -> FilmFacts:
    plan = FilmPlan.parse(
        {
            "title": words["title"], "brief": words["brief"], "notes": [words["note"]],
            "lang": lang, "seed": 41,
            "shots": [
                Shot(
                    id=f"s{i}", prompt=words["prompt"], seconds=3, seed=100 + i, camera="pan_left",
                    lines=(Line(text=words["line"]),), events=(Event(kind="bell", at=1), Event(kind="wind")),
                )
                for i in range(shots)
            ],
        }
    )  # fmt: skip
    sound = SoundFacts(
        integrated_lufs=-14.1, true_peak_dbtp=-1.2,
        events=(EventError(shot="s0", kind="bell", at=3.0, error_ms=error_ms),),
    )  # fmt: skip
    scored = tuple(
        ShotScores(shot=f"s{i}", scores=tuple(score(name, 0.001 * i) for name in NAMES)) for i in range(shots)
    )
    film = (
        *(score(name) for name in NAMES),
        Score(name="dynamic_degree/dis-flow", value=0.5, low=0.2, high=0.8, n=4),
    )
    nowhere: dict[str, Any] = {"sha256": "0" * 64, "path": Path("nowhere")}
    return FilmFacts(
        plan=plan,
        scores=FilmScores(film=film, shots=scored, checks=checks(error_ms), sound=sound),
        pictures=tuple(picture(seed=i) for i in range(shots)),
        contact=picture((740, 600), 9, ".jpg"),
        clips=tuple(
            Clip(**nowhere, suffix=".mkv", width=320, height=192, frames=36, fps=12, method=words["method"])
            for _ in range(shots)
        ),
        film=Video(**nowhere, suffix=".mp4", width=1280, height=720, frames=480, fps=24),
        models=(
            ModelRef(
                name="pocket", family="pocket", folder=Path("x"), digest="ab" * 32, numeric="torch-fp32"
            ),
        ),
        settings={"steps": "8", "sampler": "euler"},
        stages=(Stage(name="draw_shot", calls=4, stored=1, seconds=185.0, peak_bytes=1_420_000_000),),
        diagram=write_diagram(pipeline_svg([], "en")),
        limits=(words["limit"],),
        version="jogak 0.1.0",
    )  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with Store(tmp_path / "store").run("film") as run:
        yield run


def pdf_of(document: Document) -> Pdf:
    assert document.suffix == ".pdf"
    return read_pdf(document.path.read_bytes())


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize("lang", ["ko", "en"])
def test_a_report_says_everything_in_the_films_language(lang: str) -> None:
    words = WORDS[lang]
    found = pdf_of(make_report(facts(words, lang)))
    assert 3 <= len(found.pages) <= 5
    text = found.text
    for said in words.values():
        assert said in text
    # settings, seeds, models, shots, scores, loudness, time and memory
    for said in (
        "41",
        "100",
        "103",
        "euler",
        "abababababababab",
        "s0",
        "s3",
        "0.930",
        "27.0",
        "−14.1 LUFS",
        "1.4 GB",
    ):
        assert said in text
    met, missed = ("충족", "미달") if lang == "ko" else ("met", "missed")
    assert met in text
    assert missed not in text
    for said in ("3분 05초", "와이드 · 왼쪽 팬") if lang == "ko" else ("3 min 05 s", "wide · pan left"):
        assert said in text


@pytest.mark.usefixtures("run")
def test_a_missed_bar_is_said() -> None:
    found = pdf_of(make_report(facts(WORDS["en"], error_ms=-55.0)))
    assert "missed" in found.text
    assert "−55 ms" in found.text


@pytest.mark.usefixtures("run")
def test_fonts_travel_with_the_file_and_carry_hangul() -> None:
    found = pdf_of(make_report(facts(WORDS["ko"], "ko")))
    assert {name.removesuffix("-Identity-H") for name in found.fonts} == set(found.embedded)
    hangul = {name for name, written in found.fonts.items() if any("가" <= sign <= "힣" for sign in written)}
    assert hangul
    assert all(name.startswith("NanumGothic") for name in hangul)


def test_equal_facts_give_equal_bytes(tmp_path: Path) -> None:
    made = []
    for name in ("one", "two"):
        with Store(tmp_path / name).run("film"):
            made.append(make_report(facts(WORDS["ko"], "ko")).sha256)
    assert made[0] == made[1]


@pytest.mark.usefixtures("run")
def test_hostile_words_are_only_words() -> None:
    words = dict.fromkeys(WORDS["en"], HOSTILE) | {"title": HOSTILE[:60]}
    found = pdf_of(make_report(facts(words)))
    assert 3 <= len(found.pages) <= 6
    for said in ('#panic("x")', '#read("/etc/passwd")', "$x^2$", "*b*", '#eval("1")'):
        assert said in found.text
    assert "root:" not in found.text


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize("sign", ["#", "가", "🦊", "مرحبا ", "שלום ", "a", "<", "\\", "\u200d", "e\u0301"])
def test_ten_thousand_signs_of_anything_make_a_report(sign: str) -> None:
    many = (sign * 10_000)[:10_000]
    words = {
        "title": "x" + many[:59], "brief": "x" + many[:1999],
        "prompt": "x" + many[:999], "line": "x" + many[:199],
        "note": many, "method": many, "limit": many,
    }  # fmt: skip
    found = pdf_of(make_report(facts(words, shots=3)))
    assert 3 <= len(found.pages) <= 7


@pytest.mark.usefixtures("run")
def test_a_film_of_little_still_has_a_report() -> None:
    bare = FilmFacts(
        plan=FilmPlan(title="x", brief="x", lang="en", shots=(Shot(id="s1", prompt="x"),)),
        scores=FilmScores(film=(), shots=(), checks=()),
    )
    found = pdf_of(make_report(bare))
    assert "The plan" in found.text
    assert "Contact sheet" not in found.text


@pytest.mark.usefixtures("run")
def test_twelve_shots_fit() -> None:
    found = pdf_of(make_report(facts(WORDS["ko"], "ko", shots=12)))
    assert "s11" in found.text
    assert len(found.pages) <= 7


@pytest.mark.usefixtures("run")
def test_places_on_axes_lie_on_them() -> None:
    odd = facts(WORDS["en"], error_ms=-300.0)
    low = Score(name="clip_score/pocket-judge", value=-3.7, low=-9.2, high=1.1, n=3, unit="cos×100")
    alone = Score(name="motion_smoothness/dis-flow", value=1.0, n=1)
    shots = (ShotScores(shot="s0", scores=(low, alone)), ShotScores(shot="s1", scores=()))
    scores = odd.scores.model_copy(update={"shots": shots, "film": (low,)})
    data = report_data(odd.model_copy(update={"scores": scores}), {})
    cells = [cell for row in data["rows"] for cell in row["cells"] if cell]
    assert len(cells) == 3
    for cell in cells:
        assert all(0 <= cell[key] <= 1 for key in ("at", "low", "high") if cell[key] is not None)
    for gauge in (*data["checks"], *data["events"]):
        assert all(0 <= gauge[key] <= 1 for key in ("at", "from", "to"))
    assert data["columns"][0]["low"] == "-10"
    assert data["columns"][0]["high"] == "2"


@pytest.mark.usefixtures("run")
def test_a_picture_that_is_none_is_named(run: Run) -> None:
    with run.store.new_file(".png") as path:
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"0" * 50)
        broken = run.store.put(path, Image, width=1, height=1)
    with pytest.raises(JogakError, match="cannot be read as a picture"):
        make_report(facts(WORDS["en"]).model_copy(update={"poster": broken}))


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.png"
    PIL.Image.new("1", (9000, 9000)).save(path)
    monkeypatch.setattr(PIL.Image.Image, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(JogakError, match="pixels"):
        jpeg(path, 100)


def test_pictures_become_small_jpegs(tmp_path: Path) -> None:
    PIL.Image.new("RGBA", (400, 100), (255, 0, 0, 128)).save(tmp_path / "a.png")
    content, width, height = jpeg(tmp_path / "a.png", 200)
    assert (width, height) == (200, 50)
    assert PIL.Image.open(io.BytesIO(content)).format == "JPEG"
    with pytest.raises(JogakError):
        jpeg(tmp_path / "absent.png", 200)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\n b\t c\x00", "a b c"),
        ("🦊 fox", "[fox face] fox"),
        ("❤\ufe0f", "❤"),
        ("‮abc‬", "abc"),
        ("가" * 40, "\u200b".join(("가" * 18, "가" * 18, "가" * 4))),
        ("x" * 30 + " y", "x" * 18 + "\u200b" + "x" * 12 + " y"),
        ("\ud800", ""),
    ],
)
def test_plain(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_plain_is_cut_with_a_sign() -> None:
    assert plain("ab cd ef", 5) == "ab c…"
    assert plain("abcde", 5) == "abcde"
    assert len(plain("🦊" * 500, 100).replace("\u200b", "")) == 100


def test_typst_cannot_leave_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The template is ours; still, the folder it works in is the only one it sees."""
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    templates = tmp_path / "templates"
    templates.mkdir()
    (templates / "evil.typ").write_text(f'#read("/..{secret}")')
    monkeypatch.setattr("jogak.report.typeset.files", lambda _: tmp_path)
    with pytest.raises(JogakError, match="could not be typeset"):
        typeset("evil.typ", {}, {})


def test_the_font_folder_has_hangul() -> None:
    assert (fonts() / "NanumGothic.ttf").is_file()


def test_stages_are_the_runs_steps(run: Run) -> None:
    make_report(facts(WORDS["en"]))
    make_report(facts(WORDS["en"]))
    found = {stage.name: stage for stage in stages(run.records)}
    assert found["make_report"].calls == 2
    assert found["make_report"].stored == 1
    assert found["make_report"].peak_bytes > 1_000_000
    assert "spec" not in found


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize(
    ("lang", "own", "others"), [("ko", "작은 모델", "가져온 모델"), ("en", "small model", "brought along")]
)
def test_a_model_of_ones_own_is_named_by_its_end_and_has_not_pockets_limit(
    lang: str, own: str, others: str
) -> None:
    found = facts(WORDS[lang], lang)
    name = f"/{'long/' * 30}fox-sd15"
    brought = found.models[0].model_copy(update={"name": name, "family": "sd15"})
    plan = FilmPlan.parse(found.plan.model_dump() | {"model": name})
    shown = pdf_of(make_report(found.model_copy(update={"models": (brought,), "plan": plan}))).text
    usual = pdf_of(make_report(found)).text
    assert "fox-sd15" in shown
    assert others in shown
    assert own not in shown
    assert own in usual
    assert others not in usual
