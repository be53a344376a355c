"""The depth net: its folder is read with care, and maps come back in the size of pictures of any shape."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from jogak.models.depth import DepthNet, DepthReader, has_depth_net, is_depth_net, read_depth_net
from jogak.spec import SpecError
from tests.tiny_depth import write_depth

NOISE = np.random.default_rng(1).integers(0, 256, (90, 160, 3), dtype=np.uint8)


def test_every_pixel_has_its_own_logit_and_every_part_learns() -> None:
    torch.manual_seed(0)
    net = DepthNet(8)
    found = net(torch.rand(2, 3, 64, 96))
    assert found.shape == (2, 1, 64, 96)
    found.square().mean().backward()
    assert [name for name, w in net.named_parameters() if w.grad is None or not w.grad.any()] == []


@pytest.mark.parametrize("size", [(256, 256), (180, 320), (320, 180), (90, 160), (33, 7)])
def test_a_map_has_the_pictures_size_and_its_nearest_place_is_255(
    size: tuple[int, int], tmp_path: Path
) -> None:
    picture = np.random.default_rng(2).integers(0, 256, (*size, 3), dtype=np.uint8)
    reader = DepthReader(write_depth(tmp_path / "net"))
    found = reader(picture)
    assert (found.shape, found.dtype, int(found.max())) == (size, np.uint8, 255)
    np.testing.assert_array_equal(found, reader(picture))


@pytest.mark.parametrize(
    "change",
    [{"model": "other"}, {"width": 4096}, {"width": 12}, {"side": 0}, {"side": "big"}, {"width": 16}],
)
def test_a_folder_that_does_not_fit_is_refused(change: dict[str, object], tmp_path: Path) -> None:
    folder = write_depth(tmp_path / "net")
    config = json.loads((folder / "config.json").read_text()) | change
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(SpecError, match="holds no depth net"):
        read_depth_net(folder)


def test_a_folder_without_a_net_is_refused_and_told_apart(tmp_path: Path) -> None:
    assert not has_depth_net(tmp_path)
    with pytest.raises(SpecError, match=r"pocket\.train\.depth"):
        read_depth_net(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    assert not is_depth_net(tmp_path)
    assert is_depth_net(write_depth(tmp_path / "net"))
