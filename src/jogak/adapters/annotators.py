"""Networks that find edges, depth or a body in a picture; weights from a local file or folder, safetensors only.

Those for photographs are brought along; for the poses of puppets and the depth of its pictures pocket has its own
(`jogak.models.keypoints`, `jogak.models.depth`).
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from jogak.models.depth import is_depth_net, load_depth_net
from jogak.models.diffusion import fill
from jogak.models.keypoints import FEWEST, NAME, Joints, is_keypoint_net, load_keypoints
from jogak.models.safe import read_header, read_json, read_part_headers, read_tensors
from jogak.spec import SpecError

MAX_SIDE = 1536
"""Longer pictures are made smaller for a network, and its map larger again."""
SURE = 0.3
"""A joint whose heat stays below this is not seen."""

Picture = NDArray[np.uint8]


class NobodySeen(SpecError):
    """The network was asked for a body, and there is none in the picture."""


def _stamp(path: Path) -> tuple[tuple[str, int, int], ...]:
    """What changes when a file or the files of a folder do."""
    parts = sorted(path.glob("*")) if path.is_dir() else [path]
    return tuple((part.name, part.stat().st_size, part.stat().st_mtime_ns) for part in parts)


def _smaller(picture: Picture) -> Picture:
    height, width = picture.shape[:2]
    share = MAX_SIDE / max(height, width)
    if share >= 1:
        return picture
    size = max(1, round(width * share)), max(1, round(height * share))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def _back(found: NDArray[np.float32], like: Picture) -> Picture:
    """A map with values from 0 to 255 at the size of a picture."""
    height, width = like.shape[:2]
    if found.shape != (height, width):
        found = cv2.resize(found, (width, height), interpolation=cv2.INTER_LINEAR)  # type: ignore[assignment]
    return found.clip(0, 255).astype(np.uint8)


# HED


class _Stage(nn.Module):
    """A stage of VGG-16 with its side output; the names are those of the files."""

    def __init__(self, taken: int, width: int, layers: int) -> None:
        super().__init__()
        sizes = [taken, *[width] * layers]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(sizes))
        self.projection = nn.Conv2d(width, 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        for conv in self.convs:
            x = F.relu(conv(x))
        return x, self.projection(x)


class _Hed(nn.Module):
    """The network of lllyasviel's ControlNetHED (Apache-2.0): RGB pixels from 0 to 255 -> five maps of logits. With
    `combine` it is the original one, whose five maps are weighed by a last layer."""

    def __init__(self, combined: bool) -> None:
        super().__init__()
        self.norm = nn.Parameter(torch.zeros(1, 3, 1, 1))
        for number, (taken, width, layers) in enumerate(
            ((3, 64, 2), (64, 128, 2), (128, 256, 3), (256, 512, 3), (512, 512, 3)), 1
        ):
            setattr(self, f"block{number}", _Stage(taken, width, layers))
        self.combine = nn.Conv2d(5, 1, 1) if combined else None

    def forward(self, pixels: Tensor) -> Tensor:
        """(1, 3, H, W) -> (H, W) from 0 to 1."""
        x, sides = pixels - self.norm, []
        for number in range(1, 6):
            x, side = getattr(self, f"block{number}")(x if number == 1 else F.max_pool2d(x, 2))
            sides.append(F.interpolate(side, size=pixels.shape[2:], mode="bilinear", align_corners=False))
        all_five = torch.cat(sides, dim=1)
        logits = self.combine(all_five) if self.combine is not None else all_five.mean(1, keepdim=True)
        return logits.sigmoid()[0, 0]


_BSDS_MEAN = (122.67891434, 116.66876762, 104.00698793)
"""RGB mean that the original network subtracts; its own channels are BGR."""
_BSDS_STAGES = ("One", "Two", "Thr", "Fou", "Fiv")


def _from_bsds(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names of the original HED as pytorch-hed (sniklaus) saved it -> those of `_Hed`."""
    found: dict[str, Tensor] = {"norm": torch.tensor(_BSDS_MEAN).view(1, 3, 1, 1)}
    for name, tensor in weights.items():
        part, *rest = name.removeprefix("module").removeprefix("net").split(".")
        last = rest[-1]
        if part == "Combine":
            found[f"combine.{last}"] = tensor
        elif part.startswith("Score"):
            found[f"block{_BSDS_STAGES.index(part[5:]) + 1}.projection.{last}"] = tensor
        elif part.startswith("Vgg"):
            stage = _BSDS_STAGES.index(part[3:])
            # numbered with the activations between them, and from the second stage on with the pooling before
            number = (int(rest[0]) - (stage > 0)) // 2
            if stage == 0 and number == 0 and last == "weight":
                tensor = tensor.flip(1)
            found[f"block{stage + 1}.convs.{number}.{last}"] = tensor
        else:
            raise SpecError(f"the HED network has an unknown part {name[:60]}.")
    return found


@lru_cache(maxsize=1)
def _load_hed(path: Path, stamp: tuple[Any, ...]) -> nn.Module:
    names = read_header(path).tensors.keys()
    weights = read_tensors(path, names)
    if "block1.convs.0.weight" in names:
        return fill(lambda: _Hed(False), weights, path)
    if any("VggOne" in name for name in names):
        return fill(lambda: _Hed(True), _from_bsds(weights), path)
    raise SpecError(
        f"{path} is no HED network that is known; give ControlNetHED or hed-bsds500 as safetensors."
    )


@torch.inference_mode()
def hed_edges(path: Path, picture: Picture) -> Picture:
    """(H, W, 3) -> (H, W) soft edges. Raises `SpecError` when the file is no HED network."""
    net = _load_hed(path, _stamp(path))
    pixels = torch.from_numpy(_smaller(picture).astype(np.float32)).permute(2, 0, 1)[None]
    if min(pixels.shape[2:]) < 16:
        raise SpecError("a picture of less than 16 pixels a side has no HED edges.")
    return _back(net(pixels).numpy() * 255, picture)


# networks of transformers


def _folder(path: Path, what: str) -> None:
    """Raises `SpecError` or `UnsafeWeights` unless the folder has a configuration and checked safetensors."""
    if not (path / "config.json").is_file():
        raise SpecError(f"{path} has no config.json; give the folder of {what}, with model.safetensors.")
    read_part_headers(path, "model")


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


@lru_cache(maxsize=1)
def _load_depth(path: Path, stamp: tuple[Any, ...]) -> Any:
    from transformers import AutoModelForDepthEstimation
    from transformers.utils import logging

    logging.disable_progress_bar()  # it would write across our own
    try:
        net = AutoModelForDepthEstimation.from_pretrained(
            path, local_files_only=True, use_safetensors=True, dtype=torch.float32
        )
    except Exception as error:  # transformers raises whatever it meets in a configuration
        raise SpecError(f"{path} is no depth network that can be run: {_short(error)}.") from None
    return net.eval().requires_grad_(False)


@torch.inference_mode()
def depth_map(path: Path, picture: Picture) -> Picture:
    """(H, W, 3) -> (H, W), near is 255 and far 0. Raises `SpecError` when the folder holds no depth network."""
    _folder(path, "DPT or Depth Anything")
    if is_depth_net(path):
        return load_depth_net(path)(picture)
    net = _load_depth(path, _stamp(path))
    pixels = _normalised(path, _for_depth(path, _smaller(picture)))
    depth = net(pixel_values=pixels).predicted_depth[0].float()
    low, high = depth.min(), depth.max()
    if not torch.isfinite(depth).all() or high <= low:
        return np.zeros(picture.shape[:2], np.uint8)
    shades = (depth - low) / (high - low)
    # networks that tell a distance in metres give far the large number
    if getattr(net.config, "depth_estimation_type", "relative") == "metric":
        shades = 1 - shades
    return _back((shades * 255).numpy(), picture)


def _preparation(path: Path) -> dict[str, Any]:
    file = path / "preprocessor_config.json"
    said = read_json(file) if file.is_file() else {}
    return said if isinstance(said, dict) else {}


def _for_depth(path: Path, picture: Picture) -> Picture:
    """The picture at the size that the network was trained on: a square, or of its own proportion when the folder
    says so, sides a multiple of the network's patches."""
    said = _preparation(path)
    size = said.get("size", 384)
    height, width = (
        (size, size) if isinstance(size, int) else (size.get("height", 384), size.get("width", 384))
    )
    step = said.get("ensure_multiple_of") or 1
    if not all(isinstance(value, int) and 1 <= value <= MAX_SIDE for value in (height, width, step)):
        raise SpecError(f"{path}/preprocessor_config.json asks for a size that makes no sense.")
    if said.get("keep_aspect_ratio"):
        shares = height / picture.shape[0], width / picture.shape[1]
        share = min(shares, key=lambda value: abs(1 - value))
        height, width = (min(MAX_SIDE, round(side * share)) for side in picture.shape[:2])
    height, width = (max(step, round(side / step) * step) for side in (height, width))
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC)  # type: ignore[return-value]


def _normalised(path: Path, picture: Picture) -> Tensor:
    """(H, W, 3) -> (1, 3, H, W) as the network takes it."""
    said = _preparation(path)
    mean, std = said.get("image_mean", [0.485, 0.456, 0.406]), said.get("image_std", [0.229, 0.224, 0.225])
    scaled = (picture.astype(np.float32) / 255 - np.array(mean, np.float32)) / np.array(std, np.float32)
    return torch.from_numpy(scaled).permute(2, 0, 1)[None]


@lru_cache(maxsize=1)
def _load_pose(path: Path, stamp: tuple[Any, ...]) -> Any:
    from transformers import VitPoseForPoseEstimation
    from transformers.utils import logging

    logging.disable_progress_bar()  # it would write across our own
    try:
        net = VitPoseForPoseEstimation.from_pretrained(
            path, local_files_only=True, use_safetensors=True, dtype=torch.float32
        )
    except Exception as error:  # transformers raises whatever it meets in a configuration
        raise SpecError(f"{path} is no pose network that can be run (ViTPose): {_short(error)}.") from None
    return net.eval().requires_grad_(False)


_COCO = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
)  # fmt: skip


def pose_reader(path: Path) -> str:
    """What reads the poses of a folder: "vitpose" or "pocket-keypoints". Raises `SpecError` without a config.json."""
    _folder(path, "ViTPose")
    return NAME if is_keypoint_net(path) else "vitpose"


def body_points(path: Path, picture: Picture) -> Joints:
    """The 18 joints (`poses.JOINTS`) of the one figure in the picture, as shares of its width and height.

    A ViTPose takes the picture as a whole for the person's box: cut it to the person first. Raises `SpecError` when
    the folder holds neither ViTPose nor pocket's keypoint net, `NobodySeen` when the picture holds nobody.
    """
    points = load_keypoints(path)(picture) if pose_reader(path) == NAME else _vitpose_points(path, picture)
    if sum(point is not None for point in points) < FEWEST:
        raise NobodySeen(
            "nobody is seen in the picture; cut it to the person, name a pose, or give a ready pose map (none=)."
        )
    return points


@torch.inference_mode()
def _vitpose_points(path: Path, picture: Picture) -> Joints:
    from jogak.adapters.poses import JOINTS

    net = _load_pose(path, _stamp(path))
    rows, columns = net.config.backbone_config.image_size
    height, width = picture.shape[:2]
    share = min(columns / width, rows / height)
    move = np.array(
        [[share, 0, (columns - width * share) / 2], [0, share, (rows - height * share) / 2]], np.float32
    )
    box = cv2.warpAffine(picture, move, (columns, rows), flags=cv2.INTER_LINEAR)
    more = {"dataset_index": torch.tensor([0])} if net.config.backbone_config.num_experts > 1 else {}
    heat = net(pixel_values=_normalised(path, box), **more).heatmaps[0].numpy()  # type: ignore[arg-type]
    seen: dict[str, tuple[float, float]] = {}
    for name, map_of_one in zip(_COCO, heat[: len(_COCO)], strict=True):
        y, x = divmod(int(map_of_one.argmax()), map_of_one.shape[1])
        if map_of_one[y, x] >= SURE:
            column = (x + 0.5) * columns / map_of_one.shape[1]
            row = (y + 0.5) * rows / map_of_one.shape[0]
            seen[name] = ((column - move[0, 2]) / share / width, (row - move[1, 2]) / share / height)
    if "left_shoulder" in seen and "right_shoulder" in seen:
        (x0, y0), (x1, y1) = seen["left_shoulder"], seen["right_shoulder"]
        seen["neck"] = (x0 + x1) / 2, (y0 + y1) / 2
    return [seen.get(name) for name in JOINTS]
