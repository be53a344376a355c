"""Training for models of the true layouts: SD 1.5 from one file, SDXL from a folder, and what is not trained."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file

from jogak.adapters.lora import lora, read_lora
from jogak.models import load
from jogak.models.safe import read_header
from jogak.spec import SpecError
from jogak.store import Store
from jogak.studio.train import estimate, plan, train
from tests.models.true_layout import make_folder, make_single_file, make_zimage_folder
from tests.tiny_training import losses, request


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_a_lora_for_the_true_layout_trains_and_fits(
    family: str, pictures: Path, store: Store, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    if family == "sd15":
        base = base.with_suffix(".safetensors")
        make_single_file(base, family)
    else:
        make_folder(base, family)
    planned = plan(request(base, steps=15, save_every=0, validate_every=15, sample_every=15), pictures)
    assert estimate(planned).parameters > 0
    done = train(store, planned, tmp_path / "run")
    checks = [line for line in losses(tmp_path / "run") if "seen" in line]
    assert checks[-1]["seen"] < checks[0]["seen"]
    names = load_file(done.checkpoints[-1])
    sgm = "lora_unet_input_blocks_4_1_proj_in.lora_down.weight"
    assert (sgm in names) == (family == "sdxl")
    metadata = read_header(done.checkpoints[-1]).metadata
    if family == "sdxl":
        assert metadata["modelspec.architecture"] == "stable-diffusion-xl-v1-base/lora"
    with lora(load(planned.ref), read_lora(done.checkpoints[-1])) as applied:
        assert applied.unknown == ()
        assert applied.modules > 50


def test_what_is_drawn_with_but_not_trained_is_said(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="not trained here"):
        plan(request(make_zimage_folder(tmp_path / "z")), pictures)
    with pytest.raises(SpecError, match="text-encoder"):
        plan(request(make_folder(tmp_path / "xl", "sdxl"), text_encoder=True), pictures)
