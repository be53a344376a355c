"""One MP4 out of pictures, sound and subtitles: H.264 High, AAC-LC and `mov_text`, through PyAV alone.

Thread counts are fixed and nothing of the day or the machine is written: same inputs, same file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soundfile
from av.container import OutputContainer
from av.subtitles.stream import SubtitleStream
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation

from jogak.film.mix import AAC_BIT_RATE
from jogak.film.subtitles import Cue
from jogak.spec import AUDIO_RATE, FILM_FPS, FILM_HEIGHT, FILM_WIDTH
from jogak.spec.film import Lang

VIDEO_OPTIONS = {
    "preset": "veryfast",  # at crf 15 as near to the pictures as "fast" at 17, and as small, in half the time
    "crf": "15",
    "profile": "high",
    "tune": "animation",
    "flags": "+bitexact",
}
SAMPLES_PER_FRAME = AUDIO_RATE // FILM_FPS
LANGUAGE = {"ko": "kor", "en": "eng"}
"""ISO 639-2, as MP4 wants it."""
SUBTITLE_STYLE = b"""[Script Info]
ScriptType: v4.00+
PlayResX: 1280
PlayResY: 720

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, \
Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, \
MarginR, MarginV, Encoding
Style: Default,NanumGothic,42,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,30,1

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""
"""The `mov_text` encoder takes its text box style from an ASS header and cannot open without one."""


def write_mp4(
    path: Path,
    pictures: Iterable[np.ndarray],
    sound: Path,
    cues: Sequence[Cue],
    title: str,
    lang: Lang,
    on_picture: Callable[[int], None],
) -> int:
    """Write the film as it comes and return how many pictures it has; `on_picture` hears of each, from 1.

    `pictures` are arrays (720, 1280, 3) uint8 RGB; `sound` is a WAV at 48 kHz, cut or filled with silence
    to the length of the picture. The index stands before the media ("fast start").
    """
    options = {"movflags": "+faststart", "fflags": "+bitexact"}
    count = 0
    with av.open(path, "w", format="mp4", options=options) as out, soundfile.SoundFile(sound) as wav:
        out.metadata["title"] = title
        video, audio = _video_stream(out), _audio_stream(out, lang)
        text = _text_stream(out, lang) if cues else None
        waiting = list(cues)
        for picture in pictures:
            out.mux(video.encode(_video_frame(picture, count)))
            out.mux(audio.encode(_audio_frame(wav, count)))
            count += 1
            while text is not None and waiting and waiting[0].start * FILM_FPS <= count:
                out.mux(_text_packet(waiting.pop(0), text))
            on_picture(count)
        out.mux(video.encode(None))
        out.mux(audio.encode(None))
    return count


def _video_stream(out: OutputContainer) -> av.VideoStream:
    stream = out.add_stream("libx264", rate=FILM_FPS, options=VIDEO_OPTIONS)
    stream.width, stream.height, stream.pix_fmt = FILM_WIDTH, FILM_HEIGHT, "yuv420p"
    stream.time_base = Fraction(1, FILM_FPS)
    context = stream.codec_context
    context.gop_size = 2 * FILM_FPS
    context.thread_count = 2
    context.color_range = ColorRange.MPEG
    context.colorspace = Colorspace.ITU709
    context.color_primaries = ColorPrimaries.BT709
    context.color_trc = ColorTrc.BT709
    return stream


def _audio_stream(out: OutputContainer, lang: Lang) -> av.AudioStream:
    stream = out.add_stream("aac", rate=AUDIO_RATE, layout="stereo")
    stream.bit_rate = AAC_BIT_RATE  # the mix was measured through this very encoder
    stream.metadata["language"] = LANGUAGE[lang]
    return stream


def _text_stream(out: OutputContainer, lang: Lang) -> SubtitleStream:
    stream = out.add_stream("mov_text")
    stream.codec_context.subtitle_header = SUBTITLE_STYLE
    stream.time_base = Fraction(1, 1000)
    stream.metadata["language"] = LANGUAGE[lang]
    return stream


def _video_frame(picture: np.ndarray, index: int) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(
        format="yuv420p",
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG,
        interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT,
        threads=1,
    )
    frame.pts, frame.time_base = index, Fraction(1, FILM_FPS)
    return frame


def _audio_frame(wav: soundfile.SoundFile, index: int) -> av.AudioFrame:
    """The 2000 samples under picture `index`; silence beyond the end, mono on both sides."""
    planes = np.zeros((2, SAMPLES_PER_FRAME), np.float32)
    block = wav.read(SAMPLES_PER_FRAME, dtype="float32", always_2d=True)
    planes[:, : len(block)] = block.T
    frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout="stereo")
    frame.sample_rate, frame.pts = AUDIO_RATE, index * SAMPLES_PER_FRAME
    frame.time_base = Fraction(1, AUDIO_RATE)
    return frame


def _text_packet(cue: Cue, stream: SubtitleStream) -> av.Packet:
    """A 3GPP timed text sample: big-endian length, then UTF-8."""
    text = cue.text.encode("utf-8")
    packet = av.Packet(len(text).to_bytes(2, "big") + text)
    packet.stream, packet.time_base = stream, Fraction(1, 1000)
    packet.pts = packet.dts = round(cue.start * 1000)
    packet.duration = round((cue.end - cue.start) * 1000)
    return packet
