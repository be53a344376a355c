"""What a person asks for and what comes back: frozen, validated, without torch."""

from jogak.spec.base import JogakError, Spec, SpecError
from jogak.spec.film import (
    AUDIO_RATE,
    BEDS,
    FILM_FPS,
    FILM_HEIGHT,
    FILM_WIDTH,
    Event,
    FilmBrief,
    FilmPlan,
    Line,
    Music,
    Shot,
)
from jogak.spec.handles import Adapter, Audio, Clip, Document, Handle, Image, ModelRef, Video
from jogak.spec.image import ControlKind, ControlUse, ImageRequest, IpMode, IpUse, LoraUse, Region

__all__ = [
    "AUDIO_RATE", "BEDS", "FILM_FPS", "FILM_HEIGHT", "FILM_WIDTH", "Adapter", "Audio", "Clip", "ControlKind", "ControlUse",
    "Document", "Event", "FilmBrief", "FilmPlan", "Handle", "Image", "ImageRequest", "IpMode", "IpUse", "JogakError", "Line",
    "LoraUse", "ModelRef", "Music", "Region", "Shot", "Spec", "SpecError", "Video",
]  # fmt: skip
