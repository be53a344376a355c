"""A set with a LoRA in it: the weights that both give together, and `pocket-fast`, which ships as one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from jogak.adapters.lora import lora
from jogak.adapters.lora_files import read_lora
from jogak.models import CATALOGUE, describe, load, resolve
from jogak.models.place import open_place, with_lora
from jogak.spec import SpecError


@pytest.fixture(autouse=True)
def _own_home(home: Path) -> None:
    """Digests go into a cache of the test's own."""


def test_pocket_fast_is_pocket_with_its_lora_on() -> None:
    fast = load(resolve("pocket-fast", backend="torch"))
    base = load(resolve("pocket", backend="torch"))
    x, cond = torch.randn(1, 8, 8, 8, generator=torch.Generator().manual_seed(1)), base.encode_text(["여우"])
    assert torch.equal(cond, fast.encode_text(["여우"]))
    baked = fast.denoise(x, 2.0, cond)
    assert not torch.allclose(baked, base.denoise(x, 2.0, cond), atol=1e-2)
    with lora(base, read_lora(CATALOGUE["pocket-fast"].folder.parent), 1.0):
        torch.testing.assert_close(baked, base.denoise(x, 2.0, cond), atol=2e-4, rtol=2e-4)


def test_a_set_is_known_by_its_lora_and_is_of_the_bases_family() -> None:
    fast, base = resolve("pocket-fast", backend="torch"), resolve("pocket", backend="torch")
    assert (fast.family, describe(fast.folder).size) == ("pocket", 256)
    assert fast.digest != base.digest


def test_factors_are_multiplied_in_the_weights_own_shape(tmp_path: Path) -> None:
    torch.manual_seed(0)
    flat, square = torch.randn(6, 4), torch.randn(6, 4, 3, 3)
    factors = {
        "unet.a.lora_A.weight": torch.randn(2, 4), "unet.a.lora_B.weight": torch.randn(6, 2),
        "unet.b.c.lora_A.weight": torch.randn(2, 4, 3, 3), "unet.b.c.lora_B.weight": torch.randn(6, 2, 1, 1),
    }  # fmt: skip
    save_file(factors, tmp_path / "l.safetensors")
    kept = torch.ones(3)
    found = with_lora(
        {"a.weight": flat, "b.c.weight": square, "a.bias": kept}, "unet", tmp_path / "l.safetensors"
    )
    torch.testing.assert_close(
        found["a.weight"], flat + factors["unet.a.lora_B.weight"] @ factors["unet.a.lora_A.weight"]
    )
    x = torch.randn(1, 4, 5, 5)
    within = torch.nn.functional.conv2d(
        torch.nn.functional.conv2d(x, factors["unet.b.c.lora_A.weight"]), factors["unet.b.c.lora_B.weight"]
    )
    torch.testing.assert_close(
        torch.nn.functional.conv2d(x, found["b.c.weight"]),
        torch.nn.functional.conv2d(x, square) + within, atol=1e-4, rtol=1e-4,
    )  # fmt: skip
    assert found["a.bias"] is kept
    assert with_lora({"a.weight": flat}, "vae", tmp_path / "l.safetensors") == {"a.weight": flat}


def test_what_does_not_fit_is_a_sentence(tmp_path: Path) -> None:
    save_file({"unet.nobody.lora_A.weight": torch.zeros(2, 4)}, tmp_path / "other.safetensors")
    (tmp_path / "set.json").write_text(json.dumps({"model": "pocket", "lora": "other.safetensors"}))
    with pytest.raises(SpecError, match=r"nobody.*--lora"):
        open_place(tmp_path / "set.json").weights("unet")
    flat = torch.zeros(6, 4)
    for down, up in (
        (torch.zeros(2, 5), torch.zeros(6, 2)),
        (torch.zeros(2, 4), torch.zeros(6, 3)),
        (flat[:2], None),
    ):
        halves = {"unet.a.lora_A.weight": down} | ({} if up is None else {"unet.a.lora_B.weight": up})
        save_file({name: half.clone() for name, half in halves.items()}, tmp_path / "other.safetensors")
        with pytest.raises(SpecError, match="no factor of a LoRA"):
            with_lora({"a.weight": flat}, "unet", tmp_path / "other.safetensors")
    (tmp_path / "set.json").write_text(json.dumps({"model": "pocket", "lora": "gone.safetensors"}))
    with pytest.raises(SpecError, match=r"gone\.safetensors.*not there"):
        open_place(tmp_path / "set.json")
