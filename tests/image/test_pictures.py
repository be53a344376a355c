"""Pictures from outside: every kind is brought to upright 8-bit RGB or refused in words."""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jogak.image.files import import_picture, read_picture
from jogak.spec import SpecError
from jogak.store import Store
from jogak.store.pictures import open_picture

LEFT_RED = PIL.Image.new("RGB", (40, 20), (0, 0, 255))
LEFT_RED.paste((255, 0, 0), (0, 0, 20, 20))


def save(picture: PIL.Image.Image, path: Path, **options) -> Path:
    picture.save(path, **options)
    return path


def close(picture: PIL.Image.Image, expected: PIL.Image.Image, tolerance: int) -> bool:
    assert picture.mode == "RGB"
    assert picture.size == expected.size
    return bool(np.abs(np.asarray(picture, int) - np.asarray(expected, int)).max() <= tolerance)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.png", {}),
        ("a.webp", {"lossless": True}),
        ("a.bmp", {}),
        ("a.tif", {}),
        ("wrong-name.txt", {"format": "PNG"}),
    ],
)
def test_formats(tmp_path: Path, name: str, options: dict) -> None:
    assert close(read_picture(save(LEFT_RED, tmp_path / name, **options)), LEFT_RED, 0)


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA", "CMYK", "YCbCr"])
def test_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    picture = LEFT_RED.convert(mode)
    name = "a.jpg" if mode in ("CMYK", "YCbCr") else "a.png"
    options = {"quality": 100, "subsampling": 0} if name == "a.jpg" else {}
    assert close(read_picture(save(picture, tmp_path / name, **options)), picture.convert("RGB"), 8)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    grey = np.linspace(0, 65535, 800).astype(np.uint16).reshape(20, 40)
    found = read_picture(save(PIL.Image.fromarray(grey), tmp_path / "a.png"))
    assert close(found, PIL.Image.fromarray((grey >> 8).astype(np.uint8)).convert("RGB"), 0)


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    clear = PIL.Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    assert close(read_picture(save(clear, tmp_path / "a.png")), PIL.Image.new("RGB", (4, 4), "white"), 0)
    palette = PIL.Image.new("P", (4, 4), 0)
    assert close(
        read_picture(save(palette, tmp_path / "b.png", transparency=0)),
        PIL.Image.new("RGB", (4, 4), "white"),
        0,
    )


@pytest.mark.parametrize(("orientation", "turn"), [(3, 180), (6, -90), (8, 90)])
def test_a_rotated_picture_is_turned_upright(tmp_path: Path, orientation: int, turn: int) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    path = save(LEFT_RED, tmp_path / "a.png", exif=exif)
    assert close(read_picture(path), LEFT_RED.rotate(turn, expand=True), 0)
    handle = import_picture(Store(tmp_path / "store"), path)
    assert (handle.width, handle.height) == read_picture(path).size


def test_the_store_keeps_the_file_itself(tmp_path: Path) -> None:
    path = save(LEFT_RED, tmp_path / "a.bin", format="JPEG")
    handle = import_picture(Store(tmp_path / "store"), path)
    assert handle.suffix == ".jpg"
    assert handle.path.read_bytes() == path.read_bytes()
    assert handle.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def huge_png(path: Path, width: int, height: int) -> Path:
    """A PNG of a few bytes whose header claims any size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")))
    return path


@pytest.mark.parametrize(("width", "height"), [(10_000, 5_001), (60_000, 60_000), (2**31 - 1, 2**31 - 1)])
def test_more_than_fifty_megapixels_are_refused_before_decoding(
    tmp_path: Path, width: int, height: int
) -> None:
    with pytest.raises(SpecError, match=r"pixels.*smaller"):
        read_picture(huge_png(tmp_path / "a.png", width, height))


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="is not a file"):
        read_picture(tmp_path / "absent.png")
    with pytest.raises(SpecError, match="is not a file"):
        read_picture(tmp_path)
    (tmp_path / "a.png").write_text("hello")
    with pytest.raises(SpecError, match="not a picture that can be read"):
        read_picture(tmp_path / "a.png")
    frames = [PIL.Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    with pytest.raises(SpecError, match="moves"):
        read_picture(save(frames[0], tmp_path / "a.gif", save_all=True, append_images=frames[1:]))
    with pytest.raises(SpecError, match="floating-point"):
        read_picture(save(PIL.Image.new("F", (4, 4)), tmp_path / "a.tif"))


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(100_000_001)
    with pytest.raises(SpecError, match="at most 100"):
        open_picture(tmp_path / "a.png")


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp"])
@settings(max_examples=30, deadline=None)
@given(where=st.floats(0, 0.98), cut=st.booleans(), value=st.integers(0, 255))
def test_cut_and_damaged_files_never_crash(
    tmp_path_factory: pytest.TempPathFactory, name: str, where: float, cut: bool, value: int
) -> None:
    path = save(LEFT_RED, tmp_path_factory.mktemp("damaged") / name)
    data = bytearray(path.read_bytes())
    at = int(where * len(data))
    if cut:
        del data[at:]
    else:
        data[at] = value
    path.write_bytes(data)
    try:
        assert read_picture(path).mode == "RGB"
    except SpecError as refused:
        sentence = str(refused)
    else:
        return
    assert path.name in sentence
    assert "\n" not in sentence


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(SpecError, match="is not a file"):
        read_picture(tmp_path / "a.png")
