"""Pictures from outside: every common kind is read as it is meant, every hostile one refused with a sentence."""

from __future__ import annotations

import io
import os
import resource
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageCms
import pytest

from jogak.spec import SpecError
from jogak.store.pictures import MAX_BYTES, UnusableFile, read_file, read_picture


def ramp(width: int = 40, height: int = 20) -> PIL.Image.Image:
    """Red grows to the right, green downwards."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return PIL.Image.fromarray(np.stack([x, y, np.full_like(x, 60)], -1).astype(np.uint8))


def read(path: Path) -> np.ndarray:
    return np.asarray(read_picture(path).rgb)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int = 8, colour: int = 2, data: bytes = b"") -> bytes:
    """A PNG that claims a size, and holds `data` for it."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".webp", ".jpg", ".gif"])
def test_common_formats(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    ramp().save(path, **({"lossless": True} if suffix == ".webp" else {}))
    away = np.abs(read(path).astype(int) - np.asarray(ramp()).astype(int))
    assert away.mean() < (0.01 if suffix not in (".jpg", ".gif") else 12)
    assert read_picture(path).alpha is None


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_are_taken_back(tmp_path: Path, orientation: int) -> None:
    stored = {
        1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4,
    }[orientation]  # fmt: skip
    picture = ramp() if stored is None else ramp().transpose(PIL.Image.Transpose(stored))
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    picture.save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read(tmp_path / "a.png"), np.asarray(ramp())), "upright again"


def test_damaged_exif_is_no_reason_to_refuse(tmp_path: Path) -> None:
    ramp().save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert read(tmp_path / "a.jpg").shape == (20, 40, 3)


def test_cmyk_16_bit_grey_palette_and_alpha(tmp_path: Path) -> None:
    ramp().convert("CMYK").save(tmp_path / "cmyk.jpg", quality=98)
    assert np.abs(read(tmp_path / "cmyk.jpg").astype(int) - np.asarray(ramp()).astype(int)).mean() < 6

    grey = np.linspace(0, 65535, 64).astype(np.uint16)[None].repeat(64, 0)
    PIL.Image.fromarray(grey).save(tmp_path / "grey16.png")
    assert np.abs(read(tmp_path / "grey16.png")[0, :, 0].astype(int) - np.linspace(0, 255, 64)).max() <= 1

    rows = b"".join(b"\0" + bytes(np.full((8, 3), 0x80FF, ">u2").tobytes()) for _ in range(8))
    (tmp_path / "rgb16.png").write_bytes(png(8, 8, depth=16, data=rows))
    assert np.abs(read(tmp_path / "rgb16.png").astype(int) - 0x80).max() <= 1

    see_through = ramp().convert("RGBA")
    alpha = np.zeros((20, 40), np.uint8)
    alpha[:, 20:] = 255
    see_through.putalpha(PIL.Image.fromarray(alpha))
    for name in ("a.png", "a.webp"):
        see_through.save(tmp_path / name, **({"lossless": True} if name.endswith("webp") else {}))
        picture = read_picture(tmp_path / name)
        assert (np.asarray(picture.rgb)[:, :20] == 255).all(), "transparency is laid on white"
        assert picture.alpha is not None
        assert np.array_equal(picture.alpha, alpha)

    palette = ramp().quantize(16)
    palette.save(tmp_path / "p.png", transparency=0)
    first = np.asarray(palette) == 0
    assert (read(tmp_path / "p.png")[first] == 255).all()


def test_a_colour_profile_is_applied_and_a_damaged_one_ignored(tmp_path: Path) -> None:
    lab = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("LAB"))
    to_lab = PIL.ImageCms.buildTransform(PIL.ImageCms.createProfile("sRGB"), lab, "RGB", "LAB")
    converted = PIL.ImageCms.applyTransform(ramp(), to_lab)
    assert converted is not None
    converted.save(tmp_path / "lab.tif", icc_profile=lab.tobytes())
    assert np.abs(read(tmp_path / "lab.tif").astype(int) - np.asarray(ramp()).astype(int)).mean() < 12
    ramp().save(tmp_path / "bad.png", icc_profile=b"\xff" * 300)
    assert np.array_equal(read(tmp_path / "bad.png"), np.asarray(ramp()))


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp", ".tif"])
def test_what_moves_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    ramp().save(path, save_all=True, append_images=[ramp().transpose(PIL.Image.Transpose.ROTATE_180)])
    with pytest.raises(
        UnusableFile, match="moves or has several pages; save the one you want as a PNG"
    ) as told:
        read_picture(path)
    assert "PNG로 저장하세요" in told.value.korean


def test_a_phones_jpeg_with_a_second_picture_inside_is_its_first(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    ramp().save(path, format="MPO", save_all=True, append_images=[ramp(8, 8)], quality=95)
    assert PIL.Image.open(path).format == "MPO"
    assert read(path).shape == (20, 40, 3)


@pytest.mark.parametrize(("width", "height"), [(20_000, 20_000), (100_000, 100_000), (2**31 - 1, 2**31 - 1)])
def test_bombs_are_refused_before_they_are_decoded(tmp_path: Path, width: int, height: int) -> None:
    (tmp_path / "bomb.png").write_bytes(png(width, height, data=b"\0" * 1_000_000))
    before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    with pytest.raises(SpecError, match=r"bomb\.png .*(smaller|save it anew)"):
        read_picture(tmp_path / "bomb.png")
    assert time.perf_counter() - begun < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000, "kB"


def test_one_pixel_and_twenty_thousand_in_a_row_are_read(tmp_path: Path) -> None:
    ramp(1, 1).save(tmp_path / "one.png")
    assert read(tmp_path / "one.png").shape == (1, 1, 3)
    ramp(20_000, 100).save(tmp_path / "long.png")
    assert read(tmp_path / "long.png").shape == (100, 20_000, 3)


def test_a_jpeg_of_thousands_of_passes_is_refused(tmp_path: Path) -> None:
    file = io.BytesIO()
    ramp(4000, 4000).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    last = data.rindex(b"\xff\xda")
    (tmp_path / "a.jpg").write_bytes(data[:-2] + data[last:-2] * 3000 + data[-2:])
    begun = time.perf_counter()
    with pytest.raises(SpecError, match="absurdly many passes"):
        read_picture(tmp_path / "a.jpg")
    assert time.perf_counter() - begun < 2
    (tmp_path / "b.jpg").write_bytes(data)
    assert read(tmp_path / "b.jpg").shape == (4000, 4000, 3), "a usual progressive JPEG is read"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".gif", ".bmp", ".tif"])
def test_what_is_cut_short_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3)).astype(np.uint8)
    PIL.Image.fromarray(noise).save(path)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(UnusableFile, match=r"damaged or cut short .*; save it anew"):
        read_picture(path)


def test_what_is_no_file_or_no_picture_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    with open(tmp_path / "big.png", "wb") as file:
        file.truncate(MAX_BYTES + 1)
    begun = time.perf_counter()
    for name, said in (
        ("pipe.png", "is not a file"), ("text.png", "not a picture"), ("empty.png", "not a picture"),
        ("folder.png", "is not a file"), ("absent.png", "is not a file"),
        ("big.png", "100.0 MB; at most 100 are read"),
    ):  # fmt: skip
        with pytest.raises(UnusableFile, match=said) as told:
            read_picture(tmp_path / name)
        assert name in told.value.korean
    with pytest.raises(SpecError, match="is not a file"):
        read_file(Path(os.devnull), 10)
    assert time.perf_counter() - begun < 2


def test_the_digest_is_that_of_the_file(tmp_path: Path) -> None:
    import hashlib

    ramp().save(tmp_path / "a.png")
    assert (
        read_picture(tmp_path / "a.png").sha256
        == hashlib.sha256((tmp_path / "a.png").read_bytes()).hexdigest()
    )
