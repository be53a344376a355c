"""Drawn frames on disk: bit for bit, bounded, and honest about damage."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jogak.film import frames as frames_module
from jogak.film.frames import FrameFacts, read_frames, write_frames
from jogak.spec import JogakError


def noise(count: int, height: int = 192, width: int = 320, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(count)]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    height=st.integers(8, 70),
    width=st.integers(8, 70),
    count=st.integers(1, 9),
    fps=st.sampled_from([8, 10.0, 12, 23.976, 24, 30]),
    seed=st.integers(0, 99),
)
def test_frames_come_back_bit_for_bit(
    tmp_path: Path, height: int, width: int, count: int, fps: float, seed: int
) -> None:
    drawn = noise(count, height, width, seed)
    facts = write_frames(tmp_path / "clip.mkv", iter(drawn), fps)
    assert (facts.width, facts.height, facts.frames) == (width, height, count)
    assert facts.fps == pytest.approx(fps, rel=1e-4)
    back = list(read_frames(tmp_path / "clip.mkv"))
    assert len(back) == count
    assert all(np.array_equal(a, b) for a, b in zip(drawn, back, strict=True))


def test_same_frames_give_the_same_file(tmp_path: Path) -> None:
    for name in ("a.mkv", "b.mkv"):
        assert write_frames(tmp_path / name, noise(6), 12) == FrameFacts(320, 192, 6, 12.0)
    assert (tmp_path / "a.mkv").read_bytes() == (tmp_path / "b.mkv").read_bytes()


def test_views_that_are_not_contiguous_are_written_as_they_look(tmp_path: Path) -> None:
    mirrored = [frame[:, ::-1] for frame in noise(2)]
    write_frames(tmp_path / "clip.mkv", mirrored, 8)
    assert all(
        np.array_equal(a, b) for a, b in zip(mirrored, read_frames(tmp_path / "clip.mkv"), strict=True)
    )


def test_a_file_cut_short_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "clip.mkv"
    write_frames(path, noise(12), 12)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(JogakError, match=r"ends after \d+ of 12 frames"):
        list(read_frames(path))


@pytest.mark.parametrize("content", [b"", b"hello", b"\x1aE\xdf\xa3" + bytes(200)])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clip.mkv"
    path.write_bytes(content)
    with pytest.raises(JogakError, match=r"clip\.mkv"):
        list(read_frames(path))


def test_an_absent_file_and_another_codec_are_refused(tmp_path: Path) -> None:
    with pytest.raises(JogakError, match="No such file"):
        next(read_frames(tmp_path / "absent.mkv"))
    with av.open(tmp_path / "other.mkv", "w") as out:
        stream = out.add_stream("libx264", rate=24)
        stream.width = stream.height = 64
        out.mux(stream.encode(av.VideoFrame.from_ndarray(noise(1, 64, 64)[0], "rgb24")))
        out.mux(stream.encode(None))
    with pytest.raises(JogakError, match="h264"):
        next(read_frames(tmp_path / "other.mkv"))


@pytest.mark.parametrize(
    ("drawn", "said"),
    [
        ([], "at least one frame"),
        ([noise(1)[0], noise(1, 96)[0]], "one size"),
        ([noise(1)[0].astype(np.float32)], "uint8"),
        ([noise(1)[0][..., 0]], "uint8"),
    ],
)
def test_bad_frames_are_refused(tmp_path: Path, drawn: list[np.ndarray], said: str) -> None:
    with pytest.raises(JogakError, match=said):
        write_frames(tmp_path / "clip.mkv", drawn, 12)


def test_caps_hold_before_anything_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "clip.mkv"
    write_frames(path, noise(5), 12)
    monkeypatch.setattr(frames_module, "MAX_FRAMES", 4)
    with pytest.raises(JogakError, match="says it holds 5 frames"):
        next(read_frames(path))
    monkeypatch.setattr(frames_module, "MAX_PIXELS", 1000)
    with pytest.raises(JogakError, match="320x192"):
        next(read_frames(path))
    with pytest.raises(JogakError, match="at most 1,000 pixels"):
        write_frames(path, noise(1), 12)
