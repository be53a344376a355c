"""The contact sheet shows the right frames of the finished film, and says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import soundfile

from jogak.film.mux import write_mp4
from jogak.report import contact
from jogak.report.contact import COLUMNS, MARGIN, THUMB, contact_sheet, draw_sheet, read_thumbs
from jogak.spec import FilmPlan, JogakError, Video
from jogak.store import Store

PLAN = FilmPlan.parse(
    {
        "title": "노을 여우와 밤바다",
        "brief": "x",
        "lang": "ko",
        "title_seconds": 1,
        "end_seconds": 1,
        "shots": [
            {
                "id": "s1",
                "prompt": "a fox in a meadow at sunset 🦊 " + "and a long prompt " * 20,
                "seconds": 1,
            },
            {"id": "s2", "prompt": "해변의 강아지", "seconds": 1, "camera": "pan_left", "size": "close"},
        ],
    }
)


def grey_of(frame: int) -> int:
    """Each frame of the test film has its own grey."""
    return 40 + 2 * frame


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("film")
    soundfile.write(folder / "mix.wav", np.zeros((4 * 48000, 2), np.float32), 48000)
    pictures = (np.full((720, 1280, 3), grey_of(frame), np.uint8) for frame in range(96))
    write_mp4(folder / "film.mp4", pictures, folder / "mix.wav", [], "x", "ko", lambda done: None)
    return folder / "film.mp4"


def test_the_wanted_frames_are_read(film: Path) -> None:
    thumbs = read_thumbs(film, {0, 30, 95})
    assert sorted(thumbs) == [0, 30, 95]
    for frame, thumb in thumbs.items():
        assert thumb.size == THUMB
        assert np.asarray(thumb).mean() == pytest.approx(grey_of(frame), abs=1.5)


def test_each_shot_has_its_row_of_its_own_frames(film: Path) -> None:
    sheet = np.asarray(draw_sheet(film, PLAN).convert("L")).astype(int)
    tops = [MARGIN + THUMB[1] + 24 + row * contact.ROW + contact.CAPTION for row in range(2)]
    for row, top in enumerate(tops):
        for column in range(COLUMNS):
            left = MARGIN + column * (THUMB[0] + contact.GAP)
            shown = sheet[top + 20 : top + 120, left + 20 : left + 300]
            frame = 24 + 24 * row + round(24 * (column + 0.5) / COLUMNS)
            assert shown.mean() == pytest.approx(grey_of(frame), abs=2)
        code = sheet[top + THUMB[1] - 32 : top + THUMB[1] - 8, MARGIN + 8 : MARGIN + 90]
        assert code.max() > 240  # a white time code
        assert np.median(code) < 60  # on its dark plate


def test_the_sheet_is_a_picture_in_the_store(film: Path, tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.run("film"):
        video = store.put(film, Video, width=1280, height=720, frames=96, fps=24)
        image = contact_sheet(video, PLAN)
        assert contact_sheet(video, PLAN) == image
    with PIL.Image.open(image.path) as opened:
        assert opened.format == "JPEG"
        assert opened.size == (image.width, image.height)
    assert image.suffix == ".jpg"


@pytest.mark.parametrize(
    "title", ["🦊", "W" * 60, "가" * 60, "긴 밤의 여우가 달을 보며 부르는 아주아주 긴 노래와 이야기"]
)
def test_any_title_fits_beside_the_cards(film: Path, title: str) -> None:
    sheet = np.asarray(draw_sheet(film, PLAN.model_copy(update={"title": title})).convert("L"))
    beside = sheet[
        MARGIN : MARGIN + THUMB[1], MARGIN + 2 * THUMB[0] + 1 : MARGIN + 2 * (THUMB[0] + contact.GAP)
    ]
    assert beside.min() > 235  # bare paper between the words and the first card


def test_a_film_of_another_plan_is_refused(film: Path) -> None:
    longer = PLAN.model_copy(update={"title_seconds": 3})
    with pytest.raises(JogakError, match="not this plan's film"):
        draw_sheet(film, longer)


@pytest.mark.parametrize("content", [b"", b"not a film", bytes(4000)])
def test_what_is_no_film_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(content)
    with pytest.raises(JogakError, match=r"film\.mp4 cannot be read"):
        read_thumbs(path, {0})


def test_caps_hold_before_anything_is_decoded(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contact, "MAX_FRAMES", 95)
    with pytest.raises(JogakError, match="larger than 95 frames"):
        read_thumbs(film, {0})
