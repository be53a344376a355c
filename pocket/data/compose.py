"""Draw batches of scenes: a procedural ground for each place, sprites pasted in layers, light and weather on top.

Everything is torch on any device; a batch of 512 at 256x256 takes some 20 ms on one H100. Coordinates: y runs from 0
(top) to 1 (bottom), x from 0 to width/height, so that a length means the same in both directions.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, fields

import numpy as np
import torch
import torch.nn.functional as F

PLACES = (
    "meadow", "forest", "beach", "sea", "underwater", "desert", "snowfield", "mountains",
    "city", "village", "river", "farm", "garden", "room", "space", "sky",
)  # fmt: skip
TIMES = ("morning", "day", "sunset", "night")
WEATHERS = ("clear", "cloudy", "rain", "snow", "fog")
HORIZON = (0.62, 0.55, 0.45, 0.42, 0.62, 0.55, 0.62, 0.60, 0.70, 0.62, 0.62, 0.62, 0.62, 0.50, 0.62, 1.0)
"""Where the sky's gradient ends, by place."""
SKYLESS = (4, 14)
"""Under water and in space."""
LAYERS = 16
NUMBERS = 48
"""Random numbers each scene carries for its ground: the same numbers, the same ground."""

# top of the sky, horizon; by time
SKY = (
    ((0.55, 0.75, 0.93), (1.00, 0.88, 0.76)),  # morning: pale blue to peach
    ((0.27, 0.60, 0.95), (0.76, 0.91, 1.00)),  # day
    ((0.38, 0.27, 0.55), (1.00, 0.58, 0.30)),  # sunset
    ((0.03, 0.05, 0.18), (0.14, 0.20, 0.42)),  # night
)
LIGHT = ((1.0, 0.96, 0.90), (1.0, 1.0, 1.0), (0.98, 0.74, 0.60), (0.34, 0.42, 0.66))
"""What the time of day does to the colour of the ground."""
SPRITE_LIGHT = ((1.0, 0.98, 0.95), (1.0, 1.0, 1.0), (1.0, 0.86, 0.76), (0.76, 0.79, 0.92))


@dataclass
class Layout:
    """B scenes as arrays. A sprite of -1 is an empty layer; layers are painted in order."""

    place: np.ndarray  # (B,) index into PLACES, -1 for a plain ground
    time: np.ndarray  # (B,)
    weather: np.ndarray  # (B,)
    plain: np.ndarray  # (B, 3) colour of a plain ground, 0..1
    numbers: np.ndarray  # (B, NUMBERS) uniform 0..1
    sprite: np.ndarray  # (B, LAYERS) row of the sprite array
    box: np.ndarray  # (B, LAYERS, 5): centre x, bottom y, height, flip (+-1), angle in radians
    tint: np.ndarray  # (B, LAYERS, 4): r, g, b, strength
    ink: (
        np.ndarray
    )  # (B, LAYERS) bool, whether it is a line drawing: the tint colours its paper, not its lines
    shadow: np.ndarray  # (B, LAYERS) 0..1, how dark the shadow at the feet is
    subject: np.ndarray  # (B,) number of the main concept, -1 when there is none; not drawn

    @staticmethod
    def stack(layouts: list[Layout]) -> Layout:
        return Layout(
            **{f.name: np.concatenate([getattr(x, f.name) for x in layouts]) for f in fields(Layout)}
        )

    def rows(self, index: np.ndarray) -> Layout:
        return Layout(**{f.name: getattr(self, f.name)[index] for f in fields(Layout)})

    def __len__(self) -> int:
        return len(self.place)


def empty_layout(batch: int) -> Layout:
    return Layout(
        place=np.full(batch, -1),
        time=np.ones(batch, dtype=np.int64),
        weather=np.zeros(batch, dtype=np.int64),
        plain=np.ones((batch, 3), dtype=np.float32),
        numbers=np.zeros((batch, NUMBERS), dtype=np.float32),
        sprite=np.full((batch, LAYERS), -1),
        box=np.zeros((batch, LAYERS, 5), dtype=np.float32),
        tint=np.zeros((batch, LAYERS, 4), dtype=np.float32),
        ink=np.zeros((batch, LAYERS), dtype=np.bool_),
        shadow=np.zeros((batch, LAYERS), dtype=np.float32),
        subject=np.full(batch, -1),
    )


@functools.cache
def _constant(values: tuple, device: torch.device) -> torch.Tensor:
    """A small tensor that is copied to the device once: a copy for each use would stall the device each time."""
    return torch.tensor(values, device=device)


class _Placed:
    """A layout's arrays on the device, copied once: a copy for each layer would stall the device each time."""

    def __init__(self, layout: Layout, device: torch.device) -> None:
        def to(array: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(array).to(device, non_blocking=True)

        self.place, self.time, self.weather = to(layout.place), to(layout.time), to(layout.weather)
        self.plain, self.numbers, self.sprite = to(layout.plain), to(layout.numbers), to(layout.sprite)
        self.box, self.tint, self.shadow = to(layout.box), to(layout.tint), to(layout.shadow)
        self.ink = to(layout.ink)


def _groups(keys: list[np.ndarray], device: torch.device) -> list[torch.Tensor]:
    """Row numbers on the device, one tensor for each entry of `keys`, with a single copy."""
    flat = torch.from_numpy(np.concatenate(keys) if keys else np.zeros(0, np.int64)).to(
        device, non_blocking=True
    )
    return list(flat.split([len(key) for key in keys]))


class Painter:
    """Holds the sprites on a device at three sizes, and draws layouts."""

    def __init__(self, pixels: np.ndarray, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        full = torch.from_numpy(pixels).to(self.device)
        half = torch.cat([F.avg_pool2d(part.float(), 2).round().byte() for part in full.split(256)])
        quarter = torch.cat([F.avg_pool2d(part.float(), 2).round().byte() for part in half.split(256)])
        self.levels = (full, half, quarter)

    @torch.no_grad()
    def draw(self, layout: Layout, height: int, width: int) -> torch.Tensor:
        """(B, 3, height, width) float32 in 0..1."""
        placed = _Placed(layout, self.device)
        canvas = self._ground(layout, placed, height, width)
        light = _constant(SPRITE_LIGHT, self.device)[placed.time]
        light = torch.where((placed.place < 0)[:, None], torch.ones_like(light), light)
        jobs = self._jobs(layout, height)
        for (slot, level, _), rows in zip(jobs, _groups([job[2] for job in jobs], self.device), strict=True):
            self._paste(canvas, placed, slot, level, rows, light)
        return self._weather(canvas, layout, placed).clamp_(0, 1)

    def _jobs(self, layout: Layout, height: int) -> list[tuple[int, int, np.ndarray]]:
        """(layer, sprite size, rows), in painting order."""
        jobs = []
        for slot in range(layout.sprite.shape[1]):
            present = np.flatnonzero(layout.sprite[:, slot] >= 0)
            pixels = layout.box[present, slot, 2] * height
            level = np.where(
                pixels > 110, 0, np.where(pixels > 55, 1, 2)
            )  # far smaller than its array, it aliases
            jobs += [(slot, k, present[level == k]) for k in range(3) if (level == k).any()]
        return jobs

    def _paste(
        self,
        canvas: torch.Tensor,
        placed: _Placed,
        slot: int,
        level: int,
        rows: torch.Tensor,
        light: torch.Tensor,
    ) -> None:
        height, width = canvas.shape[2:]
        box, tint, dark = placed.box[rows, slot], placed.tint[rows, slot], placed.shadow[rows, slot]
        rgba = self.levels[level][placed.sprite[rows, slot]].float() / 255
        rgb, alpha = rgba[:, :3], rgba[:, 3:]
        grey = rgb.mean(1, keepdim=True)
        # a coloured thing keeps its shading: dark stays dark, white takes the colour; ink stays as dark as it is
        ink = placed.ink[rows, slot][:, None, None, None]
        coloured = tint[:, :3, None, None] * torch.where(ink, grey, 0.35 * alpha + 0.85 * grey)
        rgb = torch.lerp(rgb, torch.minimum(coloured, alpha), tint[:, 3:, None, None])
        rgba = torch.cat([rgb * light[rows][:, :, None, None], alpha], 1)
        layer = F.grid_sample(
            rgba, _grid(box, height, width), mode="bilinear", padding_mode="zeros", align_corners=False
        )
        under = canvas[rows] * (1 - _foot_shadow(box, dark, height, width))
        canvas[rows] = under * (1 - layer[:, 3:]) + layer[:, :3]

    def _ground(self, layout: Layout, placed: _Placed, height: int, width: int) -> torch.Tensor:
        canvas = placed.plain[:, :, None, None].expand(-1, -1, height, width).contiguous()
        keys = [(painter, np.flatnonzero(layout.place == place)) for place, painter in enumerate(GROUNDS)]
        keys = [(painter, rows) for painter, rows in keys if len(rows)]
        open_air = np.flatnonzero((layout.place >= 0) & ~np.isin(layout.place, SKYLESS))
        rows, *groups = _groups([open_air, *(rows for _, rows in keys)], self.device)
        if len(rows):
            # one sky for all places: thousands of small launches, not arithmetic, are what a batch costs
            canvas[rows] = _sky(_Scene(placed, rows, height, width), placed.place[rows])
        for (painter, _), rows in zip(keys, groups, strict=True):
            canvas[rows] = painter(_Scene(placed, rows, height, width), canvas[rows])
        return canvas

    def _weather(self, canvas: torch.Tensor, layout: Layout, placed: _Placed) -> torch.Tensor:
        indoors = [-1, PLACES.index("underwater"), PLACES.index("room"), PLACES.index("space")]
        outdoors = ~np.isin(layout.place, indoors)
        keys = [
            (painter, np.flatnonzero(outdoors & (layout.weather == WEATHERS.index(name))))
            for name, painter in (("rain", _rain), ("snow", _snow), ("fog", _fog))
        ]
        for (painter, _), rows in zip(keys, _groups([rows for _, rows in keys], self.device), strict=True):
            if len(rows):
                canvas[rows] = painter(_Scene(placed, rows, *canvas.shape[2:]), canvas[rows])
        return canvas


def _grid(box: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Sampling grid that puts a unit sprite, standing on its bottom, where `box` says."""
    x, bottom, size, flip, angle = box.unbind(1)
    aspect = width / height
    cos, sin = torch.cos(angle), torch.sin(angle)
    centre_y = bottom - size / 2
    # output in [-1, 1] -> scene units -> sprite units in [-1, 1]
    scale = 2 / size
    theta = torch.zeros(len(box), 2, 3, device=box.device)
    theta[:, 0, 0] = flip * scale * cos * aspect / 2
    theta[:, 0, 1] = flip * scale * sin / 2
    theta[:, 0, 2] = flip * scale * (cos * (aspect / 2 - x) + sin * (0.5 - centre_y))
    theta[:, 1, 0] = -scale * sin * aspect / 2
    theta[:, 1, 1] = scale * cos / 2
    theta[:, 1, 2] = scale * (-sin * (aspect / 2 - x) + cos * (0.5 - centre_y))
    return F.affine_grid(theta, [len(box), 4, height, width], align_corners=False)


def _foot_shadow(box: torch.Tensor, dark: torch.Tensor, height: int, width: int) -> torch.Tensor:
    y = (torch.arange(height, device=box.device) + 0.5) / height
    x = (torch.arange(width, device=box.device) + 0.5) / height
    dx = (x[None, None, :] - box[:, 0, None, None]) / (box[:, 2, None, None] * 0.42)
    dy = (y[None, :, None] - box[:, 1, None, None] + box[:, 2, None, None] * 0.015) / (
        box[:, 2, None, None] * 0.075
    )
    return (dark[:, None, None] * (1.2 - dx * dx - dy * dy).clamp(0, 1))[:, None]


class _Scene:
    """What a ground painter needs: coordinates, the scene's numbers, sky colours and light, all (n, ...)."""

    def __init__(self, placed: _Placed, rows: torch.Tensor, height: int, width: int) -> None:
        device = placed.numbers.device
        self.height, self.width, self.device = height, width, device
        self.y = ((torch.arange(height, device=device) + 0.5) / height)[None, None, :, None]
        self.x = ((torch.arange(width, device=device) + 0.5) / height)[None, None, None, :]
        self.aspect = width / height
        self.edge = 1.2 / height
        self.numbers, self.time, self.weather = placed.numbers[rows], placed.time[rows], placed.weather[rows]
        self.night = (self.time == 3).float()[:, None, None, None]
        self.light = _constant(LIGHT, device)[self.time][:, :, None, None]
        wet = (self.weather > 0).float()[:, None, None, None]
        self.light = self.light * (1 - 0.14 * wet)

    def r(self, i: int) -> torch.Tensor:
        """The i-th number of each scene, (n, 1, 1, 1)."""
        return self.numbers[:, i % NUMBERS, None, None, None]

    def colour(self, r: float, g: float, b: float, i: int, spread: float = 0.08) -> torch.Tensor:
        """A colour that varies a little from scene to scene, (n, 3, 1, 1)."""
        base = _constant((r, g, b), self.device)[None, :, None, None]
        shift = torch.cat([self.r(i), self.r(i + 7), self.r(i + 13)], 1) - 0.5
        return (base + spread * shift).clamp(0, 1)

    def below(self, line: torch.Tensor) -> torch.Tensor:
        """Soft mask of what lies below a height line (n, 1, 1, W)."""
        return ((self.y - line) / self.edge + 0.5).clamp(0, 1)

    def waves(
        self, base: torch.Tensor | float, amp: float, i: int, rough: int = 3, pitch: float = 0.6
    ) -> torch.Tensor:
        """A rolling height line (n, 1, 1, W)."""
        line = torch.zeros_like(self.x)
        for k in range(rough):
            frequency = pitch * (1.9**k) * (0.7 + 0.6 * self.r(i + k))
            line = line + torch.sin(2 * math.pi * (frequency * self.x + self.r(i + k + 5))) * 0.55**k
        return base - amp * line

    def peaks(self, base: torch.Tensor | float, amp: float, i: int, pitch: float) -> torch.Tensor:
        """A jagged height line."""
        line = torch.zeros_like(self.x)
        for k in range(3):
            phase = pitch * (2.1**k) * self.x + self.r(i + k) * 5
            line = line + (1 - 2 * (phase - torch.floor(phase) - 0.5).abs()) * 0.5**k
        return base - amp * line

    def noise(self, cell: float, i: int) -> torch.Tensor:
        """A number in 0..1 for each square cell of side `cell`, (n, 1, H, W)."""
        cx, cy = torch.floor(self.x / cell), torch.floor(self.y / cell)
        value = torch.sin(cx * 12.9898 + cy * 78.233 + self.r(i) * 91.7) * 43758.5453
        return value - torch.floor(value)

    def disc(
        self, cx: torch.Tensor, cy: torch.Tensor, radius: torch.Tensor, soft: float | None = None
    ) -> torch.Tensor:
        distance = torch.sqrt((self.x - cx) ** 2 + (self.y - cy) ** 2)
        return ((radius - distance) / (soft or self.edge) + 0.5).clamp(0, 1)


def _mix(under: torch.Tensor, over: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return under + (over - under) * mask


def _sky(s: _Scene, place: torch.Tensor) -> torch.Tensor:
    """Gradient by time of day, sun or moon, stars, clouds by weather."""
    horizon = _constant(HORIZON, s.device)[place][:, None, None, None]
    colours = _constant(SKY, s.device)[s.time]
    grey = colours.mean(-1, keepdim=True) * _constant((0.96, 1.0, 1.05), s.device)
    dull = (s.weather == 1) * 0.55 + (s.weather == 2) * 0.8 + (s.weather == 3) * 0.6 + (s.weather == 4) * 0.7
    colours = torch.lerp(colours, grey * 0.88, dull[:, None, None].float())
    t = (s.y / horizon).clamp(0, 1) ** 0.9
    sky = _mix(colours[:, 0, :, None, None], colours[:, 1, :, None, None], t)
    sky = sky + torch.zeros(1, 1, 1, s.width, device=s.device)
    clear = (s.weather == 0).float()[:, None, None, None]
    twinkle = s.noise(1 / 96, 3)
    sky = _mix(sky, torch.ones_like(sky), (twinkle > 0.993).float() * s.night * clear * (1 - t) * 0.9)
    sky = _sun(s, sky, horizon, clear)
    return _clouds(s, sky, clear)


def _sun(s: _Scene, sky: torch.Tensor, horizon: torch.Tensor, clear: torch.Tensor) -> torch.Tensor:
    time = s.time[:, None, None, None]
    cx = s.aspect * (0.12 + 0.76 * s.r(0))
    high = 0.10 + 0.12 * s.r(1)
    low = horizon * (0.70 + 0.18 * s.r(1))
    cy = torch.where(time == 2, low, torch.where(time == 0, horizon * 0.62 + 0.05 * s.r(1), high))
    radius = torch.where(time == 2, 0.085, torch.where(time == 3, 0.05, 0.055))
    body = _constant(((1.0, 0.93, 0.72), (1.0, 0.97, 0.80), (1.0, 0.80, 0.42), (0.96, 0.96, 0.88)), s.device)
    colour = body[s.time][:, :, None, None]
    glow = torch.exp(-((s.x - cx) ** 2 + (s.y - cy) ** 2) / (2 * (radius * 2.6) ** 2))
    sky = _mix(sky, colour, glow * clear * torch.where(time == 3, 0.22, 0.5))
    disc = s.disc(cx, cy, radius)
    bite = s.disc(cx + 0.026, cy - 0.014, radius * 0.92)
    disc = torch.where(time == 3, disc * (1 - bite), disc)
    return _mix(sky, colour, disc * clear)


def _clouds(s: _Scene, sky: torch.Tensor, clear: torch.Tensor) -> torch.Tensor:
    white = torch.where(clear > 0, 1.0, 0.86) * _constant(SPRITE_LIGHT, s.device)[s.time][:, :, None, None]
    white = torch.where(s.night > 0, white * 0.5, white)
    for k in range(5):
        # two clouds on a clear day when the dice say so, five under a grey sky
        shown = torch.where(
            clear > 0,
            float(k < 2) * (s.r(20 + k) > 0.35).float() * (1 - 0.7 * s.night),
            torch.ones_like(clear),
        )
        cx = s.aspect * (s.r(4 + k) * 1.2 - 0.1)
        cy = 0.06 + 0.26 * s.r(9 + k)
        size = 0.05 + 0.05 * s.r(14 + k)
        mask = torch.zeros_like(s.x * s.y)
        for j, (dx, dy, scale) in enumerate(
            ((0, 0, 1.0), (-1.05, 0.28, 0.72), (1.05, 0.25, 0.78), (0.45, -0.35, 0.75))
        ):
            d = ((s.x - cx - dx * size * 1.1) / 1.25) ** 2 + (s.y - cy - dy * size) ** 2
            radius = size * scale * (0.9 + 0.25 * s.r(25 + k + j))
            mask = torch.maximum(mask, ((radius - torch.sqrt(d)) / (s.edge * 2.5) + 0.5).clamp(0, 1))
        flat = 1 - ((s.y - cy - size * 0.62) / s.edge + 0.5).clamp(0, 1)
        sky = _mix(sky, white, mask * flat * shown * 0.88)
    return sky


def _land(
    s: _Scene, sky: torch.Tensor, line: torch.Tensor, near: torch.Tensor, far: torch.Tensor
) -> torch.Tensor:
    """Ground below `line`, from the far colour at the line to the near colour at the bottom."""
    t = ((s.y - line) / (1.02 - line).clamp(min=0.05)).clamp(0, 1)
    return _mix(sky, _mix(far, near, t) * s.light, s.below(line))


def _meadow(s: _Scene, sky: torch.Tensor) -> torch.Tensor:
    sky = _land(
        s, sky, s.waves(0.60, 0.035, 30, 2), s.colour(0.45, 0.72, 0.42, 2), s.colour(0.55, 0.78, 0.50, 2)
    )
    line = s.waves(0.68, 0.03, 36, 3, 0.8)
    ground = _land(s, sky, line, s.colour(0.28, 0.62, 0.25, 5), s.colour(0.48, 0.76, 0.34, 5))
    return _speckle(s, ground, line, ((1.0, 1.0, 0.95), (1.0, 0.82, 0.30), (0.95, 0.45, 0.55)), 0.02)


def _speckle(
    s: _Scene, ground: torch.Tensor, line: torch.Tensor, colours: tuple, share: float
) -> torch.Tensor:
    """Small flowers or stones scattered below a line."""
    for k, colour in enumerate(colours):
        where = s.noise(1 / (46 + 6 * k), 40 + k)
        cell = 1 / (46 + 6 * k)
        fx, fy = s.x / cell - torch.floor(s.x / cell) - 0.5, s.y / cell - torch.floor(s.y / cell) - 0.5
        dot = ((0.38 - torch.sqrt(fx * fx + fy * fy)) * cell / s.edge + 0.5).clamp(0, 1)
        paint = _constant(colour, s.device)[None, :, None, None] * s.light
        ground = _mix(ground, paint, dot * (where < share).float() * s.below(line + 0.03))
    return ground


def _forest(s: _Scene, sky: torch.Tensor) -> torch.Tensor:
    for k, (base, shade) in enumerate(((0.36, 0.62), (0.44, 0.45))):
        # a wall of tree tops behind the trees that stand as sprites
        line = s.waves(base, 0.03, 30 + 4 * k, 4, 1.6)
        bumps = 0.035 * (torch.sin(2 * math.pi * (7 + 3 * k) * s.x + s.r(k) * 6)).abs()
        far = s.colour(0.20 * shade * 2, 0.50 * shade * 2, 0.28 * shade * 2, 3 + k, 0.06)
        sky = _land(s, sky, line - bumps, far * 0.8, far)
    return _land(
        s, sky, s.waves(0.70, 0.02, 40, 2), s.colour(0.22, 0.40, 0.18, 6), s.colour(0.33, 0.52, 0.24, 6)
    )


def _beach(s: _Scene, sky: torch.Tensor) -> torch.Tensor:
    sea = _water(s, sky, 0.45, (0.10, 0.55, 0.75), (0.35, 0.75, 0.88))
    line = s.waves(0.68, 0.022, 33, 2, 0.5)
    foam = s.below(line - 0.022)
    sea = _mix(sea, torch.ones_like(sea) * s.light, foam * 0.85)
    return _land(s, sea, line, s.colour(0.92, 0.78, 0.52, 8, 0.06), s.colour(0.98, 0.88, 0.66, 8, 0.06))


def _water(s: _Scene, sky: torch.Tensor, line: float, deep: tuple, pale: tuple) -> torch.Tensor:
    """A flat sea with glints that grow towards the viewer."""
    depth = ((s.y - line) / (1 - line)).clamp(0, 1)
    water = _mix(s.colour(*pale, 10, 0.06), s.colour(*deep, 10, 0.06), depth) * s.light
    ripple = torch.sin(2 * math.pi * (26 * (depth + 0.04) ** 0.6 + 0.6 * torch.sin(s.x * 7 + s.r(11) * 6)))
    broken = torch.sin(2 * math.pi * (s.x * 2.3 + s.r(12)) + depth * 31)
    water = water + 0.10 * (ripple > 0.55).float() * (broken > -0.1).float() * s.light
    return _mix(sky, water, s.below(torch.full_like(s.x, line)))


def _sea(s: _Scene, sky: torch.Tensor) -> torch.Tensor:
    return _water(s, sky, 0.42, (0.05, 0.32, 0.58), (0.22, 0.60, 0.80))


def _underwater(s: _Scene, sky: torch.Tensor) -> torch.Tensor:
    top = s.colour(0.20, 0.72, 0.86, 2) * (0.45 + 0.55 * s.light)
    water = _mix(top, s.colour(0.02, 0.22, 0.45, 3) * (0.5 + 0.5 * s.light), s.y.clamp(0, 1) ** 0.8)
    water = water + torch.zeros_like(s.x)
    ray = torch.sin(2 * math.pi * (2.2 * (s.x - 0.45 * s.y) + s.r(4))) + 0.6 * torch.sin(
        9 * (s.x - 0.45 * s.y) + 6 * s.r(5)
    )
    water = water + 0.10 * (ray - 0.6).clamp(0, 1) * (1 - s.y)
    line = s.waves(0.84, 0.025, 30, 2, 0.7)
    water = _mix(water, s.colour(0.62, 0.62, 0.45, 6, 0.05) * (0.4 + 0.5 * s.light), s.below(line))
    for k in range(6):
        ring = s.disc(s.aspect * s.r(14 + k), 0.1 + 0.7 * s.r(20 + k), 0.008 + 0.014 * s.r(26 + k))
        water = _mix(water, torch.full_like(water, 0.92), ring * 0.55)
    return water


def _desert(s: _Scene, sky: torch.Tensor) -> torch.Tensor:
    sky = _land(
        s,
        sky,
        s.waves(0.55, 0.05, 30, 2, 0.5),
        s.colour(0.85, 0.62, 0.36, 3, 0.06),
        s.colour(0.90, 0.70, 0.44, 3, 0.06),
    )
    return _land(
        s,
        sky,
        s.waves(0.66, 0.05, 36, 2, 0.45),
        s.colour(0.88, 0.62, 0.32, 6, 0.06),
        s.colour(0.97, 0.78, 0.48, 6, 0.06),
    )


def _snowfield(s: _Scene, sky: torch.Tensor) -> torch.Tensor:
    sky = _land(
        s,
        sky,
        s.waves(0.56, 0.05, 30, 2, 0.5),
        s.colour(0.78, 0.86, 0.95, 3, 0.04),
        s.colour(0.85, 0.91, 0.98, 3, 0.04),
    )
    return _land(
        s,
        sky,
        s.waves(0.66, 0.03, 36, 2, 0.6),
        s.colour(0.90, 0.94, 1.0, 6, 0.03),
        s.colour(0.97, 0.98, 1.0, 6, 0.03),
    )


def _mountains(s: _Scene, sky: torch.Tensor) -> torch.Tensor:
    for k, (base, amp, shade) in enumerate(((0.50, 0.27, 0.80), (0.60, 0.22, 0.58))):
        line = s.peaks(base, amp, 30 + 3 * k, 1.0 + 0.7 * k)
        rock = s.colour(0.52 * shade + 0.1, 0.54 * shade + 0.1, 0.66 * shade + 0.1, 4 + k, 0.06)
        sky = _mix(sky, rock * s.light, s.below(line))
        snow = s.below(line) * (
            1 - s.below(line * 0 + base - amp * (0.62 - 0.2 * k) + 0.02 * torch.sin(s.x * 40))
        )
        sky = _mix(sky, torch.full_like(rock, 0.97) * s.light, snow)
    return _land(
        s, sky, s.waves(0.72, 0.03, 40, 2), s.colour(0.30, 0.50, 0.30, 8), s.colour(0.42, 0.60, 0.38, 8)
    )


def _city(s: _Scene, sky: torch.Tensor) -> torch.Tensor:
    lit = _constant((1.0, 0.86, 0.45), s.device)[None, :, None, None]
    for k, (column, low, high) in enumerate(((0.10, 0.42, 0.30), (0.14, 0.55, 0.26))):
        cell = torch.floor(s.x / column + 10 * s.r(k))
        pick = torch.sin(cell * 12.9898 + s.r(30 + k) * 50) * 43758.5453
        pick = pick - torch.floor(pick)
        line = low - high * pick + 0.02
        tone = 0.75 - 0.25 * k + 0.2 * (pick * 7 - torch.floor(pick * 7))
        wall = torch.cat([tone * (0.62 + 0.2 * s.r(5)), tone * 0.66, tone * 0.78], 1)
        inside = s.below(line)
        sky = _mix(sky, wall * s.light, inside)
        fx = (s.x / column + 10 * s.r(k)) * 4
        fy = s.y / 0.035
        pane = ((fx - torch.floor(fx)) > 0.4) & ((fy - torch.floor(fy)) > 0.45) & (s.y > line + 0.02)
        on = torch.sin(torch.floor(fx) * 7.13 + torch.floor(fy) * 3.71 + s.r(8) * 40) > 0.1
        glass = torch.where((s.night > 0) & on, lit, wall * s.light * 0.72)
        sky = _mix(sky, glass, pane.float() * inside)
    road = torch.full_like(s.x, 0.74)
    sky = _mix(sky, s.colour(0.66, 0.66, 0.68, 7, 0.04) * s.light, s.below(road - 0.035))
    sky = _land(s, sky, road, s.colour(0.30, 0.31, 0.35, 9, 0.04), s.colour(0.40, 0.41, 0.45, 9, 0.04))
    dash = s.x / 0.16 + s.r(2)
    stripe = ((dash - torch.floor(dash)) < 0.55).float() * s.below(road + 0.12) * (1 - s.below(road + 0.137))
    return _mix(sky, torch.full_like(sky, 0.92) * s.light, stripe)


def _village(s: _Scene, sky: torch.Tensor) -> torch.Tensor:
    sky = _land(
        s, sky, s.waves(0.54, 0.05, 30, 2), s.colour(0.42, 0.62, 0.45, 2), s.colour(0.52, 0.70, 0.52, 2)
    )
    for k in range(4):
        cx = s.aspect * ((k + 0.25 + 0.5 * s.r(10 + k)) / 4)
        half, top = 0.07 + 0.03 * s.r(14 + k), 0.53 + 0.03 * s.r(18 + k)
        wall = (
            ((s.x - cx).abs() < half).float()
            * s.below(torch.full_like(s.x, 0) + top)
            * (1 - s.below(torch.full_like(s.x, 0.70)))
        )
        sky = _mix(sky, s.colour(0.95, 0.88, 0.76, 22 + k, 0.16) * s.light, wall)
        slope = top - (half * 1.25 - (s.x - cx).abs()) * 0.85
        roof = (
            s.below(slope)
            * (1 - s.below(torch.full_like(s.x, 0) + top))
            * ((s.x - cx).abs() < half * 1.25).float()
        )
        sky = _mix(sky, s.colour(0.76, 0.34, 0.26, 26 + k, 0.20) * s.light, roof)
        glow = _constant((1.0, 0.85, 0.45), s.device)[None, :, None, None]
        window = ((s.x - cx).abs() < 0.018).float() * ((s.y - top - 0.06).abs() < 0.02).float()
        sky = _mix(
            sky, torch.where(s.night > 0, glow, s.colour(0.50, 0.66, 0.80, 30, 0.05) * s.light), window
        )
    sky = _land(
        s, sky, s.waves(0.69, 0.012, 36, 2), s.colour(0.40, 0.62, 0.30, 6), s.colour(0.52, 0.70, 0.38, 6)
    )
    path = (
        (s.x - s.aspect * 0.5 - 0.06 * torch.sin(s.y * 9 + s.r(7) * 6)).abs() < 0.03 + (s.y - 0.69) * 0.45
    ).float()
    return _mix(
        sky, s.colour(0.85, 0.74, 0.56, 8, 0.05) * s.light, path * s.below(torch.full_like(s.x, 0.70))
    )


def _river(s: _Scene, sky: torch.Tensor) -> torch.Tensor:
    sky = _land(
        s, sky, s.waves(0.56, 0.04, 30, 3), s.colour(0.34, 0.58, 0.34, 2), s.colour(0.46, 0.68, 0.42, 2)
    )
    bank = _land(
        s, sky, torch.full_like(s.x, 0.63), s.colour(0.36, 0.60, 0.28, 5), s.colour(0.48, 0.72, 0.36, 5)
    )
    middle = s.aspect * (0.5 + 0.16 * torch.sin(s.y * 7 + s.r(3) * 6))
    half = 0.05 + (s.y - 0.63).clamp(0, 1) * 1.05
    stream = ((half - (s.x - middle).abs()) / s.edge + 0.5).clamp(0, 1) * s.below(torch.full_like(s.x, 0.63))
    water = _water(s, bank, 0.63, (0.14, 0.46, 0.70), (0.45, 0.76, 0.90))
    return _mix(bank, water, stream)


def _farm(s: _Scene, sky: torch.Tensor) -> torch.Tensor:
    line = s.waves(0.60, 0.015, 30, 2)
    field = _land(s, sky, line, s.colour(0.86, 0.70, 0.30, 4, 0.06), s.colour(0.93, 0.82, 0.45, 4, 0.06))
    spread = (s.x - s.aspect / 2) / (s.y - 0.50).clamp(min=0.03)
    furrow = (torch.sin(spread * 9 + s.r(3) * 6) > 0.25).float() * s.below(line + 0.01)
    field = _mix(field, s.colour(0.62, 0.46, 0.22, 6, 0.05) * s.light, furrow * 0.75)
    post = s.x / 0.09 - torch.floor(s.x / 0.09)
    fence = (
        (post < 0.16).float() * s.below(line - 0.05) + s.below(line - 0.038) * (1 - s.below(line - 0.026))
    ).clamp(0, 1)
    fence = fence * (1 - s.below(line + 0.012))
    return _mix(field, s.colour(0.97, 0.95, 0.90, 8, 0.04) * s.light, fence)


def _garden(s: _Scene, sky: torch.Tensor) -> torch.Tensor:
    bumps = 0.03 * torch.sin(2 * math.pi * (4.5 * s.x + s.r(4))).abs()
    sky = _land(
        s,
        sky,
        s.waves(0.56, 0.012, 30, 2) - bumps,
        s.colour(0.16, 0.42, 0.20, 2),
        s.colour(0.24, 0.54, 0.26, 2),
    )
    line = torch.full_like(s.x, 0.66)
    lawn = _land(s, sky, line, s.colour(0.36, 0.70, 0.30, 5), s.colour(0.50, 0.80, 0.42, 5))
    petals = ((0.93, 0.30, 0.42), (0.98, 0.76, 0.26), (0.72, 0.45, 0.88), (1.0, 1.0, 1.0))
    return _speckle(s, lawn, line - 0.10, petals, 0.10)


def _room(s: _Scene, sky: torch.Tensor) -> torch.Tensor:
    wall = s.colour(0.86, 0.80, 0.72, 2, 0.30)
    lamp = torch.where(s.night > 0, 0.62, 1.0)
    stripes = (torch.sin(2 * math.pi * s.x / 0.11) > 0).float() * (s.r(6) > 0.5).float()
    picture = (wall - 0.035 * stripes) * lamp + torch.zeros_like(s.y)
    window_x, half = s.aspect * (0.2 + 0.6 * s.r(7)), 0.15
    frame = ((s.x - window_x).abs() < half + 0.018).float() * ((s.y - 0.30).abs() < 0.188).float()
    pane = ((s.x - window_x).abs() < half).float() * ((s.y - 0.30).abs() < 0.17).float()
    cross = (((s.x - window_x).abs() < 0.008) | ((s.y - 0.30).abs() < 0.008)).float()
    picture = _mix(picture, torch.full_like(picture, 0.97) * lamp, frame)
    picture = _mix(picture, sky, pane * (1 - cross))
    line = torch.full_like(s.x, 0.72)
    floor = s.colour(0.66, 0.46, 0.30, 8, 0.12)
    board = torch.sin((s.x - s.aspect / 2) / (s.y - 0.45).clamp(min=0.05) * 12)
    picture = _mix(picture, (floor - 0.04 * (board > 0.9).float()) * lamp, s.below(line))
    picture = _mix(
        picture, torch.full_like(picture, 0.95) * lamp, s.below(line - 0.025) * (1 - s.below(line))
    )
    rug = (((s.x - s.aspect / 2) / 0.42) ** 2 + ((s.y - 0.88) / 0.085) ** 2 < 1).float()
    return _mix(picture, s.colour(0.72, 0.36, 0.40, 9, 0.5) * lamp, rug)


def _space(s: _Scene, sky: torch.Tensor) -> torch.Tensor:
    dark = s.colour(0.04, 0.03, 0.12, 2, 0.05) + torch.zeros_like(s.x * s.y)
    cloud = torch.sin(3 * s.x + 4 * s.y + 6 * s.r(3)) + torch.sin(5 * s.x - 3 * s.y + 6 * s.r(4))
    dark = dark + (cloud.clamp(0, 2) * 0.09) * s.colour(0.8, 0.3, 0.9, 5, 0.8)
    for cell, share in ((1 / 90, 0.994), (1 / 50, 0.990)):
        dark = _mix(dark, torch.ones_like(dark), (s.noise(cell, 6) > share).float() * 0.9)
    cx, cy, radius = s.aspect * s.r(8), 0.12 + 0.3 * s.r(9), 0.07 + 0.10 * s.r(10)
    ball = s.colour(0.75, 0.50, 0.45, 11, 0.7)
    shade = 1 - 0.55 * (((s.x - cx) + (s.y - cy)) / radius * 0.7 + 0.4).clamp(0, 1)
    return _mix(dark, ball * shade, s.disc(cx, cy, radius))


def _open_sky(s: _Scene, sky: torch.Tensor) -> torch.Tensor:
    white = torch.where(s.night > 0, 0.42, 0.97) * _constant(SPRITE_LIGHT, s.device)[s.time][:, :, None, None]
    bumps = (
        0.05 * torch.sin(2 * math.pi * (1.9 * s.x + s.r(33))).abs()
        + 0.03 * torch.sin(2 * math.pi * (3.7 * s.x + s.r(34))).abs()
    )
    return _mix(sky, white, ((s.y - (0.93 - bumps)) / (s.edge * 6) + 0.5).clamp(0, 1) * 0.92)


GROUNDS = (
    _meadow, _forest, _beach, _sea, _underwater, _desert, _snowfield, _mountains,
    _city, _village, _river, _farm, _garden, _room, _space, _open_sky,
)  # fmt: skip


def _rain(s: _Scene, canvas: torch.Tensor) -> torch.Tensor:
    canvas = canvas * 0.86
    slant = s.x + 0.22 * s.y
    for k, width in enumerate((0.019, 0.031)):
        column = torch.floor(slant / width)
        pick = torch.sin(column * 12.9898 + s.r(40 + k) * 60) * 43758.5453
        pick = pick - torch.floor(pick)
        along = s.y * (2.2 - 0.7 * k) + pick * 9
        drop = ((along - torch.floor(along)) < 0.16).float()
        thin = ((slant / width - column - 0.5).abs() < 0.07).float()
        canvas = _mix(canvas, torch.full_like(canvas, 0.88), drop * thin * 0.7)
    return canvas


def _snow(s: _Scene, canvas: torch.Tensor) -> torch.Tensor:
    for k, cell in enumerate((0.060, 0.036)):
        cx, cy = torch.floor(s.x / cell), torch.floor(s.y / cell)
        a = torch.sin(cx * 12.9898 + cy * 78.233 + s.r(40 + k) * 91.7) * 43758.5453
        b = torch.sin(cx * 39.346 + cy * 11.135 + s.r(42 + k) * 47.3) * 24634.6345
        a, b = a - torch.floor(a), b - torch.floor(b)
        fx, fy = s.x / cell - cx - 0.25 - 0.5 * a, s.y / cell - cy - 0.25 - 0.5 * b
        flake = ((0.11 - torch.sqrt(fx * fx + fy * fy)) * cell / s.edge + 0.5).clamp(0, 1)
        canvas = _mix(canvas, torch.full_like(canvas, 0.98), flake * (a * b < 0.10).float() * 0.95)
    return canvas


def _fog(s: _Scene, canvas: torch.Tensor) -> torch.Tensor:
    mist = torch.where(s.night > 0, 0.42, 0.90) * torch.ones(1, 3, 1, 1, device=s.device)
    band = (
        0.26
        + 0.36 * torch.exp(-(((s.y - 0.58) / 0.22) ** 2))
        + 0.07 * torch.sin(s.x * 5 + s.y * 9 + 6 * s.r(41))
    )
    return _mix(canvas, mist, band.clamp(0, 0.85))
