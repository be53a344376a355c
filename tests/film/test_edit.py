"""The film: real clips, a real mix and real subtitles go in, and PyAV finds in the MP4 what was put there."""

from __future__ import annotations

import hashlib
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import soundfile

from jogak.film.edit import DISSOLVE_FRAMES, dissolves, edit_film, edit_notes, film_pictures, with_subtitles
from jogak.film.frames import write_frames
from jogak.film.mix import AAC_BIT_RATE, through_aac
from jogak.film.mux import write_mp4
from jogak.film.subtitles import Cue, Subtitles, make_subtitles
from jogak.spec import Audio, Clip, FilmPlan, Music, Shot, Video
from jogak.store import Cancelled, Progress, StepError, Store

FLASH = 6
"""The drawn frame of shot s1 that is white; at 12 a second it is half a second into the shot."""


def one_shot(**changes: object) -> FilmPlan:
    shot = {"id": "s1", "prompt": "a ball on a beach", "seconds": 1.0}
    given = {
        "title": "공 하나",
        "brief": "x",
        "lang": "ko",
        "title_seconds": 1,
        "end_seconds": 1,
        "shots": [shot],
    }
    return FilmPlan.parse(given | changes)


def ball(frames: int, flash: int | None = None) -> Iterator[np.ndarray]:
    """A ball that crosses a beach, 320x192."""
    for index in range(frames):
        picture = np.full((192, 320, 3), (110, 170, 215), np.uint8)
        picture[120:] = (225, 200, 150)
        cv2.circle(picture, (60 + 12 * index, 110), 24, (220, 70, 40), -1, cv2.LINE_AA)
        yield np.full_like(picture, 255) if index == flash else picture


def put_clip(store: Store, frames: Iterator[np.ndarray], fps: float = 12) -> Clip:
    with store.new_file(".mkv") as path:
        facts = write_frames(path, frames, fps)
        return store.put(path, Clip, **facts._asdict())


def put_sound(store: Store, samples: np.ndarray, rate: int = 48000) -> Audio:
    with store.new_file(".wav") as path:
        soundfile.write(path, samples, rate, subtype="FLOAT")
        channels = samples.shape[1] if samples.ndim == 2 else 1
        return store.put(path, Audio, rate=rate, channels=channels, samples=len(samples))


def clicks(seconds: float, *at: float) -> np.ndarray:
    samples = np.zeros((round(seconds * 48000), 2), np.float32)
    for moment in at:
        samples[round(moment * 48000) :][:48] = 0.8
    return samples


def put_film(store: Store, burn_in: bool = False) -> Video:
    """Three seconds: a card, a second of ball with a flash and a click at 1.5 s, a card."""
    plan = one_shot()
    words = make_subtitles([(1.0, 1.9, "공이 굴러간다!"), (2.0, 2.9, "끝 -->")], "ko", plan.seconds)
    with store.run("film"):
        clip = put_clip(store, ball(12, flash=FLASH))
        mix = put_sound(store, clicks(3, 1 + FLASH / 12))
        return edit_film(plan, (clip,), mix, words, burn_in)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Video:
    return put_film(Store(tmp_path_factory.mktemp("store")))


def pictures_of(path: Path) -> list[np.ndarray]:
    with av.open(path) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def sound_of(path: Path) -> tuple[float, np.ndarray]:
    """When the sound starts, in seconds, and its samples (n, channels)."""
    with av.open(path) as container:
        frames = list(container.decode(audio=0))
    assert frames[0].pts is not None
    assert frames[0].time_base is not None
    return float(frames[0].pts * frames[0].time_base), np.concatenate(
        [f.to_ndarray() for f in frames], axis=1
    ).T


def test_the_streams_are_what_players_want(film: Video) -> None:
    with av.open(film.path) as container:
        assert container.metadata["title"] == "공 하나"
        video, audio, text = container.streams
        assert (video.codec_context.name, video.profile, video.codec_context.pix_fmt) == (
            "h264",
            "High",
            "yuv420p",
        )
        assert (video.codec_context.width, video.codec_context.height, video.average_rate) == (1280, 720, 24)
        assert (video.codec_context.colorspace, video.codec_context.color_primaries) == (1, 1)
        assert (video.codec_context.color_trc, video.codec_context.color_range) == (1, 1)
        assert (audio.codec_context.name, audio.profile, audio.codec_context.sample_rate) == (
            "aac",
            "LC",
            48000,
        )
        assert audio.codec_context.layout.name == "stereo"
        assert text.codec_context.name == "mov_text"
        assert [stream.metadata.get("language") for stream in (audio, text)] == ["kor", "kor"]


def test_the_index_stands_before_the_media(film: Video) -> None:
    content = film.path.read_bytes()
    assert 0 < content.index(b"moov") < content.index(b"mdat")


def test_picture_and_sound_are_as_long_as_the_plan(film: Video) -> None:
    assert (film.width, film.height, film.frames, film.fps) == (1280, 720, 72, 24)
    assert len(pictures_of(film.path)) == 72
    start, samples = sound_of(film.path)
    assert start == 0
    assert 0 <= len(samples) - 3 * 48000 < 1024
    with av.open(film.path) as container:
        lengths = [float(stream.duration * stream.time_base) for stream in list(container.streams)[:2]]
    assert lengths == pytest.approx([3, 3], abs=1e-3)


def test_the_flash_and_the_click_fall_together(film: Video) -> None:
    brightness = [float(picture.mean()) for picture in pictures_of(film.path)]
    shot = brightness[24:48]
    seen = (24 + int(np.argmax(shot))) / 24
    start, samples = sound_of(film.path)
    heard = start + int(np.argmax(np.abs(samples[:, 0]) > 0.3)) / 48000
    assert seen == pytest.approx(1.5, abs=1e-6)
    assert heard == pytest.approx(1.5, abs=0.002)


def test_the_film_carries_the_sound_that_the_mix_measured(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sound = np.clip(rng.normal(0, 0.15, (48000, 2)) + 0.3 * np.sin(np.arange(48000) * 0.05)[:, None], -1, 1)
    soundfile.write(tmp_path / "mix.wav", sound, 48000, subtype="PCM_16")
    sixteen_bit, _ = soundfile.read(tmp_path / "mix.wav")
    black = (np.zeros((720, 1280, 3), np.uint8) for _ in range(24))
    write_mp4(tmp_path / "film.mp4", black, tmp_path / "mix.wav", [], "x", "en", lambda done: None)
    with av.open(tmp_path / "film.mp4") as container:
        assert container.streams.audio[0].bit_rate == pytest.approx(AAC_BIT_RATE, rel=0.1)
    _, samples = sound_of(tmp_path / "film.mp4")
    assert np.allclose(samples, through_aac(sixteen_bit), atol=1e-6)


def test_the_subtitles_read_back(film: Video) -> None:
    found = []
    with av.open(film.path) as container:
        for packet in container.demux(subtitles=0):
            content = bytes(packet)
            if len(content) > 2:
                length = int.from_bytes(content[:2], "big")
                assert packet.pts is not None
                assert packet.time_base is not None
                start = float(packet.pts * packet.time_base)
                found.append(
                    (start, start + float(packet.duration * packet.time_base), content[2 : 2 + length])
                )
    assert [text.decode() for _, _, text in found] == ["공이 굴러간다!", "끝 -->"]
    assert [moment[:2] for moment in found] == [
        pytest.approx((1.0, 1.916)),
        pytest.approx((2.0, 2.875), abs=0.05),
    ]


def test_the_film_starts_and_ends_in_black_and_shows_the_clip_between(film: Video) -> None:
    pictures = pictures_of(film.path)
    assert pictures[0].mean() < 25
    assert pictures[-1].mean() < 4
    ball_red = np.abs(pictures[24].astype(int) - (220, 70, 40)).sum(axis=2) < 60
    _, columns = np.nonzero(ball_red)
    assert columns.mean() == pytest.approx(4 * 60 + 1.5, abs=4)


def test_the_same_inputs_give_the_same_film(film: Video, tmp_path: Path) -> None:
    cv2.setNumThreads(3)
    again = put_film(Store(tmp_path))
    assert again.sha256 == film.sha256
    assert hashlib.sha256(again.path.read_bytes()).hexdigest() == again.sha256


def test_an_unchanged_film_is_not_cut_again(tmp_path: Path) -> None:
    store, plan = Store(tmp_path), one_shot()
    said: list[Progress] = []
    with store.run("film", on_progress=said.append):
        clip, mix = put_clip(store, ball(12)), put_sound(store, clicks(3))
        first = edit_film(plan, (clip,), mix)
        assert [(p.done, p.total) for p in said if p.text == "cutting"] == [(24, 72), (48, 72), (72, 72)]
        said.clear()
        assert edit_film(plan, (clip,), mix) == first
        assert not [p for p in said if p.text == "cutting"]
    with av.open(first.path) as container:  # nothing is said, so there is no subtitle stream
        assert [stream.type for stream in container.streams] == ["video", "audio"]


def test_cutting_stops_when_asked(tmp_path: Path) -> None:
    store, stop = Store(tmp_path), threading.Event()

    def hear(progress: Progress) -> None:
        if progress.text == "cutting":
            stop.set()

    with pytest.raises(Cancelled), store.run("film", on_progress=hear, cancel=stop):
        edit_film(one_shot(), (put_clip(store, ball(12)),), put_sound(store, clicks(3)))
    assert not list((tmp_path / "objects").rglob("*.mp4"))


def test_burnt_in_words_are_in_the_picture(film: Video, tmp_path: Path) -> None:
    plain, worded = pictures_of(film.path), pictures_of(put_film(Store(tmp_path), burn_in=True).path)
    changed = np.abs(worded[32].astype(int) - plain[32]).max(axis=2) > 80
    rows, columns = np.nonzero(changed)
    assert rows.min() > 560
    assert 400 < columns.min() < columns.max() < 880
    assert np.abs(worded[8].astype(int) - plain[8]).max() < 40  # no cue, no words


def test_burnt_in_words_last_as_long_as_their_cue() -> None:
    grey = np.full((720, 1280, 3), 90, np.uint8)
    cues = [
        Cue(start=0.5, end=1.0, text="하나"),
        Cue(start=1.25, end=2.0, text="🦊"),
        Cue(start=2.0, end=2.5, text="둘"),
    ]
    shown = [bool((picture > 200).any()) for picture in with_subtitles(iter([grey] * 72), cues)]
    assert shown == [0.5 <= index / 24 < 1.0 or 2.0 <= index / 24 < 2.5 for index in range(72)]


def test_mono_and_slightly_short_sound_is_taken(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.run("film"):
        tone = 0.3 * np.sin(np.arange(3 * 48000 - 900) * 0.05).astype(np.float32)
        made = edit_film(one_shot(), (put_clip(store, ball(12)),), put_sound(store, tone))
    _, samples = sound_of(made.path)
    assert 0 <= len(samples) - 3 * 48000 < 1024
    assert np.allclose(samples[20_000:60_000, 0], samples[20_000:60_000, 1], atol=1e-3)
    assert np.abs(samples[20_000:60_000]).max() == pytest.approx(0.3, abs=0.03)


Change = Callable[[Store], tuple[FilmPlan, tuple[Clip, ...], Audio]]


def _no_clip(store: Store) -> tuple[FilmPlan, tuple[Clip, ...], Audio]:
    return one_shot(), (), put_sound(store, clicks(3))


def _short_clip(store: Store) -> tuple[FilmPlan, tuple[Clip, ...], Audio]:
    return one_shot(), (put_clip(store, ball(10)),), put_sound(store, clicks(3))


def _slow_clip(store: Store) -> tuple[FilmPlan, tuple[Clip, ...], Audio]:
    return one_shot(), (put_clip(store, ball(1), fps=1),), put_sound(store, clicks(3))


def _square_clip(store: Store) -> tuple[FilmPlan, tuple[Clip, ...], Audio]:
    square = (np.zeros((256, 256, 3), np.uint8) for _ in range(12))
    return one_shot(), (put_clip(store, square),), put_sound(store, clicks(3))


def _empty_clip(store: Store) -> tuple[FilmPlan, tuple[Clip, ...], Audio]:
    clip = put_clip(store, ball(12))
    clip.path.write_bytes(b"")
    return one_shot(), (clip,), put_sound(store, clicks(3))


def _gone_clip(store: Store) -> tuple[FilmPlan, tuple[Clip, ...], Audio]:
    clip = put_clip(store, ball(12))
    clip.path.unlink()
    return one_shot(), (clip,), put_sound(store, clicks(3))


def _gone_sound(store: Store) -> tuple[FilmPlan, tuple[Clip, ...], Audio]:
    mix = put_sound(store, clicks(3))
    mix.path.unlink()
    return one_shot(), (put_clip(store, ball(12)),), mix


def _broken_sound(store: Store) -> tuple[FilmPlan, tuple[Clip, ...], Audio]:
    mix = put_sound(store, clicks(3))
    mix.path.write_bytes(b"RIFF")
    return one_shot(), (put_clip(store, ball(12)),), mix


def _long_sound(store: Store) -> tuple[FilmPlan, tuple[Clip, ...], Audio]:
    return one_shot(), (put_clip(store, ball(12)),), put_sound(store, clicks(4))


def _other_rate(store: Store) -> tuple[FilmPlan, tuple[Clip, ...], Audio]:
    return one_shot(), (put_clip(store, ball(12)),), put_sound(store, clicks(3), rate=44100)


@pytest.mark.parametrize(
    ("material", "said"),
    [
        (_no_clip, "0 clips for 1 shots"),
        (_short_clip, "lasts 1 s, its clip 0.83 s"),
        (_slow_clip, "draw at least 8"),
        (_square_clip, "256x256"),
        (_empty_clip, "draw the shot again"),
        (_gone_clip, "is gone"),
        (_gone_sound, "cannot be read"),
        (_broken_sound, "cannot be read"),
        (_long_sound, r"\+1.00 s off"),
        (_other_rate, "44100 Hz"),
    ],
)
def test_bad_material_is_refused_in_words_and_leaves_nothing(
    tmp_path: Path, material: Change, said: str
) -> None:
    store = Store(tmp_path)
    plan, clips, mix = material(store)
    with pytest.raises(StepError, match=said) as caught, store.run("film"):
        edit_film(plan, clips, mix)
    assert "\n" not in str(caught.value)
    assert type(caught.value.cause).__name__ == "JogakError"
    assert not list(tmp_path.rglob("*.mp4"))


def two_shots(mood: str = "happy", size: str = "wide", seconds: float = 2) -> FilmPlan:
    return one_shot(
        shots=[
            {"id": "s1", "prompt": "a", "seconds": seconds},
            {"id": "s2", "prompt": "b", "seconds": seconds, "size": size},
        ],
        music={"mood": mood},
    )


def test_soft_films_and_closing_shots_dissolve_and_others_cut() -> None:
    assert dissolves(two_shots("calm"), 1)
    assert dissolves(two_shots("happy", "closing"), 1)
    assert not dissolves(two_shots("happy"), 1)
    assert not dissolves(two_shots("calm"), 0)
    assert not dissolves(two_shots("calm", seconds=1), 1)
    assert edit_notes(two_shots("happy")) == ()
    assert "s2" in edit_notes(two_shots("calm"))[0]


@pytest.mark.parametrize(("mood", "melting"), [("happy", 0), ("sad", DISSOLVE_FRAMES)])
def test_shots_change_where_the_plan_says(tmp_path: Path, mood: str, melting: int) -> None:
    store, plan = Store(tmp_path), two_shots(mood)
    with store.run("film"):
        clips = tuple(
            put_clip(store, (np.full((192, 320, 3), level, np.uint8) for _ in range(24)))
            for level in (60, 180)
        )
        means = [float(picture.mean()) for picture in film_pictures(plan, clips)]
    assert len(means) == 144
    assert means[71] == pytest.approx(60)
    assert means[72 + melting] == pytest.approx(180)
    if melting:
        assert means[72 : 72 + melting] == sorted(means[72 : 72 + melting])
        assert 60 < means[72] < 180


def test_memory_does_not_grow_with_the_film(tmp_path: Path) -> None:
    store = Store(tmp_path)
    plan = one_shot(shots=[Shot(id="s1", prompt="a", seconds=4)], music=Music(mood="happy"))
    with store.run("film"):
        clip = put_clip(store, (np.full((192, 320, 3), 60 + index, np.uint8) for index in range(48)))
        tracemalloc.start()
        for _ in film_pictures(plan, (clip,)):
            pass
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 40 * 1280 * 720 * 3  # the film has 144 pictures; a card holds some ten as float32


def test_no_words_no_cues() -> None:
    assert list(with_subtitles(iter([np.zeros((720, 1280, 3), np.uint8)]), Subtitles(lang="ko").cues))
