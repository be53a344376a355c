"""Shots in motion, measured: what redrawing does to flicker, sharpness, colour and life, and its cost.

    python -m benchmarks.motion [--seconds 2] [--strips DIR] [--variants]

One row a shot. `guide` is the same shot as a still panned and pasted, never drawn again: what is drawn should
be as steady, and as sharp as its keyframe.

- flicker: grey levels of difference between neighbours after motion is undone (lower is steadier)
- subject: VBench's subject consistency, on efficientnet-lite0 features
- sharp: variance of the Laplacian against the keyframe's (1 is equal)
- drift: CIE Lab difference of the mean colour, last quarter against first (1 is just noticeable)
- motion: speed of the fastest 5 % of the pixels, in pixels an eighth of a second at 256 lines
- drawn: grey levels between a frame and its guide: what the model itself changed
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np

from jogak.film import motion
from jogak.judge import features
from jogak.judge.film import consistency
from jogak.judge.motion import compensated, speeds
from jogak.models import load, resolve
from jogak.spec import Shot
from jogak.studio.film import TAKES

SHOTS = (
    ("a fox in a meadow on a sunny day", "pan_right", 0.5),
    ("close-up of an owl in a forest at night", "zoom_in", 0.3),
    ("a sailboat at sea at sunset", "still", 0.6),
    ("wide shot of a castle in the mountains in the morning", "tilt_up", 0.2),
    ("눈 내리는 마을의 고양이", "pan_left", 0.7),
    ("a rabbit running on the beach in the daytime", "zoom_out", 0.9),
    ("a robot in a city on a rainy night", "still", 0.0),
)
VARIANTS = {
    "chosen": motion.REDRAW,
    "strength 0.3": motion.REDRAW._replace(strength=0.3),
    "strength 0.6": motion.REDRAW._replace(strength=0.6),
    "2 steps": motion.REDRAW._replace(steps=2),
    "8 steps": motion.REDRAW._replace(steps=8),
    "no guidance": motion.REDRAW._replace(guidance=1.0),
    "guidance 4": motion.REDRAW._replace(guidance=4.0),
    "carry 0": motion.REDRAW._replace(carry=0.0),
    "carry 0.8": motion.REDRAW._replace(carry=0.8),
    "hold 1": motion.REDRAW._replace(hold=1.0),
    "hold 4": motion.REDRAW._replace(hold=4.0),
    "noise turns 0.1": motion.REDRAW._replace(noise_turn=0.1),
    "noise turns 1": motion.REDRAW._replace(noise_turn=1.0),
}
COLUMNS = ("flicker", "subject", "sharp", "drift", "motion", "drawn", "s/frame")


def sharpness(frame: np.ndarray) -> float:
    return float(cv2.Laplacian(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var())


def colour(frames: np.ndarray) -> np.ndarray:
    return np.mean(
        [cv2.cvtColor(f.astype(np.float32) / 255, cv2.COLOR_RGB2LAB).mean((0, 1)) for f in frames], axis=0
    )


def measure(frames: np.ndarray, guides: np.ndarray, key: np.ndarray, seconds: float) -> dict[str, float]:
    """`frames` and `guides` (N, H, W, 3), `key` (H, W, 3), uint8 RGB."""
    quarter = max(1, len(frames) // 4)
    drift = (colour(frames[-quarter:]) - colour(frames[:quarter])) - (
        colour(guides[-quarter:]) - colour(guides[:quarter])
    )
    return {
        "flicker": 255 * (1 - float(compensated(frames).mean())),
        "subject": float(consistency(features.features(frames)).mean()),
        "sharp": float(np.median([sharpness(f) for f in frames]) / sharpness(key)),
        "drift": float(np.linalg.norm(drift)),
        "motion": float(speeds(frames, motion.DRAWN_FPS)[:, 0].mean()),
        "drawn": float(np.abs(frames.astype(np.float32) - guides).mean()),
        "s/frame": seconds / len(frames),
    }


def strip(frames: np.ndarray, count: int = 6) -> np.ndarray:
    return np.hstack([frames[i] for i in np.linspace(0, len(frames) - 1, count).round().astype(int)])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of each shot")
    parser.add_argument("--shots", type=int, default=len(SHOTS), help="how many of the shots")
    parser.add_argument("--strips", type=Path, help="a folder for PNG strips: keyframe, then frames")
    parser.add_argument("--variants", action="store_true", help="compare settings instead of listing shots")
    given = parser.parse_args()
    model = load(resolve(given.model))
    rows: dict[str, list[dict[str, float]]] = {}
    for number, (prompt, camera, amount) in enumerate(SHOTS[: given.shots]):
        shot = Shot.parse(
            {
                "id": "s",
                "prompt": prompt,
                "camera": camera,
                "motion": amount,
                "seconds": given.seconds,
                "seed": number,
            }
        )
        picture = motion.picture_of(shot)
        key = motion.key_pixels(model, motion.key_of(shot), take=0)
        guides = np.stack(list(motion.guides(model, key, picture)))
        name = f"{camera} {prompt[:28]}"
        if not given.variants:
            rows.setdefault(f"guide: {name}", []).append(measure(guides, guides, key, 0))
        for variant, redraw in VARIANTS.items() if given.variants else [(name, motion.REDRAW)]:
            begun = time.perf_counter()
            frames = np.stack(list(motion.drawn_frames(model, key, picture, redraw)))
            rows.setdefault(variant, []).append(measure(frames, guides, key, time.perf_counter() - begun))
            if given.strips:
                given.strips.mkdir(parents=True, exist_ok=True)
                picture_strip = np.vstack(
                    [strip(np.concatenate([key[None], part])) for part in (guides, frames)]
                )
                cv2.imwrite(
                    str(given.strips / f"{number}-{variant[:20]}.png".replace(" ", "_")),
                    picture_strip[:, :, ::-1],
                )
    print(f"{'':44s}" + "".join(f"{column:>9s}" for column in COLUMNS))
    for name, found in rows.items():
        print(f"{name:44.44s}" + "".join(f"{np.mean([row[c] for row in found]):9.3f}" for c in COLUMNS))
    pace = motion.measure_pace(model)
    print(
        f"a pass {pace.denoise:.3f} s, encode {pace.encode:.3f} s, decode {pace.decode:.3f} s; "
        f"forecast for 16.5 s of film: {motion.shot_preview_cost(16.5, pace, takes=TAKES):.0f} s"
    )


if __name__ == "__main__":
    main()
