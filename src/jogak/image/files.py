"""Pictures from outside, into the store."""

from __future__ import annotations

from pathlib import Path

import PIL.Image

from jogak.spec import Image
from jogak.store import Files, pictures


def read_picture(path: Path) -> PIL.Image.Image:
    """A picture as 8-bit sRGB, upright, transparency laid on white. Raises as `store.pictures.read_picture` does."""
    return pictures.read_picture(path).rgb


def import_picture(store: Files, path: Path) -> Image:
    """Put a picture from outside into the store, as it is, once it has been read whole. Its digest is that of
    the file; width and height are those of the upright picture."""
    picture = pictures.read_picture(path)
    with store.new_file(picture.suffix) as copy:
        copy.write_bytes(picture.data)
        return store.put(copy, Image, width=picture.rgb.width, height=picture.rgb.height)
