"""Pictures that come from outside: looked at before they are decoded, and brought to 8-bit RGB, upright."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps

from jogak.spec import Image, SpecError
from jogak.store import Files

MAX_BYTES = 200_000_000
MAX_PIXELS = 50_000_000
"""A picture with more pixels is refused before it is decoded."""
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")

_SUFFIXES = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp", "BMP": ".bmp", "TIFF": ".tif", "GIF": ".gif"}


def open_picture(path: Path) -> PIL.Image.Image:
    """A picture's header, its pixels not decoded yet.

    Raises `SpecError` when the file is absent, larger than 200 MB, no picture of `FORMATS`, animated, or
    larger than 50 megapixels.
    """
    try:
        if not path.is_file():
            raise SpecError(f"{path} is not a file; give the path of a picture.")
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise SpecError(f"{path} has {size / 1e6:,.0f} MB; at most {MAX_BYTES / 1e6:.0f} are read.")
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", PIL.Image.DecompressionBombWarning
            )  # we have our own, lower limit
            picture = PIL.Image.open(path, formats=FORMATS)
    except PIL.Image.DecompressionBombError:
        raise SpecError(
            f"{path} has far more than {MAX_PIXELS / 1e6:.0f} megapixels; make it smaller."
        ) from None
    except PIL.UnidentifiedImageError:
        raise SpecError(f"{path} is not a picture that can be read ({', '.join(FORMATS)}).") from None
    except SpecError:
        raise
    except Exception as error:  # the decoders of damaged files raise whatever they meet
        raise SpecError(f"{path} could not be read: {_short(error)}.") from None
    if picture.width * picture.height > MAX_PIXELS:
        raise SpecError(
            f"{path} has {picture.width}×{picture.height} pixels; at most {MAX_PIXELS / 1e6:.0f} million "
            "are read. Make it smaller."
        )
    if getattr(picture, "n_frames", 1) > 1:
        raise SpecError(f"{path} moves or has several pages; save the one you want as a PNG.")
    return picture


def read_picture(path: Path) -> PIL.Image.Image:
    """A picture as 8-bit RGB, turned upright as its EXIF says, transparency laid on white.

    Raises `SpecError` as `open_picture` does, and when the file is cut short or damaged.
    """
    picture = open_picture(path)
    try:
        picture.load()
        return _rgb(PIL.ImageOps.exif_transpose(picture))
    except Exception as error:  # the decoders of damaged files raise whatever they meet
        raise SpecError(f"{path} is damaged or cut short: {_short(error)}.") from None


def import_picture(store: Files, path: Path) -> Image:
    """Put a picture from outside into the store, as it is, once it has been read whole. Its digest is that of
    the file; width and height are those of the upright picture."""
    upright = read_picture(path)
    suffix = _SUFFIXES[open_picture(path).format or "PNG"]
    with store.new_file(suffix) as copy:
        copy.write_bytes(path.read_bytes())
        return store.put(copy, Image, width=upright.width, height=upright.height)


def _rgb(picture: PIL.Image.Image) -> PIL.Image.Image:
    if picture.mode.startswith("I"):
        # 16-bit grey; Pillow's own conversion would clip everything above 255 to white
        grey = np.asarray(picture).astype(np.int64)
        return PIL.Image.fromarray((grey.clip(0, 65535) >> 8).astype(np.uint8)).convert("RGB")
    if picture.mode == "F":
        raise ValueError("its pixels are floating-point numbers; save it with 8 bits")
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        white = PIL.Image.new("RGBA", picture.size, "white")
        return PIL.Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")
    return picture.convert("RGB")


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
