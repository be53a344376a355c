"""One page whatever the number of panels and the length of captions, with everything on it that has to be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from jogak.report.sheet_page import SheetFacts, ShownPanel, Steered, page_data, rows_of, sheet_page, sheet_pdf
from jogak.spec import Image, JogakError
from jogak.store import Store
from tests.report.pdf import read_pdf

HOSTILE = '<b>#panic("x")</b> {{y}} \\ $z$ *bold* _it_ \x07‮ 🦊'


def picture(folder: Path, name: str, size: tuple[int, int] = (64, 64)) -> Image:
    path = folder / f"{name}.png"
    small = np.random.default_rng(len(name)).integers(0, 256, (4, 4, 3), np.uint8)
    PIL.Image.fromarray(small).resize(size).save(path)
    return Image(sha256="ab" * 32, suffix=".png", path=path, width=size[0], height=size[1])


def facts(folder: Path, count: int = 5, size: tuple[int, int] = (64, 64), **more: object) -> SheetFacts:
    shown = picture(folder, f"panel{size[0]}", size)
    data = {
        "title": "하나의 하루",
        "lang": "ko",
        "panels": tuple(
            ShownPanel(
                picture=shown, pose=picture(folder, "pose") if at % 2 else None, caption=f"장면 {at}",
                consistency=0.5 + 0.05 * at, fault="기준 미만" if at < 2 else "", take=1, takes=at + 1,
            )
            for at in range(count)
        ),
        "references": (picture(folder, "one"),) * 12,
        "tone": picture(folder, "tone"),
        "steered": (
            Steered(name="정체성", on=True, how="LoRA hana × 0.9"),
            Steered(name="자세", on=False, how="프롬프트의 말로만: pocket용 자세 ControlNet이 들어 있지 않음"),
        ),
        "bar": 0.6, "mean": 0.62, "low": 0.55, "high": 0.7,
        "settings": (("모델", "pocket"), ("시드", "7, 8, 9")),
        "notes": ("자세 맵은 요청한 자세를 보일 뿐입니다.",),
        "version": "9.9",
    }  # fmt: skip
    return SheetFacts.model_validate(data | more)


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("count", range(1, 13))
def test_every_panel_has_its_place_and_rows_are_full(count: int, wide: bool) -> None:
    rows = rows_of(count, wide)
    assert sum(rows) == count
    assert rows == sorted(rows)
    assert rows[-1] - rows[0] <= 1
    assert rows[-1] <= (3 if wide else 4)


def test_the_five_of_a_sheet_stand_two_over_three() -> None:
    assert [rows_of(count) for count in (3, 4, 5, 6, 7)] == [[3], [2, 2], [2, 3], [3, 3], [3, 4]]


def test_page_and_pdf_say_what_there_is(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    given = facts(tmp_path)
    with store.run("sheet"):
        page, pdf = sheet_page(given), sheet_pdf(given)
    assert page.width == 1512
    with PIL.Image.open(page.path) as opened:
        assert opened.size == (page.width, page.height)
        assert len(opened.convert("RGB").resize((200, 200)).getcolors(40_000) or ()) > 100
    read = read_pdf(pdf.path.read_bytes())
    assert len(read.pages) == 1
    text = "".join(read.text.split())
    for said in ("하나의하루", "캐릭터시트", *(f"장면{at}" for at in range(5)), "0.62", "0.55", "3/5", "LoRAhana×0.9",
                 "ControlNet이들어있지않음", "참고그림", "톤", "요청자세", "7,8,9", "보일뿐입니다", "jogak9.9"):  # fmt: skip
        assert said in text, said
    assert text.count("기준미만") == 2
    assert any("NanumGothic" in font for font in read.embedded)


@pytest.mark.parametrize(
    ("count", "size"), [(3, (64, 64)), (12, (64, 64)), (8, (96, 64)), (3, (64, 128)), (1, (200, 64))]
)
def test_it_is_one_page_in_any_shape(tmp_path: Path, count: int, size: tuple[int, int]) -> None:
    given = facts(tmp_path, count, size, references=(), tone=None, notes=(), steered=(), low=None, high=None)
    given = given.model_copy(
        update={"panels": tuple(one.model_copy(update={"caption": "긴 캡션 " * 25}) for one in given.panels)}
    )
    with Store(tmp_path / "store").run("sheet"):
        page, pdf = sheet_page(given), sheet_pdf(given)
    assert len(read_pdf(pdf.path.read_bytes()).pages) == 1
    assert page.width == 1512


def test_equal_facts_give_equal_bytes(tmp_path: Path) -> None:
    made = []
    for name in ("a", "b"):
        with Store(tmp_path / name).run("sheet"):
            made.append((sheet_pdf(facts(tmp_path)).sha256, sheet_page(facts(tmp_path)).sha256))
    assert made[0] == made[1]


def test_nothing_is_read_as_markup(tmp_path: Path) -> None:
    given = facts(tmp_path, title=HOSTILE, text=HOSTILE, lang="en", notes=(HOSTILE,))
    given = given.model_copy(
        update={"panels": tuple(one.model_copy(update={"caption": HOSTILE}) for one in given.panels)}
    )
    with Store(tmp_path / "store").run("sheet"):
        text = "".join(read_pdf(sheet_pdf(given).path.read_bytes()).text.split())
    assert text.count('#panic("x")') == 8
    assert "[foxface]" in text
    assert "🦊" not in text


def test_all_panels_share_one_axis(tmp_path: Path) -> None:
    data, pictures = page_data(facts(tmp_path))
    places = [panel["at"] for panel in data["panels"]]
    assert places == sorted(places)
    assert 0 < places[0] < data["bar_at"] < places[-1] < 1
    assert set(pictures) >= {"panel1.jpg", "pose2.png", "tone.jpg", "reference7.jpg"}
    assert "reference8.jpg" not in pictures


def test_a_picture_that_is_gone_is_named(tmp_path: Path) -> None:
    given = facts(tmp_path)
    given.panels[0].picture.path.unlink()
    with Store(tmp_path / "store").run("sheet"), pytest.raises(JogakError, match=r"panel64\.png"):
        sheet_page(given)
