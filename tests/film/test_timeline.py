"""The timeline agrees with the plan to the frame and reads back in OpenTimelineIO."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import opentimelineio as otio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jogak.film.subtitles import Subtitles, make_subtitles
from jogak.film.timeline import edit_decision_list, segments, timeline, to_edl, to_otio
from jogak.spec import Event, FilmPlan, Line, Shot
from jogak.store import Store

PLAN = FilmPlan(
    title="밤바다의 노래: a song",
    brief="밤바다",
    lang="ko",
    shots=(
        Shot(
            id="s1",
            size="wide",
            camera="pan_left",
            prompt="a sailboat on the sea at night",
            seconds=3.3,
            lines=(Line(text="배가 지나간다.", at=0.5),),
            events=(Event(kind="waves"), Event(kind="bell", at=1.25)),
        ),
        Shot(id="s2", size="closing", prompt="the moon over the sea", seconds=4),
    ),
)
CUES = make_subtitles([(2.5, 4.0, "배가 지나간다.")], "ko", PLAN.seconds)


def moments() -> st.SearchStrategy[FilmPlan]:
    shot_seconds = st.lists(st.floats(1, 4), min_size=1, max_size=8)
    return st.builds(
        lambda title, end, lengths: FilmPlan(
            title="x",
            brief="x",
            lang="en",
            title_seconds=title,
            end_seconds=end,
            shots=tuple(
                Shot(id=f"s{index}", prompt="x", seconds=seconds) for index, seconds in enumerate(lengths)
            ),
        ),
        st.floats(1, 4),
        st.floats(1, 4),
        shot_seconds,
    )


@given(moments())
def test_segments_fill_the_film_without_gap_or_drift(plan: FilmPlan) -> None:
    parts = segments(plan)
    assert [part.name for part in parts] == ["title", *(shot.id for shot in plan.shots), "end"]
    assert parts[0].first == 0
    assert parts[-1].stop == round(plan.seconds * 24)
    assert all(before.stop == after.first for before, after in pairwise(parts))
    for part, start in zip(parts[1:-1], plan.starts, strict=True):
        assert abs(part.first / 24 - start) <= 0.5 / 24 + 1e-9
        assert part.frames >= 23


def test_the_timeline_reads_back(tmp_path: Path) -> None:
    with Store(tmp_path / "store").run("film"):
        handle = timeline(PLAN, CUES)
    target = tmp_path / "film.otio"
    target.write_bytes(handle.path.read_bytes())
    film = otio.adapters.read_from_file(str(target))
    assert film.name == PLAN.title
    assert film.duration().to_seconds() == pytest.approx(PLAN.seconds, abs=1 / 24)
    picture, *sound = film.tracks
    assert [clip.name for clip in picture] == ["title", "s1", "s2", "end"]
    assert {clip.media_reference.target_url for clip in picture} == {"film.mp4"}
    assert [clip.media_reference.target_url for track in sound for clip in track] == [
        "stems/music.wav",
        "stems/effects.wav",
        "stems/voice.wav",
    ]
    for part, clip in zip(segments(PLAN), picture, strict=True):
        place = clip.range_in_parent()
        assert (place.start_time.value, place.duration.value) == (part.first, part.frames)
        assert clip.source_range.start_time.value == part.first
        assert clip.source_range.end_time_exclusive() <= clip.available_range().end_time_exclusive()
    marks = {mark.name: mark.marked_range.start_time.value for mark in picture[1].markers}
    assert marks == {"waves": 48, "bell": 48 + 30, "배가 지나간다.": 60}
    assert picture[1].metadata["jogak"]["camera"] == "pan_left"


def test_the_timeline_is_a_function_of_the_plan() -> None:
    assert to_otio(PLAN, CUES.cues) == to_otio(PLAN, CUES.cues)
    planned = otio.adapters.read_from_string(to_otio(PLAN, stems=("music",)), "otio_json")
    assert [track.name for track in planned.tracks] == ["Picture", "Music"]
    assert [mark.name for mark in planned.tracks[0][1].markers] == ["waves", "bell", "배가 지나간다."]


def test_the_edit_decision_list_has_the_cut(tmp_path: Path) -> None:
    assert to_edl(PLAN) == (
        "TITLE: : A SONG\n"
        "FCM: NON-DROP FRAME\n"
        "\n"
        "001  FILM     V     C        00:00:00:00 00:00:02:00 00:00:00:00 00:00:02:00\n"
        "* FROM CLIP NAME: TITLE\n"
        "002  FILM     V     C        00:00:02:00 00:00:05:07 00:00:02:00 00:00:05:07\n"
        "* FROM CLIP NAME: S1\n"
        "* LOC: 00:00:02:00 RED     WAVES\n"
        "* LOC: 00:00:03:06 RED     BELL\n"
        "003  FILM     V     C        00:00:05:07 00:00:09:07 00:00:05:07 00:00:09:07\n"
        "* FROM CLIP NAME: S2\n"
        "004  FILM     V     C        00:00:09:07 00:00:10:19 00:00:09:07 00:00:10:19\n"
        "* FROM CLIP NAME: END\n"
        "005  FILM     AA    C        00:00:00:00 00:00:10:19 00:00:00:00 00:00:10:19\n"
        "* FROM CLIP NAME: FILM.MP4\n"
    )
    with Store(tmp_path).run("film"):
        assert edit_decision_list(PLAN).path.read_text("ascii") == to_edl(PLAN)


def test_a_film_without_words_has_a_timeline() -> None:
    assert otio.adapters.read_from_string(to_otio(PLAN, Subtitles(lang="ko").cues), "otio_json").tracks
