"""How drawn frames rest on disk: FFV1 in Matroska, lossless, each frame on its own; same frames, same bytes.

FFV1 at 320x192 costs some 100 KiB and 2 ms a frame in either direction. Frames are arrays (height, width, 3),
uint8, RGB. A file cut short is noticed here; a flipped bit is the store's to notice, by the digest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import av.error
import numpy as np
from av.container import InputContainer

from jogak.spec import JogakError

MAX_PIXELS = 2048 * 2048
"""A frame larger than this is refused before it is decoded."""
MAX_FRAMES = 40 * 60
"""40 seconds at 60 frames a second; no plan asks for more."""


class FrameFacts(NamedTuple):
    """What a `Clip` handle wants to know of its file."""

    width: int
    height: int
    frames: int
    fps: float


def write_frames(path: Path, frames: Iterable[np.ndarray], fps: float) -> FrameFacts:
    """Write frames (H, W, 3) uint8 RGB, all of one size, into `path` (`.mkv`), holding one at a time.

    Raises `JogakError` when there is no frame, when one has another size or type, or when there are too many.
    """
    if not 0 < fps <= 240:
        raise JogakError(f"A clip cannot run at {fps} frames a second; use between 1 and 60.")
    rate = Fraction(fps).limit_denominator(1001)
    size: tuple[int, int] | None = None
    count = 0
    # bitexact leaves out the writer's name and random ids: the file is a pure function of its frames
    with av.open(path, "w", format="matroska", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("ffv1", rate=rate)
        stream.pix_fmt = "bgr0"
        stream.codec_context.options = {"level": "3", "flags": "+bitexact"}
        stream.codec_context.gop_size = 1
        stream.codec_context.thread_count = 1
        for frame in frames:
            size = _check(frame, size, count)
            if count == 0:
                stream.height, stream.width = size
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            picture.pts, picture.time_base = count, 1 / rate
            container.mux(stream.encode(picture))
            count += 1
        if size is None:
            raise JogakError("A clip needs at least one frame, and none was drawn; draw the shot again.")
        container.mux(stream.encode(None))
    return FrameFacts(width=size[1], height=size[0], frames=count, fps=float(rate))


def _check(frame: np.ndarray, size: tuple[int, int] | None, index: int) -> tuple[int, int]:
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        raise JogakError(f"Frame {index} is {frame.dtype} {frame.shape}; use uint8 (height, width, 3).")
    if frame.shape[0] * frame.shape[1] > MAX_PIXELS:
        raise JogakError(
            f"Frame {index} is {frame.shape[1]}x{frame.shape[0]}; at most {MAX_PIXELS:,} pixels."
        )
    if size is not None and frame.shape[:2] != size:
        raise JogakError(
            f"Frame {index} is {frame.shape[1]}x{frame.shape[0]} but the clip began at {size[1]}x{size[0]}; "
            "a clip has one size."
        )
    if index >= MAX_FRAMES:
        raise JogakError(f"A clip holds at most {MAX_FRAMES} frames; make the shot shorter.")
    return frame.shape[0], frame.shape[1]


def read_frames(path: Path) -> Iterator[np.ndarray]:
    """The frames of a file that `write_frames` made, bit for bit, one (H, W, 3) uint8 RGB array at a time.

    Raises `JogakError` when the file is absent, unreadable, cut short, in another format, or beyond the caps
    (checked before anything is decoded).
    """
    try:
        with av.open(path, format="matroska") as container:
            stream = _drawn_stream(container, path.name)
            expected = round((container.duration or 0) / av.time_base * (stream.average_rate or 0))
            if not 0 < expected <= MAX_FRAMES:
                raise JogakError(f"{path.name} says it holds {expected} frames; 1 to {MAX_FRAMES} are read.")
            count = 0
            for picture in container.decode(stream):
                if picture.width * picture.height > MAX_PIXELS or count >= expected:
                    raise JogakError(f"{path.name} holds more than it says; draw the shot again.")
                yield picture.to_ndarray(format="rgb24")
                count += 1
    except av.error.FFmpegError as error:
        reason = error.strerror or error
        raise JogakError(
            f"{path.name} cannot be read as drawn frames ({reason}); draw the shot again."
        ) from None
    if count < expected:
        raise JogakError(f"{path.name} ends after {count} of {expected} frames; draw the shot again.")


def _drawn_stream(container: InputContainer, name: str) -> av.VideoStream:
    """The one FFV1 stream, its size checked; nothing is decoded yet."""
    if not container.streams.video:
        raise JogakError(f"{name} holds no pictures; draw the shot again.")
    stream = container.streams.video[0]
    context = stream.codec_context
    if context.name != "ffv1":
        raise JogakError(f"{name} is {context.name}, but drawn frames are kept as ffv1; draw the shot again.")
    if not 0 < context.width * context.height <= MAX_PIXELS:
        raise JogakError(
            f"{name} is {context.width}x{context.height}; at most {MAX_PIXELS:,} pixels are read."
        )
    context.thread_count = 1
    return stream
