"""A family of another kind, a flow-matching transformer, behind the same surface: against diffusers' pipeline."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from torch import Tensor

from jogak.image.prompt import encode
from jogak.models import DiffusionModel, describe, load, resolve
from jogak.models.samplers import SAMPLERS, schedule_of
from jogak.spec import ImageRequest, SpecError
from jogak.store import Store
from jogak.studio.picture import draw_pictures
from tests.models.true_layout import make_zimage_folder

SIZE = 64
WORDS = "a fox in the snow, 여우"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_zimage_folder(tmp_path_factory.mktemp("zimage") / "folder")


@pytest.fixture(autouse=True)
def _own_home(home: Path) -> None:
    """Digests and pictures go into a home of the test's own."""


@pytest.fixture
def model(folder: Path) -> DiffusionModel:
    return load(resolve(folder, "torch"))


def pipeline(folder: Path):
    """diffusers' own."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.transformers.transformer_z_image import ZImageTransformer2DModel
    from diffusers.pipelines.z_image.pipeline_z_image import ZImagePipeline
    from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
    from transformers import PreTrainedTokenizerFast

    from jogak.models.zimage import build_qwen

    return ZImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler.from_pretrained(folder / "scheduler"),
        vae=AutoencoderKL.from_pretrained(folder / "vae"),
        text_encoder=build_qwen(folder),
        tokenizer=PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer"),
        transformer=ZImageTransformer2DModel.from_pretrained(folder / "transformer").eval(),
    )


def noise(batch: int = 1) -> Tensor:
    return torch.randn(batch, 16, SIZE // 8, SIZE // 8, generator=torch.Generator().manual_seed(3))


def test_it_is_described_and_runs_on_torch(folder: Path) -> None:
    facts = describe(folder)
    assert (facts.family, facts.text_width, facts.latent_channels, facts.size) == ("zimage", 32, 16, 1024)
    assert resolve(folder).numeric.startswith("torch-")


def test_the_text_is_diffusers_text(model: DiffusionModel, folder: Path) -> None:
    theirs = pipeline(folder).encode_prompt([WORDS], do_classifier_free_guidance=False)[0][0]
    rows = model.encode_text([WORDS])
    assert rows.shape == (1, 512, 32)
    lead = len(model._before)  # type: ignore[attr-defined]
    ours = rows.roll(lead - 1, dims=1)[0]
    torch.testing.assert_close(ours[: len(theirs)], theirs, rtol=0, atol=1e-5)
    assert not ours[len(theirs) :].any()


def test_sigmas_are_those_of_the_shifted_flow(model: DiffusionModel, folder: Path) -> None:
    scheduler = pipeline(folder).scheduler
    for steps in (4, 8, 20):
        scheduler.set_timesteps(sigmas=torch.linspace(1.0, 1 / steps, steps).tolist())
        t = scheduler.sigmas[1:]
        torch.testing.assert_close(model.sigmas(steps)[1:], t / (1 - t), rtol=2e-3, atol=1e-6)
    assert model.sigma_max == pytest.approx(4472)


@pytest.mark.parametrize("guidance", [1.0, 4.0])
@pytest.mark.parametrize("sampler", ["euler", "ddim"])
def test_a_drawing_is_diffusers_drawing(
    model: DiffusionModel, folder: Path, guidance: float, sampler: str
) -> None:
    """Four steps from the same noise, latents within 0.3 % (rms) of diffusers' pipeline. It starts at t = 1, where
    sigma is infinite, we at t = 0.9998; guidance multiplies the difference."""
    theirs = pipeline(folder)(
        WORDS, negative_prompt="blue", num_inference_steps=4, guidance_scale=guidance - 1, height=SIZE, width=SIZE,
        latents=noise(), output_type="latent",
    ).images  # fmt: skip
    sigmas = model.sigmas(4)
    cond, uncond = encode(model, WORDS), encode(model, "blue")
    ours = SAMPLERS[sampler](
        lambda x, sigma: model.denoise(x, sigma, cond, uncond, guidance), noise() * sigmas[0], sigmas
    )
    assert ((ours - theirs).norm() / theirs.norm()).item() < 0.003


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_of_the_house_walks_the_flow(model: DiffusionModel, sampler: str) -> None:
    sigmas = model.sigmas(5, schedule_of(sampler))
    assert (sigmas.diff() < 0).all()
    cond = encode(model, WORDS)
    drawn = SAMPLERS[sampler](
        lambda x, sigma: model.denoise(x, sigma, cond), noise() * sigmas[0], sigmas,
        generator=torch.Generator().manual_seed(1),
    )  # fmt: skip
    assert torch.isfinite(drawn).all()
    assert drawn.abs().max() < 100


def test_weights_fall_on_the_words_own_rows(model: DiffusionModel) -> None:
    """The chat around the prompt takes no weight, and padding stays none."""
    plain, heavy = encode(model, "a fox"), encode(model, "a (fox:1.5)")
    changed = (plain - heavy).abs().amax(dim=2)[0] > 0
    ids = model.tokens("a fox")
    assert set(changed.nonzero().flatten().tolist()) >= {len(ids) - 1, len(ids)}
    padding = ~plain.any(dim=2)[0]
    assert padding.sum() == 512 - len(model._before) - len(ids) - len(model._after)  # type: ignore[attr-defined]
    assert not heavy[0][padding].any()


def test_several_chunks_and_unequal_prompts(model: DiffusionModel) -> None:
    cond, uncond = encode(model, "a fox BREAK an owl"), encode(model, "blue")
    assert cond.shape == (1, 1024, 32)
    guided = model.denoise(noise(), 2.0, cond, uncond, 3.0)
    given, without = model.denoise(noise(), 2.0, cond), model.denoise(noise(), 2.0, uncond)
    torch.testing.assert_close(guided, without + 3 * (given - without), rtol=1e-3, atol=1e-3)


def test_the_autoencoder_shifts_and_scales(model: DiffusionModel, folder: Path) -> None:
    vae = pipeline(folder).vae
    pixels = torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        latents = (vae.encode(pixels).latent_dist.mean - 0.1159) * 0.3611
    torch.testing.assert_close(model.encode(pixels), latents, rtol=0, atol=1e-5)
    with torch.inference_mode():
        decoded = vae.decode(latents / 0.3611 + 0.1159).sample.clamp(-1, 1)
    torch.testing.assert_close(model.decode(latents), decoded, rtol=0, atol=1e-4)


def test_the_picture_journey_draws_with_it_unchanged(folder: Path, tmp_path: Path) -> None:
    request = ImageRequest(
        prompt="a [fox:owl:0.5] in the (snow:1.2)", negative="blue", model=str(folder), width=SIZE, height=SIZE,
        steps=3, guidance=2.0, sampler="euler",
    )  # fmt: skip
    store = Store(tmp_path / "store")
    drawn = draw_pictures(store, request, resolve(folder, "torch"))[0]
    picture = np.asarray(PIL.Image.open(drawn.path))
    assert picture.shape == (SIZE, SIZE, 3)
    assert picture.std() > 1


@pytest.mark.parametrize("names", ["fp8", "text-int8", "vae-tiles"])
def test_memory_settings_work_here_too(folder: Path, model: DiffusionModel, names: str) -> None:
    from jogak.spec.memory import Memory

    other = load(resolve(folder, "torch", memory=Memory.of_names(names)))
    cond = other.encode_text([WORDS])
    plain = model.denoise(noise(), 2.0, model.encode_text([WORDS]))
    assert ((other.denoise(noise(), 2.0, cond) - plain).norm() / plain.norm()).item() < 0.2


def test_odd_sides_and_moving_schedules_are_refused(
    folder: Path, model: DiffusionModel, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match="multiples of 16"):
        model.denoise(torch.zeros(1, 16, 7, 8), 1.0, model.encode_text(["fox"]))
    other = shutil.copytree(folder, tmp_path / "flux-like")
    path = other / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"use_dynamic_shifting": True}))
    with pytest.raises(SpecError, match="use_dynamic_shifting"):
        load(resolve(other, "torch"))


def test_the_family_costs_one_file_and_one_entry() -> None:
    """Beside its module and its entry, only the names that preflight says to people mention it."""
    package = Path(__file__).parents[2] / "src" / "jogak" / "models"
    mentions = {
        path.name
        for path in package.rglob("*.py")
        if re.search("z-?image", path.read_text(encoding="utf-8"), re.IGNORECASE)
    }
    assert mentions == {"zimage.py", "catalogue.py", "preflight.py", "recognise.py"}
    assert (package / "catalogue.py").read_text(encoding="utf-8").count("jogak.models.zimage") == 1
