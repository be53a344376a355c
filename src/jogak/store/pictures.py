"""Pictures from outside: looked at before they are decoded, and brought upright to 8-bit sRGB.

A file is read once, so that what is hashed is what is decoded. Caps on bytes, pixels and JPEG scans are
checked before any pixel is made, which bounds time (seconds) and memory: 50 megapixels take 0.4 GB, with
transparency up to 1 GB.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageChops
import PIL.ImageCms
from numpy.typing import NDArray

from jogak.spec import SpecError

MAX_BYTES = 100_000_000
MAX_PIXELS = 50_000_000
"""A picture with more pixels is refused before it is decoded."""
MAX_SCANNED = 1_000_000_000
"""JPEG: pixels times scans. A progressive file of a few kilobytes can ask for thousands of passes."""
MAX_PROFILE = 4_000_000
"""Bytes of a colour profile; a larger one is left alone."""
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif"})

_SUFFIX_OF = {
    "PNG": ".png", "JPEG": ".jpg", "MPO": ".jpg", "WEBP": ".webp", "BMP": ".bmp", "TIFF": ".tif", "GIF": ".gif",
}  # fmt: skip
_TURNS = {
    2: PIL.Image.Transpose.FLIP_LEFT_RIGHT, 3: PIL.Image.Transpose.ROTATE_180,
    4: PIL.Image.Transpose.FLIP_TOP_BOTTOM, 5: PIL.Image.Transpose.TRANSPOSE,
    6: PIL.Image.Transpose.ROTATE_270, 7: PIL.Image.Transpose.TRANSVERSE,
    8: PIL.Image.Transpose.ROTATE_90,
}  # fmt: skip
"""EXIF orientation → what turns the picture upright."""


class UnusableFile(SpecError):
    """A picture or caption that cannot be used; `korean` says the same as the message, for the doctor."""

    def __init__(self, english: str, korean: str) -> None:
        super().__init__(english)
        self.korean = korean


@dataclass(frozen=True)
class Picture:
    """A picture that was read whole."""

    rgb: PIL.Image.Image
    """Upright, 8-bit sRGB; transparency is laid on white."""
    alpha: NDArray[np.uint8] | None
    """(H, W), 255 where opaque; None where the file has no transparency."""
    sha256: str
    """Of the file."""
    data: bytes = field(repr=False)
    """The file."""
    suffix: str
    """The usual ending of its format."""


def read_file(path: Path, limit: int) -> bytes:
    """A regular file's bytes. Raises `UnusableFile` when it is none (a pipe, a device, a folder, a dead link),
    cannot be read, or has more than `limit` bytes."""
    try:
        # O_NONBLOCK, so that a pipe put in a file's place between two looks cannot hold us up
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(handle, "rb") as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise _no_file(path)
            if facts.st_size > limit:
                raise UnusableFile(
                    f"{path} has {facts.st_size / 1e6:,.1f} MB; at most {limit / 1e6:g} are read.",
                    f"{path}: {facts.st_size / 1e6:,.1f} MB입니다. {limit / 1e6:g} MB까지만 읽습니다.",
                )
            data = file.read(limit + 1)
    except (FileNotFoundError, IsADirectoryError):
        raise _no_file(path) from None
    except OSError as error:
        reason = error.strerror or error
        raise UnusableFile(
            f"{path} could not be read: {reason}.", f"{path}: 읽을 수 없습니다({reason})."
        ) from None
    if len(data) > limit:
        raise UnusableFile(
            f"{path} grew while it was read; try again once it is finished.",
            f"{path}: 읽는 동안 커졌습니다. 다 쓰인 뒤에 다시 해 보세요.",
        )
    return data


def _no_file(path: Path) -> UnusableFile:
    return UnusableFile(
        f"{path} is not a file; give the path of a regular file.",
        f"{path}: 파일이 아닙니다. 보통 파일의 경로를 주세요.",
    )


def open_picture(path: Path) -> PIL.Image.Image:
    """A picture's header, its pixels not decoded yet. Raises as `read_picture` does for what the header tells."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _opened(path, read_file(path, MAX_BYTES))


def read_picture(path: Path) -> Picture:
    """Read a picture whole.

    Raises `UnusableFile`, a `SpecError`, when the file is absent, above 100 MB, none of `FORMATS`, animated or
    of several pages, above 50 megapixels, a JPEG of absurdly many scans, cut short or damaged.
    """
    data = read_file(path, MAX_BYTES)
    with warnings.catch_warnings():
        # our own limits are lower than Pillow's, and a damaged tag is no news to the person
        warnings.simplefilter("ignore")
        picture = _opened(path, data)
        try:
            picture.load()
            turn = _TURNS.get(_orientation(picture))
            alpha = _alpha(picture)
            rgb = _rgb(picture, alpha)
        except Exception as error:  # the decoders of damaged files raise whatever they meet
            raise _damaged(path, error) from None
    if turn is not None:
        rgb = rgb.transpose(turn)
        alpha = alpha.transpose(turn) if alpha else None
    mask = None if alpha is None else np.asarray(alpha)
    if mask is not None and mask.min() == 255:
        mask = None
    suffix = _SUFFIX_OF[picture.format or "PNG"]
    return Picture(rgb, mask, hashlib.sha256(data).hexdigest(), data, suffix)


def _opened(path: Path, data: bytes) -> PIL.Image.Image:
    """The picture's header, checked; its pixels are not decoded yet."""
    most = f"{MAX_PIXELS / 1e6:.0f}"
    try:
        picture = PIL.Image.open(io.BytesIO(data), formats=FORMATS)
    except PIL.Image.DecompressionBombError:
        raise UnusableFile(
            f"{path} has far more than {most} megapixels; make it smaller.",
            f"{path}: {most}00만 픽셀을 훨씬 넘습니다. 줄이세요.",
        ) from None
    except PIL.UnidentifiedImageError:
        formats = ", ".join(FORMATS)
        raise UnusableFile(
            f"{path} is not a picture that can be read; save it as one of {formats}.",
            f"{path}: 읽을 수 있는 그림이 아닙니다. {formats} 가운데 하나로 저장하세요.",
        ) from None
    except Exception as error:  # the decoders of damaged files raise whatever they meet
        raise _damaged(path, error) from None
    pixels = picture.width * picture.height
    if pixels > MAX_PIXELS:
        raise UnusableFile(
            f"{path} has {picture.width}×{picture.height} pixels; at most {most} million are read. Make it "
            "smaller.",
            f"{path}: {picture.width}×{picture.height}픽셀입니다. {most}00만 픽셀까지 읽습니다. 줄이세요.",
        )
    if picture.format in ("JPEG", "MPO") and pixels * data.count(b"\xff\xda") > MAX_SCANNED:
        raise UnusableFile(
            f"{path} is a JPEG of absurdly many passes; save it anew.",
            f"{path}: 지나치게 여러 번 나누어 저장한 JPEG입니다. 다시 저장하세요.",
        )
    if _moves(path, picture):
        raise UnusableFile(
            f"{path} moves or has several pages; save the one you want as a PNG.",
            f"{path}: 움직이거나 여러 쪽인 그림입니다. 쓸 장면을 PNG로 저장하세요.",
        )
    return picture


def _moves(path: Path, picture: PIL.Image.Image) -> bool:
    try:
        # a JPEG with further pictures inside (a phone's gain map or depth) is its first picture
        return picture.format != "MPO" and bool(getattr(picture, "is_animated", False))
    except Exception as error:  # a GIF is read up to its second frame to know
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> UnusableFile:
    reason = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
    return UnusableFile(
        f"{path} is damaged or cut short ({reason}); save it anew.",
        f"{path}: 손상되었거나 잘린 파일입니다({reason}). 다시 저장하세요.",
    )


def _orientation(picture: PIL.Image.Image) -> int:
    """1 when it says nothing that can be understood: damaged EXIF does not make a picture unreadable."""
    try:
        return int(picture.getexif().get(0x0112, 1))
    except Exception:  # parsing of damaged EXIF raises whatever it meets
        return 1


def _alpha(picture: PIL.Image.Image) -> PIL.Image.Image | None:
    """The transparency as a picture of mode L."""
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        return picture.convert("RGBA").getchannel("A")
    return None


def _rgb(picture: PIL.Image.Image, alpha: PIL.Image.Image | None) -> PIL.Image.Image:
    if picture.mode.startswith("I"):
        # 16-bit grey; Pillow's own conversion would clip everything above 255 to white
        grey = np.asarray(picture).astype(np.int64)
        return PIL.Image.fromarray((grey.clip(0, 65535) >> 8).astype(np.uint8)).convert("RGB")
    if picture.mode == "F":
        raise ValueError("its pixels are floating-point numbers; save it with 8 bits")
    if alpha is None:
        return _managed(picture)
    rgb = _managed(picture.convert("RGB"))
    rgb.paste("white", mask=PIL.ImageChops.invert(alpha))
    return rgb


def _managed(picture: PIL.Image.Image) -> PIL.Image.Image:
    """Into sRGB by the picture's own colour profile, where it has one that can be used."""
    profile = picture.info.get("icc_profile")
    if not profile or len(profile) > MAX_PROFILE or picture.mode not in ("RGB", "CMYK", "L", "LAB"):
        return picture.convert("RGB")
    try:
        source = PIL.ImageCms.ImageCmsProfile(io.BytesIO(profile))
        target = PIL.ImageCms.createProfile("sRGB")
        converted = PIL.ImageCms.profileToProfile(picture, source, target, outputMode="RGB")
    except (PIL.ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return picture.convert("RGB")  # a profile of another kind of colour, or a damaged one
    return converted or picture.convert("RGB")
