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
from jogak.spec.handles import Audio, Clip, Document, Handle, Image, ModelRef, Video
from jogak.spec.image import ImageRequest

__all__ = [
    "AUDIO_RATE", "BEDS", "FILM_FPS", "FILM_HEIGHT", "FILM_WIDTH", "Audio", "Clip", "Document", "Event",
    "FilmBrief", "FilmPlan", "Handle", "Image", "ImageRequest", "JogakError", "Line", "ModelRef", "Music", "Shot", "Spec",
    "SpecError", "Video",
]  # fmt: skip
