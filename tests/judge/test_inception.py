"""FID's network on a random checkpoint of the true layout: pytorch-fid's names and shapes, all 472 of them.

`inception_layout.txt` lists the 94 convolutions of torchvision's `Inception3(num_classes=1008, aux_logits=False)`, of
which pytorch-fid's file is a state dict; REFERENCE is what pytorch-fid 0.3.0's own code made of `checkpoint()`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from jogak.judge.inception import InceptionV3, inception_features, load_inception
from jogak.spec import JogakError

LAYOUT = Path(__file__).with_name("inception_layout.txt")
PICTURE = np.random.default_rng(0).integers(0, 256, (1, 180, 230, 3), np.uint8)
PLACES = [0, 7, 500, 1000, 1500, 2047]
REFERENCE = ([0.0372, 0.0125, 0.0296, 1.1768, 0.22, 0.0], 6.81748, 9.63049)


def checkpoint() -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(3)
    state: dict[str, Tensor] = {}
    for line in LAYOUT.read_text().splitlines():
        name, *shape = line.split()
        out, into, tall, wide = map(int, shape)
        state[f"{name}.conv.weight"] = (
            torch.randn(out, into, tall, wide, generator=random) * (2 / (into * tall * wide)) ** 0.5
        )
        for part in ("weight", "bias", "running_mean", "running_var"):
            values = torch.rand(out, generator=random)
            state[f"{name}.bn.{part}"] = (
                values + 0.5 if part in ("weight", "running_var") else values / 5 - 0.1
            )
    state["fc.weight"] = torch.randn(1008, 2048, generator=random) * 0.01
    state["fc.bias"] = torch.zeros(1008)
    return state


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inception") / "inception-fid.safetensors"
    save_file(checkpoint(), path)
    return path


def test_the_network_has_the_true_layout() -> None:
    with torch.device("meta"):
        own = {name: tuple(tensor.shape) for name, tensor in InceptionV3().state_dict().items()}
    own = {name: shape for name, shape in own.items() if not name.endswith("num_batches_tracked")}
    assert own == {name: tuple(tensor.shape) for name, tensor in checkpoint().items()}
    assert len(own) == 472


def test_features_are_those_of_pytorch_fid(file: Path) -> None:
    found = inception_features(load_inception(file), PICTURE)
    assert found.shape == (1, 2048)
    values, mean, deviation = REFERENCE
    np.testing.assert_allclose(found[0, PLACES], values, rtol=1e-3, atol=1e-3)
    assert found.mean() == pytest.approx(mean, rel=1e-3)
    assert found.std() == pytest.approx(deviation, rel=1e-3)


def test_counters_of_newer_files_do_not_matter(file: Path, tmp_path: Path) -> None:
    counted = checkpoint()
    counted |= {
        name.replace("running_var", "num_batches_tracked"): torch.tensor(9)
        for name in counted
        if "var" in name
    }
    save_file(counted, tmp_path / "counted.safetensors")
    found = inception_features(load_inception(tmp_path / "counted.safetensors"), PICTURE)
    np.testing.assert_array_equal(found, inception_features(load_inception(file), PICTURE))


def test_another_layout_is_refused_before_a_weight_is_read(tmp_path: Path) -> None:
    wrong = checkpoint()
    wrong["Mixed_7c.branch3x3_2a.conv.weight"] = torch.zeros(384, 384, 3, 1)
    save_file(wrong, tmp_path / "wrong.safetensors")
    with pytest.raises(JogakError, match=r"Mixed_7c.branch3x3_2a.conv.weight is \(384, 384, 3, 1\)"):
        load_inception(tmp_path / "wrong.safetensors")
    del wrong["Mixed_7c.branch3x3_2a.conv.weight"]
    save_file(wrong, tmp_path / "less.safetensors")
    with pytest.raises(JogakError, match="absent"):
        load_inception(tmp_path / "less.safetensors")


def test_a_pickle_is_refused_with_the_way_out(tmp_path: Path) -> None:
    torch.save({"x": torch.zeros(1)}, tmp_path / "pt_inception.pth")
    with pytest.raises(JogakError, match="convert it"):
        load_inception(tmp_path / "pt_inception.pth")
