"""A shot in motion without a motion model: a path in latent and noise space, every frame drawn by the model.

How a frame comes to be:

1. The keyframe is taken apart (`jogak.film.cutout`): the model tells where the subject is, since there its
   drawing changes most when the prompt is taken away, and draws the ground that the subject hid.
2. Camera and subject move (`jogak.film.pose`): matrices that put the parts together again as a guide, and
   carry the noise along (`jogak.film.noise`), so that noise and picture agree. With time that noise turns
   into other noise, so that what is drawn with it lives.
3. The guide is encoded, taken part of the way back into noise (SDEdit, Meng et al., arXiv:2108.01073) and
   drawn again with the shot's prompt. No pixel of the guide reaches the screen.
4. What the model changed is carried along into the next frame, which stops flicker; large shapes and colours
   are held to the guide and never to the frame before, so that nothing blurs or shifts as in a chain.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import cv2
import numpy as np
import PIL.Image
import torch
from pydantic import Field
from torch import Tensor

from jogak.film.cutout import Cutout, cut_out, hidden, smear
from jogak.film.frames import write_frames
from jogak.film.noise import carry_noise, noise_cells, still_map, turn_noise
from jogak.film.pose import carry, pose_at
from jogak.models import DiffusionModel, load, samplers
from jogak.models.regions import SHARE, RegionalModel
from jogak.spec import Clip, Image, JogakError, ModelRef, Region, Shot, Spec
from jogak.spec.film import Camera, Lang
from jogak.store import current, step

WIDTH, HEIGHT = 320, 192
"""A drawn frame, in pixels."""
DRAWN_FPS = 12
"""Drawn frames a second: animation "on twos", each second film frame drawn."""
KEY_STEPS, KEY_GUIDANCE = 20, 3.0
REHEARSALS = 4
"""Drawings of the first frame before the first that is kept, so that it is as well averaged as the others."""
SUBJECT_STRENGTHS = (0.6, 0.75)
"""How far the keyframe is forgotten when the model is asked where the subject is."""

GROUND_STRENGTH, GROUND_STEPS = 0.85, 12
"""How the ground behind a thing is drawn."""


class Redraw(NamedTuple):
    """How a frame is drawn over its guide; the defaults were measured best (benchmarks/motion.py)."""

    strength: float = 0.45
    """how far back into noise the guide is taken: 0 keeps it, 1 forgets it"""
    steps: int = 4
    guidance: float = 2.0
    carry: float = 0.6
    """how much of what the model changed in one frame is carried into the next"""
    hold: float = 2.0
    """latents; shapes wider than this are held to the guide"""
    noise_turn: float = 0.3
    """radians a second at which the noise turns into other noise; after π/2 nothing of the first is left"""


REDRAW = Redraw()


class ShotPicture(Spec):
    """What of a shot its frames depend on. Its lines, its sounds and its name are left out."""

    prompt: str = Field(min_length=1, max_length=1000)
    negative: str = Field(default="", max_length=1000)
    camera: Camera = "still"
    seconds: float = Field(ge=1, le=15)
    seed: int = Field(default=0, ge=0, le=2**32 - 1)
    motion: float = Field(default=0.5, ge=0, le=1)

    @property
    def frames(self) -> int:
        return _frames(self.seconds)


class KeyPicture(Spec):
    """What of a shot its keyframe depends on: a longer shot or another camera move keeps its keyframe."""

    prompt: str = Field(min_length=1, max_length=1000)
    negative: str = Field(default="", max_length=1000)
    seed: int = Field(default=0, ge=0, le=2**32 - 1)
    regions: tuple[Region, ...] = ()


def picture_of(shot: Shot) -> ShotPicture:
    return ShotPicture(
        prompt=shot.prompt,
        negative=shot.negative,
        camera=shot.camera,
        seconds=shot.seconds,
        seed=shot.seed,
        motion=shot.motion,
    )


def key_of(shot: Shot) -> KeyPicture:
    return KeyPicture(prompt=shot.prompt, negative=shot.negative, seed=shot.seed, regions=shot.regions)


def _frames(seconds: float) -> int:
    return math.ceil(round(seconds * DRAWN_FPS, 6))


# ------------------------------------------------------------------------------------------- steps


@step(version="4")
def draw_keyframe(picture: KeyPicture, take: int, model: ModelRef) -> Image:
    """The picture a shot starts from, 320x192 PNG. Another `take` (from 0) is another drawing of the same."""
    ctx = current()

    def on_step(done: int) -> None:
        ctx.progress(done, KEY_STEPS, "drawing a keyframe")
        ctx.check_cancel()

    pixels = key_pixels(load(model), picture, take, on_step)
    with ctx.store.new_file(".png") as tmp:
        PIL.Image.fromarray(pixels).save(tmp, format="PNG")
        return ctx.store.put(tmp, Image, width=WIDTH, height=HEIGHT)


@step(version="1")
def draw_shot(picture: ShotPicture, keyframe: Image, model: ModelRef) -> Clip:
    """All frames of a shot, 320x192 at `DRAWN_FPS`, lossless, each drawn by the model.

    Raises `JogakError` when the keyframe has another size.
    """
    ctx = current()
    if (keyframe.width, keyframe.height) != (WIDTH, HEIGHT):
        raise JogakError(
            f"A shot starts from a keyframe of {WIDTH}x{HEIGHT}, not {keyframe.width}x{keyframe.height}."
        )
    diffusion = load(model)
    with PIL.Image.open(keyframe.path) as opened:
        key = np.asarray(opened.convert("RGB"))

    def watched() -> Iterator[np.ndarray]:
        for index, frame in enumerate(drawn_frames(diffusion, key, picture)):
            ctx.progress(index + 1, picture.frames, "drawing frames")
            ctx.check_cancel()
            yield frame

    with ctx.store.new_file(".mkv") as tmp:
        facts = write_frames(tmp, watched(), DRAWN_FPS)
        return ctx.store.put(tmp, Clip, **facts._asdict(), method=drawing_method("en"))


def drawing_method(lang: Lang) -> str:
    """How a shot's frames come to be, for the report."""
    share, steps = f"{REDRAW.strength:.0%}", REDRAW.steps
    if lang == "ko":
        return (
            f"초당 {DRAWN_FPS}장의 모든 프레임을 확산 모델이 그렸습니다. 키프레임의 대상과 배경을 카메라와 대상의 움직임만큼, "
            f"노이즈와 함께 옮긴 뒤 노이즈 쪽으로 {share} 되돌려 {steps}스텝으로 다시 그렸습니다. 모션 모델은 쓰지 않았습니다."
        )
    return (
        f"Every frame, {DRAWN_FPS} a second, was drawn by the diffusion model: subject and ground of the keyframe, moved by "
        f"the camera and by the subject's own motion, their noise with them, were taken {share} of the way back into noise "
        f"and drawn again in {steps} steps. No motion model was used."
    )


# ------------------------------------------------------------------------------------------- pixels


def key_pixels(
    model: DiffusionModel, picture: KeyPicture, take: int, on_step: Callable[[int], None] = lambda _: None
) -> np.ndarray:
    """A keyframe, (192, 320, 3) uint8 RGB; `on_step` hears how many of `KEY_STEPS` are done."""
    words = [picture.negative, picture.prompt, *(region.prompt for region in picture.regions)]
    uncond, *conds = model.encode_text(words).split(1)
    noise = _own_noise(noise_cells((picture.seed, take), *_fine(model)), model.factor)
    sigmas = model.sigmas(KEY_STEPS)  # evenly spaced: edges come out smoother than on Karras' spacing
    parts = RegionalModel(model, picture.regions, sigmas, KEY_GUIDANCE)
    latents = samplers.sample_dpmpp_2m(
        lambda x, sigma: parts.denoise(x, sigma, conds, uncond),
        sigmas[0] * noise,
        sigmas,
        on_step=lambda done, _: on_step(done),
    )
    return _to_pixels(model.decode(latents))


def drawn_frames(
    model: DiffusionModel, key: np.ndarray, picture: ShotPicture, redraw: Redraw = REDRAW
) -> Iterator[np.ndarray]:
    """The frames of a shot, one by one, (192, 320, 3) uint8 RGB.

    `key` is the keyframe, of the same size and type. The same model, key and picture give the same frames.
    """
    shot = _prepare(model, key, picture)
    sigmas = _part_of_the_way(model, redraw.strength, redraw.steps)
    carried: Tensor | None = None
    before: list[np.ndarray] = []
    for index in range(-REHEARSALS, picture.frames):
        pose = _pose(shot, picture, max(index, 0))
        pixels, owner = _guide(shot, pose)
        guide = model.encode(_to_tensor(pixels))
        start = guide
        if carried is not None:
            carried = _follow(carried, owner, before, pose, model.factor)
            start = guide + redraw.carry * carried
        noise = _noise(shot, pose, redraw.noise_turn * index / DRAWN_FPS, model.factor)
        drawn = samplers.sample_dpmpp_2m(
            lambda x, sigma: model.denoise(x, sigma, shot.cond, shot.uncond, redraw.guidance),
            start + sigmas[0] * noise,
            sigmas,
        )
        change = drawn - guide
        change = change - _large_shapes(change, redraw.hold)
        if carried is not None:
            change = redraw.carry * carried + (1 - redraw.carry) * change
        carried, before = change, pose
        if index >= 0:
            yield _to_pixels(model.decode(guide + change))


def guides(model: DiffusionModel, key: np.ndarray, picture: ShotPicture) -> Iterator[np.ndarray]:
    """What `drawn_frames` draws over, for comparison: the parts of the keyframe, moved, not drawn again."""
    shot = _prepare(model, key, picture)
    for index in range(picture.frames):
        yield _guide(shot, _pose(shot, picture, index))[0]


class _Prepared(NamedTuple):
    """What all frames of a shot share."""

    cond: Tensor
    uncond: Tensor
    noises: tuple[np.ndarray, np.ndarray]  # cells (C, H, W): the noise at first, and the noise it turns into
    fresh: tuple[np.ndarray, np.ndarray]  # (C, h, w) each, for what the keyframe does not show
    key: np.ndarray
    ground: np.ndarray  # (H, W, 3), the keyframe without what stands in it
    things: tuple[Cutout, ...]


def _prepare(model: DiffusionModel, key: np.ndarray, picture: ShotPicture) -> _Prepared:
    cond, uncond = _texts(model, picture.prompt, picture.negative)
    fine = _fine(model)
    coarse = (fine[0], HEIGHT // model.factor, WIDTH // model.factor)
    noises = noise_cells((picture.seed, 1), *fine), noise_cells((picture.seed, 2), *fine)
    noise = _own_noise(noises[0], model.factor)
    things = cut_out(key, likely_subject(model, key, cond, uncond, noise))
    return _Prepared(
        cond=cond,
        uncond=uncond,
        noises=noises,
        fresh=(noise_cells((picture.seed, 3), *coarse), noise_cells((picture.seed, 4), *coarse)),
        key=key,
        ground=draw_ground(model, key, hidden(things, key.shape[:2]), uncond, noise) if things else key,
        things=things,
    )


def _pose(shot: _Prepared, picture: ShotPicture, index: int) -> list[np.ndarray]:
    stands = [thing.stand for thing in shot.things]
    phase = picture.seed % 628 / 100
    at = index / DRAWN_FPS
    return pose_at(picture.camera, stands, picture.motion, picture.seconds, at, phase, (WIDTH, HEIGHT))


def _guide(shot: _Prepared, pose: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The parts put together, (H, W, 3) uint8, and which part each pixel shows, (H, W), 0 the ground."""
    grid = still_map(HEIGHT, WIDTH)
    frame = _sample(shot.ground, carry(np.linalg.inv(pose[0]), grid)).astype(np.float32)
    owner = np.zeros((HEIGHT, WIDTH), dtype=np.int64)
    for number, (thing, matrix) in enumerate(zip(shot.things, pose[1:], strict=True), start=1):
        at = carry(np.linalg.inv(matrix), grid)
        alpha = _sample(thing.alpha, at, cv2.INTER_LINEAR)
        frame += alpha[:, :, None] * (_sample(shot.key, at) - frame)
        owner[alpha > 0.5] = number
    return frame.clip(0, 255).round().astype(np.uint8), owner


def _noise(shot: _Prepared, pose: list[np.ndarray], angle: float, factor: int) -> Tensor:
    """The noise (1, C, h, w), carried to where the parts are now and turned by `angle`."""
    grid = still_map(HEIGHT, WIDTH)
    forward = carry(pose[0], grid)
    for thing, matrix in zip(shot.things, pose[1:], strict=True):
        forward = np.where(thing.alpha > 0.5, carry(matrix, grid), forward)
    first, second = (
        carry_noise(cells, forward, fresh, factor)
        for cells, fresh in zip(shot.noises, shot.fresh, strict=True)
    )
    return torch.from_numpy(turn_noise(first, second, angle))[None]


def _follow(
    latents: Tensor, owner: np.ndarray, before: list[np.ndarray], pose: list[np.ndarray], factor: int
) -> Tensor:
    """Latents (1, C, h, w) of the frame before, moved with the parts to where they are in this frame."""
    centres = still_map(*latents.shape[2:]) * factor
    owner = owner[factor // 2 :: factor, factor // 2 :: factor]
    was = centres
    for number, (then, now) in enumerate(zip(before, pose, strict=True)):
        was = np.where(owner == number, carry(then @ np.linalg.inv(now), centres), was)
    moved = _sample(latents[0].numpy().transpose(1, 2, 0), was / factor, cv2.INTER_LINEAR)
    return torch.from_numpy(np.ascontiguousarray(moved.transpose(2, 0, 1)))[None]


def likely_subject(
    model: DiffusionModel, key: np.ndarray, cond: Tensor, uncond: Tensor, noise: Tensor
) -> np.ndarray:
    """Where the subject likely is, (H, W) in 0..1.

    There the drawing of a half-forgotten keyframe changes most when the prompt is taken away.
    """
    latents = model.encode(_to_tensor(key))
    change = torch.zeros(latents.shape[2:])
    for strength in SUBJECT_STRENGTHS:
        sigma = float(_part_of_the_way(model, strength, 1)[0])
        x = latents + sigma * noise
        change += (model.denoise(x, sigma, cond) - model.denoise(x, sigma, uncond)).square().mean(dim=(0, 1))
    seen = cv2.resize(change.sqrt().numpy(), (key.shape[1], key.shape[0]), interpolation=cv2.INTER_CUBIC)
    seen = cv2.GaussianBlur(seen, (0, 0), 8)
    low, high = np.percentile(seen, (50, 99))
    return np.clip((seen - low) / max(float(high - low), 1e-6), 0, 1)


def draw_ground(
    model: DiffusionModel, key: np.ndarray, where: np.ndarray, uncond: Tensor, noise: Tensor
) -> np.ndarray:
    """The picture (H, W, 3) with the ground drawn by the model `where` (H, W) bool something hid it."""
    known = model.encode(_to_tensor(smear(key, where)))
    height, width = known.shape[2:]
    share = cv2.resize(where.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    unknown = torch.from_numpy((share > 0).astype(np.float32))
    sigmas = _part_of_the_way(model, GROUND_STRENGTH, GROUND_STEPS)

    def denoise(x: Tensor, sigma: float) -> Tensor:
        return torch.lerp(known, model.denoise(x, sigma, uncond), unknown)

    drawn = _to_pixels(model.decode(samplers.sample_dpmpp_2m(denoise, known + sigmas[0] * noise, sigmas)))
    soft = cv2.GaussianBlur(where.astype(np.float32), (0, 0), 2)[:, :, None]
    return (key + soft * (drawn.astype(np.float32) - key)).round().astype(np.uint8)


def _texts(model: DiffusionModel, prompt: str, negative: str) -> tuple[Tensor, Tensor]:
    both = model.encode_text([prompt, negative])
    return both[:1], both[1:]


def _fine(model: DiffusionModel) -> tuple[int, int, int]:
    return model.latent_channels, HEIGHT, WIDTH


def _own_noise(cells: np.ndarray, factor: int) -> Tensor:
    """The noise (1, C, h, w) of cells that nothing has moved."""
    channels, height, width = cells.shape
    nothing = np.zeros((channels, height // factor, width // factor), dtype=np.float32)
    return torch.from_numpy(carry_noise(cells, still_map(height, width), nothing, factor))[None]


def _part_of_the_way(model: DiffusionModel, strength: float, steps: int) -> Tensor:
    """Noise levels (steps + 1,) from `strength` of the training time down to 0, evenly spaced in time."""
    whole = model.sigmas(1000, "trailing")  # one a training timestep, the noisiest first
    back = torch.linspace(strength, 0, steps + 1)
    return whole[((1 - back) * 1000).round().long()]


def _large_shapes(latents: Tensor, wide: float) -> Tensor:
    soft = [cv2.GaussianBlur(c, (0, 0), wide, borderType=cv2.BORDER_REFLECT) for c in latents[0].numpy()]
    return torch.from_numpy(np.stack(soft))[None]


def _sample(field: np.ndarray, at: np.ndarray, interpolation: int = cv2.INTER_CUBIC) -> np.ndarray:
    """Values of `field` (H, W) or (H, W, C) at pixel positions `at` (2, h, w); mirrored beyond its border."""
    x, y = (at - 0.5).astype(np.float32)
    return cv2.remap(field, x, y, interpolation, borderMode=cv2.BORDER_REFLECT)


def _to_tensor(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels.astype(np.float32).transpose(2, 0, 1) / 127.5 - 1)[None]


def _to_pixels(pixels: Tensor) -> np.ndarray:
    return ((pixels[0].clamp(-1, 1) + 1) * 127.5).round().byte().numpy().transpose(1, 2, 0)


# ------------------------------------------------------------------------------------------- cost


class Pace(NamedTuple):
    """Seconds on this machine: one model pass with guidance, encoding and decoding a frame."""

    denoise: float
    encode: float
    decode: float


def measure_pace(model: DiffusionModel) -> Pace:
    """Measured in about a second, once the model is warm."""
    latents = torch.zeros(1, model.latent_channels, HEIGHT // model.factor, WIDTH // model.factor)
    pixels = torch.zeros(1, 3, HEIGHT, WIDTH)
    cond, uncond = _texts(model, "a", "")

    def best(call: Callable[[], Tensor]) -> float:
        call()  # compiles for this shape
        times = []
        for _ in range(3):
            begun = time.perf_counter()
            call()
            times.append(time.perf_counter() - begun)
        return sorted(times)[1]

    return Pace(
        denoise=best(lambda: model.denoise(latents, 1.0, cond, uncond, REDRAW.guidance)),
        encode=best(lambda: model.encode(pixels)),
        decode=best(lambda: model.decode(latents)),
    )


def shot_preview_cost(seconds: float, pace: Pace, takes: int = 1) -> float:
    """Seconds that a shot of `seconds` will take to draw, with `takes` keyframes to choose from."""
    return takes * keyframe_cost(pace) + frames_cost(seconds, pace)


def keyframe_cost(pace: Pace, regions: int = 0) -> float:
    """Seconds that one keyframe of so many regions will take to draw."""
    return KEY_STEPS * (1 + SHARE * regions) * pace.denoise + pace.decode


def frames_cost(seconds: float, pace: Pace) -> float:
    """Seconds that the frames of a shot of `seconds` will take to draw, its keyframe being there."""
    frame = REDRAW.steps * pace.denoise + pace.encode + pace.decode + MAPS_SECONDS
    return (_frames(seconds) + REHEARSALS) * frame


MAPS_SECONDS = 0.03
"""Moving pixels and noise and writing the frame, as measured with two cores at 320x192."""
