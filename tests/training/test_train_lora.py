"""A trained file means the same to everybody: to peft that trained it, to our reader, and to plain diffusers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import Tensor
from transformers.models.clip.modeling_clip import CLIPTextModel
from transformers.models.clip.tokenization_clip import CLIPTokenizer

from jogak.adapters.kohya import write_kohya
from jogak.adapters.lora import lora, read_lora
from jogak.models import load, resolve
from jogak.models.diffusion import build_text_encoder, build_unet
from jogak.spec import SpecError
from jogak.spec.training import LoraKind, TrainRequest
from jogak.training.checkpoint import half
from jogak.training.lora import for_file, inject

KINDS: tuple[LoraKind, ...] = ("lora", "dora", "loha", "lokr")


def stirred(parameters: dict[str, torch.nn.Parameter], request: TrainRequest) -> dict[str, Tensor]:
    """The adapter as if trained: every factor far from zero, and rounded as the file rounds it."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, one in parameters.items():
            stir = torch.randn(one.shape, generator=generator)
            one.copy_(one * (1 + 0.1 * stir) if "magnitude" in name else 0.2 * stir)
            one.copy_(one.half().float())
    return {name: one.detach().clone() for name, one in parameters.items()}


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(4)
    return (
        torch.randn(2, 8, 8, 8, generator=generator),
        torch.tensor([10.0, 700.0]),
        torch.randn(2, 77, 64, generator=generator),
    )


def said(unet: Any) -> Tensor:
    x, times, text = inputs()
    with torch.inference_mode():
        return unet(x, times, text, return_dict=False)[0]


def written(
    kind: LoraKind, folder: Path, path: Path, rank: int = 4, alpha: float = 2.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Writes a stirred LoRA; returns what peft's own UNet and text encoder say with it, and the plain UNet."""
    request = TrainRequest(kind=kind, rank=rank, alpha=alpha)
    torch.manual_seed(1)
    unet, text = build_unet(folder), build_text_encoder(folder)
    plain = said(unet)
    parameters = inject(unet, request), inject(text, request, text=True)
    torch.testing.assert_close(said(unet), plain, rtol=1e-4, atol=1e-5)
    kept = [half(for_file(stirred(one, request), request)) for one in parameters]
    write_kohya(path, kept[0], kept[1], {"ss_base_model_version": "sd_v1"}, alpha)
    ids = torch.arange(77)[None] % 60
    with torch.inference_mode():
        return said(unet), text(input_ids=ids, return_dict=False)[0], plain


@pytest.mark.parametrize("kind", KINDS)
def test_our_reader_gives_what_peft_gives(kind: LoraKind, pocket_like: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    unet, text, plain = written(kind, pocket_like, path)
    assert (unet - plain).abs().max() > 0.01, "it does something"
    model = load(resolve(pocket_like, "torch"))
    networks: Any = model.networks
    with lora(model, read_lora(path)):
        torch.testing.assert_close(said(networks.unet_module), unet, rtol=1e-3, atol=1e-4)
        got = networks.text(torch.arange(77)[None] % 60)
        torch.testing.assert_close(got, text, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(said(networks.unet_module), plain, rtol=0, atol=0)


@pytest.mark.parametrize("rank", [2, 64])
def test_lokr_keeps_its_scale_whether_its_factors_are_whole_or_not(
    rank: int, pocket_like: Path, tmp_path: Path
) -> None:
    path = tmp_path / "x.safetensors"
    unet, _, _ = written("lokr", pocket_like, path, rank=rank, alpha=0.5 * rank)
    model = load(resolve(pocket_like, "torch"))
    networks: Any = model.networks
    with lora(model, read_lora(path)):
        torch.testing.assert_close(said(networks.unet_module), unet, rtol=1e-3, atol=1e-4)


def plain_pipeline(folder: Path) -> StableDiffusionPipeline:
    return StableDiffusionPipeline(
        AutoencoderKL.from_pretrained(folder / "vae"),
        CLIPTextModel.from_pretrained(folder / "text_encoder"),
        CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        UNet2DConditionModel.from_pretrained(folder / "unet"),
        DDIMScheduler.from_pretrained(folder / "scheduler"),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip  # pyright: ignore[reportArgumentType]


def test_plain_diffusers_gives_what_peft_gives(pocket_like: Path, tmp_path: Path) -> None:
    """For `lora`. diffusers 0.42 leaves `dora_scale` out of kohya's files with a warning, and reads no LoHa or LoKr."""
    path = tmp_path / "x.safetensors"
    unet, text, plain = written("lora", pocket_like, path)
    pipe = plain_pipeline(pocket_like)
    assert (said(pipe.unet) - plain).abs().max() < 1e-5
    pipe.load_lora_weights(tmp_path, weight_name=path.name)
    torch.testing.assert_close(said(pipe.unet), unet, rtol=1e-3, atol=1e-4)
    with torch.inference_mode():
        got = pipe.text_encoder(input_ids=torch.arange(77)[None] % 60, return_dict=False)[0]
    torch.testing.assert_close(got, text, rtol=1e-3, atol=1e-4)


def test_only_the_adapter_trains(pocket_like: Path) -> None:
    unet = build_unet(pocket_like)
    parameters = inject(unet, TrainRequest(rank=2, alpha=2, targets="attention"))
    assert {name for name, one in unet.named_parameters() if one.requires_grad} == {
        name.replace(".weight", ".default.weight") for name in parameters
    }
    assert all(any(part in name for part in ("to_q", "to_k", "to_v", "to_out")) for name in parameters)
    more = inject(build_unet(pocket_like), TrainRequest(rank=2, alpha=2))
    assert len(more) > len(parameters)
    assert any(".ff.net.2." in name for name in more)


def test_a_base_without_such_layers_is_refused() -> None:
    with pytest.raises((SpecError, ValueError), match=r"targets|target modules"):
        inject(torch.nn.Sequential(torch.nn.Linear(2, 2)), TrainRequest())
