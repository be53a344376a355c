"""Loading folders of the true layouts, and what the loaded model computes, against diffusers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from jogak.models import describe, diffusion, load, openvino_backend, resolve
from jogak.models.samplers import SAMPLERS, schedule_of
from jogak.spec import SpecError

# diffusers' schedulers meet numpy 2 so
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")

WORDS = ["a fox, red 여우", "cat"]


def copy(folder: Path, target: Path) -> Path:
    shutil.copytree(folder, target)
    return target


def rewrite(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def relative_error(found: Tensor, exact: Tensor) -> float:
    return ((found - exact).square().mean() / exact.square().mean()).sqrt().item()


# what is known before loading


def test_resolving_does_not_import_torch() -> None:
    code = "import sys, jogak.models as m; m.resolve('pocket', 'torch'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_folder_is_described_from_its_configuration(pocket_like: Path, sd15_like: Path) -> None:
    facts = describe(pocket_like)
    assert (facts.text_width, facts.latent_channels, facts.size) == (64, 8, 64)
    assert describe(sd15_like).latent_channels == 4
    assert describe(sd15_like).megabytes > 1


def test_an_unknown_name_lists_the_near_one() -> None:
    with pytest.raises(SpecError, match=r'"pockett" is neither.*Did you mean "pocket"\?'):
        resolve("pockett")


@pytest.mark.parametrize(
    ("file", "changes", "words"),
    [
        (
            "model_index.json",
            {"_class_name": "StableDiffusion3Pipeline"},
            "holds a StableDiffusion3Pipeline",
        ),
        ("unet/config.json", {"in_channels": 9}, "9 channels"),
        ("vae/config.json", {"latent_channels": 8}, "do not belong together"),
        ("unet/config.json", {"cross_attention_dim": [1]}, "incomplete"),
    ],
)
def test_what_cannot_be_run_is_refused_in_words(
    sd15_like: Path, tmp_path: Path, file: str, changes: dict, words: str
) -> None:
    folder = copy(sd15_like, tmp_path / "m")
    rewrite(folder / file, **changes)
    with pytest.raises(SpecError, match=words):
        resolve(folder)


def test_an_incomplete_folder_is_refused(sd15_like: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"no model_index\.json"):
        resolve(tmp_path)
    folder = copy(sd15_like, tmp_path / "m")
    shutil.rmtree(folder / "vae")
    with pytest.raises(SpecError, match="lacks the folder vae/"):
        resolve(folder)


def test_the_numeric_mode_names_backend_precision_and_threads(
    pocket_like: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOGAK_THREADS", "3")
    assert resolve(pocket_like, "torch").numeric == "torch-fp32-t3"
    assert resolve(pocket_like, "openvino").numeric in ("openvino-bf16-t3", "openvino-f32-t3")
    monkeypatch.setenv("JOGAK_BACKEND", "torch")
    assert resolve(pocket_like).numeric == "torch-fp32-t3"
    monkeypatch.setenv("JOGAK_BACKEND", "abacus")
    with pytest.raises(SpecError, match="abacus"):
        resolve(pocket_like)


# loading


def test_a_model_stays_warm(pocket_like: Path) -> None:
    assert load(resolve(pocket_like, "torch")) is load(resolve(pocket_like, "torch"))


def test_weights_that_changed_after_they_were_looked_up_are_refused(
    pocket_like: Path, tmp_path: Path
) -> None:
    folder = copy(pocket_like, tmp_path / "m")
    ref = resolve(folder, "torch")
    rewrite(folder / "vae" / "config.json", scaling_factor=2.0)
    with pytest.raises(SpecError, match="changed after"):
        load(ref)


def test_weights_that_do_not_fit_the_configuration_are_refused(pocket_like: Path, tmp_path: Path) -> None:
    folder = copy(pocket_like, tmp_path / "m")
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    save_file({name: tensor for name, tensor in weights.items() if name != "conv_in.bias"}, path)
    with pytest.raises(SpecError, match=r"lack conv_in\.bias"):
        load(resolve(folder, "torch"))
    save_file(weights | {"conv_in.bias": torch.zeros(5)}, path)
    with pytest.raises(SpecError, match=r"conv_in\.bias is \(5,\)"):
        load(resolve(folder, "torch"))
    save_file(weights | {"more": torch.zeros(5)}, path)
    with pytest.raises(SpecError, match="unknown more"):
        load(resolve(folder, "torch"))


@pytest.mark.parametrize("layout", ["pocket_like", "sd15_like"])
def test_text_is_what_transformers_makes_of_it(layout: str, request: pytest.FixtureRequest) -> None:
    from transformers.models.clip.modeling_clip import CLIPTextModel
    from transformers.models.clip.tokenization_clip import CLIPTokenizer

    folder: Path = request.getfixturevalue(layout)
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    encoder = CLIPTextModel.from_pretrained(folder / "text_encoder", local_files_only=True).eval()
    long = [*WORDS, "", "fox " * 200, "  Spaces\n and\tCAPITALS!! 1234 it's"]
    ids = tokenizer(
        long, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
    ).input_ids  # fmt: skip
    with torch.inference_mode():
        exact = encoder(input_ids=ids)[0]
    found = load(resolve(folder, "torch")).encode_text(long)
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-5)


# the noise scale


def test_sigmas_follow_diffusers_schedules(pocket_like: Path, sd15_like: Path) -> None:
    from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
    from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler

    sd15, pocket = load(resolve(sd15_like, "torch")), load(resolve(pocket_like, "torch"))
    for model, rescale in ((sd15, False), (pocket, True)):
        euler = EulerDiscreteScheduler.from_pretrained(
            model.ref.folder / "scheduler", timestep_spacing="trailing", rescale_betas_zero_snr=rescale
        )
        for steps in (4, 7, 20, 30):
            euler.set_timesteps(steps)
            ours = model.sigmas(steps, "trailing")
            assert ours.shape == (steps + 1,)
            torch.testing.assert_close(ours[1:], euler.sigmas[1:], rtol=2e-3, atol=1e-6)
    karras = DPMSolverMultistepScheduler.from_pretrained(
        sd15_like / "scheduler", use_karras_sigmas=True, final_sigmas_type="zero"
    )
    karras.set_timesteps(20)
    # diffusers spaces what it then rounds to its own timesteps; ours are k-diffusion's exact ones
    torch.testing.assert_close(sd15.sigmas(20, "karras"), karras.sigmas, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("steps", [1, 2, 3, 8, 150])
@pytest.mark.parametrize("schedule", ["trailing", "karras"])
def test_schedules_descend_from_pure_noise_to_nothing(pocket_like: Path, steps: int, schedule) -> None:
    model = load(resolve(pocket_like, "torch"))
    sigmas = model.sigmas(steps, schedule)
    assert sigmas.shape == (steps + 1,)
    assert sigmas.dtype == torch.float32
    assert (sigmas.diff() < 0).all()
    assert sigmas[0].item() == pytest.approx(4472.13, rel=1e-5)
    assert sigmas[-1] == 0
    if schedule == "karras" and steps > 2:
        assert sigmas[1] <= 14.6
        assert sigmas[-2].item() == pytest.approx(model.sigma_min, rel=1e-5)


def test_timesteps_and_sigmas_are_inverse(pocket_like: Path) -> None:
    model = load(resolve(pocket_like, "torch"))
    every = model.sigmas(1000, "trailing")[:-1]
    torch.testing.assert_close(model.time_of(every), torch.arange(999.0, -1, -1), rtol=0, atol=2e-2)
    assert model.time_of(torch.tensor([1e9, 1e-9])).tolist() == [999, 0]


# the network


def test_guidance_is_one_batch_of_two_and_the_formula(sd15_like: Path) -> None:
    model = load(resolve(sd15_like, "torch"))
    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)) * 3
    cond, uncond = model.encode_text(WORDS[:1]), model.encode_text([""])
    given, without = model.denoise(x, 3.0, cond), model.denoise(x, 3.0, uncond)
    guided = model.denoise(x, torch.tensor([3.0, 3.0]), cond, uncond, 5.0)
    # passes of two and of four sum in other orders; guidance multiplies a pass's own 1e-4 by 5 + 4
    torch.testing.assert_close(guided, without + 5 * (given - without), rtol=1e-3, atol=9e-4)
    assert torch.equal(model.denoise(x, 3.0, cond, uncond, 1.0), given)


def test_prompts_of_unequal_length_guide_as_if_each_ran_alone(pocket_like: Path) -> None:
    model = load(resolve(pocket_like, "torch"))
    x = torch.randn(1, 8, 8, 8, generator=torch.Generator().manual_seed(0)) * 3
    cond = model.encode_text(WORDS).reshape(1, 154, -1)
    uncond = model.encode_text(["blue", "", "low"]).reshape(1, 231, -1)
    given, without = model.denoise(x, 3.0, cond), model.denoise(x, 3.0, uncond)
    guided = model.denoise(x, 3.0, cond, uncond, 5.0)
    # passes of two and of four sum in other orders; guidance multiplies a pass's own 1e-4 by 5 + 4
    torch.testing.assert_close(guided, without + 5 * (given - without), rtol=1e-3, atol=9e-4)


def test_the_autoencoder_is_diffusers_own_with_its_old_names_read(sd15_like: Path) -> None:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    model = load(resolve(sd15_like, "torch"))
    vae = AutoencoderKL.from_pretrained(sd15_like / "vae", local_files_only=True).eval()
    pixels = torch.rand(1, 3, 64, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        latents = vae.encode(pixels).latent_dist.mean * 0.18215
        decoded = vae.decode(latents / 0.18215).sample.clamp(-1, 1)
    torch.testing.assert_close(model.encode(pixels), latents, rtol=0, atol=1e-5)
    torch.testing.assert_close(model.decode(latents), decoded, rtol=0, atol=1e-4)
    assert latents.shape == (1, 4, 64 // model.factor, 48 // model.factor)


def scheduler_of(sampler: str, folder: Path):
    """diffusers' scheduler for one of our samplers, spaced like ours."""
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler
    from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
    from diffusers.schedulers.scheduling_euler_ancestral_discrete import EulerAncestralDiscreteScheduler
    from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler

    kind, more = {
        "ddim": (DDIMScheduler, {}),
        "euler": (EulerDiscreteScheduler, {}),
        "euler_a": (EulerAncestralDiscreteScheduler, {}),
        "dpmpp_2m": (DPMSolverMultistepScheduler, {}),
        "dpmpp_2m_karras": (
            DPMSolverMultistepScheduler,
            {"use_karras_sigmas": True},
        ),
    }[sampler]
    return kind.from_pretrained(folder / "scheduler", timestep_spacing="trailing", **more)


CASES = [
    ("sd15_like", "ddim"), ("sd15_like", "euler"), ("sd15_like", "euler_a"), ("sd15_like", "dpmpp_2m"),
    ("sd15_like", "dpmpp_2m_karras"), ("pocket_like", "ddim"), ("pocket_like", "euler"),
]  # fmt: skip


@pytest.mark.parametrize(("layout", "sampler"), CASES)
def test_a_drawing_is_diffusers_drawing(layout: str, sampler: str, request: pytest.FixtureRequest) -> None:
    """Eight steps from the same noise: latents within 0.1 % (rms) of diffusers', which takes 6e-8 or nothing
    for a zero SNR; within 2 % for Karras' spacing, where diffusers rounds the timesteps."""
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    folder: Path = request.getfixturevalue(layout)
    model = load(resolve(folder, "torch"))
    noise = torch.randn(1, model.latent_channels, 8, 8, generator=torch.Generator().manual_seed(7))
    cond = model.encode_text(WORDS[:1])
    scheduler = scheduler_of(sampler, folder)
    scheduler.set_timesteps(8)
    unet = UNet2DConditionModel.from_pretrained(folder / "unet", local_files_only=True).eval()
    fresh = torch.Generator().manual_seed(8)
    theirs = noise * scheduler.init_noise_sigma
    with torch.inference_mode():
        for time in scheduler.timesteps:
            out = unet(scheduler.scale_model_input(theirs, time), time, cond, return_dict=False)[0]
            more = {"generator": fresh} if sampler == "euler_a" else {}
            theirs = scheduler.step(out, time, theirs, return_dict=False, **more)[0]

    sigmas = model.sigmas(8, schedule_of(sampler))
    # DDIM and DPM-Solver start at unit variance, which on the sigma scale is sqrt(sigma² + 1)
    starts_at_one = scheduler.init_noise_sigma == 1
    x = noise * ((sigmas[0] ** 2 + 1).sqrt() if starts_at_one else sigmas[0])
    ours = SAMPLERS[sampler](
        lambda x, sigma: model.denoise(x, sigma, cond), x, sigmas, generator=torch.Generator().manual_seed(8)
    )
    assert relative_error(ours, theirs) < (0.02 if sampler == "dpmpp_2m_karras" else 0.001)


# OpenVINO


@pytest.mark.parametrize("layout", ["pocket_like", "sd15_like"])
def test_openvino_computes_what_torch_computes(
    layout: str, request: pytest.FixtureRequest, home: Path
) -> None:
    folder: Path = request.getfixturevalue(layout)
    fast, exact = load(resolve(folder, "openvino")), load(resolve(folder, "torch"))
    bound = 0.05 if "bf16" in fast.ref.numeric else 1e-4
    cond = fast.encode_text(WORDS)
    torch.testing.assert_close(cond, exact.encode_text(WORDS), rtol=0, atol=1e-4)
    for height, width in ((8, 8), (9, 13)):  # 13 is no multiple of the UNet's stride
        x = torch.randn(2, fast.latent_channels, height, width, generator=torch.Generator().manual_seed(1))
        times = fast.time_of(torch.tensor([0.5, 9.0]))
        drawn, wanted = (model.networks.unet(x, times, cond) for model in (fast, exact))
        assert relative_error(drawn, wanted) < bound
        pixels = exact.decode(x)
        assert relative_error(fast.decode(x), pixels) < bound
        assert relative_error(fast.encode(pixels), exact.encode(pixels)) < bound


def test_openvino_repeats_bit_for_bit_and_needs_no_diffusers_the_second_time(
    pocket_like: Path, home: Path
) -> None:
    code = f"""
import sys, torch
from jogak.models import load, resolve
loaded = sys.modules
model = load(resolve({str(pocket_like)!r}, "openvino"))
x = torch.randn(1, 8, 8, 8, generator=torch.Generator().manual_seed(0))
out = model.denoise(x, 1.0, model.encode_text(["fox"]), model.encode_text([""]), 3.0)
print(model.decode(out).double().sum().item().hex(), "diffusers" in loaded, "transformers" in loaded)
"""

    def run() -> list[str]:
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert ran.stderr == ""
        return ran.stdout.split()

    first, second = run(), run()
    assert first[1:] == ["True", "True"]
    assert second == [first[0], "False", "False"]


def test_a_conversion_reports_to_nobody(
    pocket_like: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def report(*_: object, **__: object) -> None:
        pytest.fail("OpenVINO's telemetry was started")

    monkeypatch.setattr("openvino_telemetry.main.Telemetry.init", report)
    monkeypatch.setattr("openvino_telemetry.main.Telemetry.send_event", report)
    networks = openvino_backend.OpenVinoNetworks(resolve(pocket_like, "openvino"))
    assert networks.decode(torch.zeros(1, 8, 2, 2)).shape == (1, 3, 16, 16)
    assert list((home / "cache" / "openvino").rglob("model.xml"))


def test_a_damaged_or_absent_cache_only_costs_time(
    pocket_like: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def encoded() -> Tensor:
        return diffusion.DiffusionModel(ref, openvino_backend.OpenVinoNetworks(ref)).encode_text(WORDS)

    ref = resolve(pocket_like, "openvino")
    first = encoded()
    kept = next((home / "cache" / "openvino").rglob("model.xml"))
    kept.write_text("<net")
    assert torch.equal(encoded(), first)
    assert kept.read_text() != "<net"
    shutil.rmtree(home)
    home.write_text("a file stands where the folder should be")
    assert torch.equal(encoded(), first)
