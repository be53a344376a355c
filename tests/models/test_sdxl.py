"""SDXL as a family: narrow models of its topology, from a folder and from one file, against diffusers' pipeline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from torch import Tensor

from jogak.image.prompt import encode
from jogak.models import DiffusionModel, describe, load, resolve
from jogak.models.samplers import SAMPLERS
from jogak.spec import ImageRequest, SpecError
from jogak.store import Store
from jogak.studio.picture import draw_pictures
from tests.models.true_layout import make_folder, make_single_file

# diffusers' schedulers meet numpy 2 so
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")

SIZE = 64
WORDS = "a fox in the snow, 여우"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("sdxl") / "folder", "sdxl")


@pytest.fixture(autouse=True)
def _own_home(home: Path) -> None:
    """Digests go into a cache of the test's own."""


@pytest.fixture
def model(folder: Path) -> DiffusionModel:
    return load(resolve(folder, "torch"))


def latents(batch: int = 1) -> Tensor:
    return torch.randn(batch, 4, SIZE // 8, SIZE // 8, generator=torch.Generator().manual_seed(3))


def pipeline(folder: Path):
    """diffusers' own, with tokenizers made from the shipped merges."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline
    from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
    from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection
    from transformers.models.clip.tokenization_clip import CLIPTokenizer

    from jogak.models.vocabulary import vocabulary_of

    words = vocabulary_of(folder / "tokenizer" / "merges.txt")
    return StableDiffusionXLPipeline(
        vae=AutoencoderKL.from_pretrained(folder / "vae"),
        text_encoder=CLIPTextModel.from_pretrained(folder / "text_encoder"),
        text_encoder_2=CLIPTextModelWithProjection.from_pretrained(folder / "text_encoder_2"),
        tokenizer=CLIPTokenizer(**words, model_max_length=77),
        tokenizer_2=CLIPTokenizer(**words, pad_token="!", model_max_length=77),
        unet=UNet2DConditionModel.from_pretrained(folder / "unet"),
        scheduler=EulerDiscreteScheduler.from_pretrained(folder / "scheduler", timestep_spacing="trailing"),
        add_watermarker=False,
    )


def test_it_is_described_and_runs_on_torch(folder: Path) -> None:
    facts = describe(folder)
    assert (facts.family, facts.text_width, facts.latent_channels, facts.size) == ("sdxl", 192, 4, 1024)
    assert resolve(folder).numeric.startswith("torch-")
    with pytest.raises(SpecError, match=r"OpenVINO does not run this family \(sdxl\)"):
        resolve(folder, "openvino")


def test_both_encoders_and_the_summary_are_diffusers(model: DiffusionModel, folder: Path) -> None:
    pipe = pipeline(folder)
    states, _, summary, _ = pipe.encode_prompt(WORDS, device="cpu", do_classifier_free_guidance=False)
    text, more = model.networks.unpack(latents(), model.encode_text([WORDS]))  # type: ignore[attr-defined]
    torch.testing.assert_close(text, states, rtol=0, atol=1e-5)
    torch.testing.assert_close(more["added_cond_kwargs"]["text_embeds"], summary, rtol=0, atol=1e-5)
    assert more["added_cond_kwargs"]["time_ids"].tolist() == [[SIZE, SIZE, 0, 0, SIZE, SIZE]]


def test_no_words_are_zeros_as_in_training(model: DiffusionModel) -> None:
    assert not model.encode_text([""]).any()
    assert model.encode_text([WORDS]).any()


def test_a_drawing_is_diffusers_drawing(model: DiffusionModel, folder: Path) -> None:
    """Four guided Euler steps from the same noise, latents within 0.5 % (rms) of diffusers' pipeline,
    whose sigmas differ from ours in the fourth digit; guidance multiplies that."""
    noise = latents()
    pipe = pipeline(folder)
    theirs = pipe(
        WORDS, num_inference_steps=4, guidance_scale=5.0, height=SIZE, width=SIZE, latents=noise.clone(),
        original_size=(SIZE, SIZE), target_size=(SIZE, SIZE), output_type="latent",
    ).images  # fmt: skip
    sigmas = model.sigmas(4)
    cond, uncond = encode(model, WORDS), encode(model, "")
    ours = SAMPLERS["euler"](
        lambda x, sigma: model.denoise(x, sigma, cond, uncond, 5.0), noise * sigmas[0], sigmas
    )
    assert ((ours - theirs).norm() / theirs.norm()).item() < 0.005


def test_one_file_draws_what_the_folder_draws(folder: Path, model: DiffusionModel, tmp_path: Path) -> None:
    path = tmp_path / "xl.safetensors"
    make_single_file(path, "sdxl", dtype=torch.float32)
    single = load(resolve(path, "torch"))
    cond = model.encode_text([WORDS])
    torch.testing.assert_close(single.encode_text([WORDS]), cond, rtol=0, atol=1e-6)
    x = latents(2)
    torch.testing.assert_close(single.denoise(x, 2.0, cond), model.denoise(x, 2.0, cond), rtol=0, atol=1e-4)
    torch.testing.assert_close(single.decode(x), model.decode(x), rtol=0, atol=1e-5)


def test_the_picture_journey_draws_with_it_unchanged(folder: Path, tmp_path: Path) -> None:
    request = ImageRequest(
        prompt="a [fox:owl:0.5] in the (snow:1.2) BREAK night", negative="blue", model=str(folder), width=SIZE,
        height=SIZE, steps=3, guidance=4.0, sampler="dpmpp_2m_karras",
    )  # fmt: skip
    drawn = draw_pictures(Store(tmp_path / "store"), request, resolve(folder, "torch"))[0]
    picture = np.asarray(PIL.Image.open(drawn.path))
    assert picture.shape == (SIZE, SIZE, 3)
    assert picture.std() > 1


def test_long_prompts_and_weights_go_the_same_way(model: DiffusionModel) -> None:
    long = "a (fox:1.4) in the snow, " * 30
    cond, uncond = encode(model, long), encode(model, "low quality")
    assert cond.shape == (1, 78 * 3, 192)
    text, more = model.networks.unpack(latents(), cond)  # type: ignore[attr-defined]
    assert text.shape == (1, 77 * 3, 192)
    assert more["added_cond_kwargs"]["text_embeds"].shape == (1, 128)
    drawn = model.denoise(latents(), 2.0, cond, uncond, 5.0)
    given, without = model.denoise(latents(), 2.0, cond), model.denoise(latents(), 2.0, uncond)
    torch.testing.assert_close(drawn, without + 5 * (given - without), rtol=1e-3, atol=2e-3)


def test_adapters_conditions_are_merged_with_the_familys_own(model: DiffusionModel) -> None:
    networks = model.networks
    seen: list[torch.Size] = []

    def condition(x: Tensor, timesteps: Tensor, cond: Tensor) -> dict:
        text, more = networks.unpack(x, cond)  # type: ignore[attr-defined]
        seen.append(text.shape)
        assert "text_embeds" in more["added_cond_kwargs"]
        return {"added_cond_kwargs": {"image_embeds": [torch.zeros(1)]}}

    cond = model.encode_text([WORDS])
    plain = model.denoise(latents(), 2.0, cond)
    networks.conditions.append(condition)  # type: ignore[attr-defined]
    try:
        assert model.denoise(latents(), 2.0, cond).equal(plain)
    finally:
        networks.conditions.remove(condition)  # type: ignore[attr-defined]
    assert seen == [torch.Size([1, 77, 192])]
