"""Checkpoints of one file, against the networks that they were written from and against diffusers' loader."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers.loaders.single_file_utils import CHECKPOINT_KEY_NAMES
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from jogak.models import describe, load, resolve
from jogak.models.diffusion import build_text_encoder, build_unet, build_vae
from jogak.models.place import open_place
from jogak.models.safe import UnsafeWeights
from jogak.models.single_file import CLIP_TOKENIZER, CONFIGS
from jogak.models.vocabulary import vocabulary_of
from jogak.spec import SpecError
from tests.models.true_layout import make_folder, make_single_file, published, write_hole


@pytest.fixture(autouse=True)
def _own_home(home: Path) -> None:
    """Digests and sets go into a cache of the test's own."""


@pytest.fixture(scope="module")
def sd15_file(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, nn.Module]]:
    path = tmp_path_factory.mktemp("sd15") / "realistic.safetensors"
    return path, make_single_file(path, "sd15", ema=True)


def same(found: nn.Module, wanted: nn.Module) -> None:
    ours, theirs = found.state_dict(), wanted.state_dict()
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert torch.equal(ours[name], tensor), name


# the published layouts, at their full size

UNET, XL_UNET, VAE, CLIP, XL_CLIP = 859_520_964, 2_567_463_684, 83_653_863, 123_060_480, 694_659_840
"""Numbers in the published networks."""
COUNTS = {"sd15": (1131, UNET + VAE + CLIP + 77), "sdxl": (2515, XL_UNET + VAE + CLIP + XL_CLIP + 77 + 1)}
"""Tensors and numbers in the published files; 77 are position ids, 1 is CLIP's temperature."""


@pytest.mark.parametrize("family", COUNTS)
def test_a_published_layout_is_recognised_in_full(family: str, tmp_path: Path) -> None:
    tensors = published(family)
    path = write_hole(tmp_path / "full.safetensors", tensors)
    assert (len(tensors), sum(t.numel() for t in tensors.values())) == COUNTS[family]
    # keys that diffusers tells published files apart by
    assert CHECKPOINT_KEY_NAMES["v1" if family == "sd15" else "xl_base"] in tensors
    facts = describe(path)
    assert (facts.family, facts.text_width, facts.size) == (
        (family, 768, 512) if family == "sd15" else (family, 2048, 1024)
    )
    assert facts.megabytes == pytest.approx(2 * COUNTS[family][1] / 1e6, abs=2)


@pytest.mark.parametrize("family", COUNTS)
def test_the_configuration_read_from_a_published_header_is_the_published_one(
    family: str, tmp_path: Path
) -> None:
    place = open_place(write_hole(tmp_path / "full.safetensors", published(family)))
    for part in sorted(folder.name for folder in (CONFIGS / family).iterdir() if folder.is_dir()):
        name = "scheduler_config.json" if part == "scheduler" else "config.json"
        assert place.config(part) == json.loads((CONFIGS / family / part / name).read_text()), part


@pytest.mark.parametrize("family", COUNTS)
def test_every_weight_of_a_published_layout_finds_its_place(family: str, tmp_path: Path) -> None:
    """Names and shapes of the whole UNet and text encoders, through diffusers' converters; no data are read."""
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_open_clip_checkpoint

    tensors = published(family)
    place = open_place(write_hole(tmp_path / "full.safetensors", tensors))
    from tests.models.true_layout import networks

    with torch.device("meta"):
        wanted = networks(family)
    found = convert_ldm_unet_checkpoint(dict(tensors), place.config("unet"))
    assert {n: t.shape for n, t in found.items()} == {
        n: t.shape for n, t in wanted["unet"].state_dict().items()
    }
    if family == "sdxl":
        found = convert_open_clip_checkpoint(None, dict(tensors), prefix="conditioner.embedders.1.model.")
        assert {n: t.shape for n, t in found.items()} == {
            n: t.shape for n, t in wanted["text_encoder_2"].state_dict().items()
        }


# narrow files of the same layout, loaded and run


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_a_file_gives_the_networks_it_was_written_from(dtype: torch.dtype, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    modules = make_single_file(path, "sd15", dtype=dtype, ema=True)
    for build, part in ((build_unet, "unet"), (build_vae, "vae"), (build_text_encoder, "text_encoder")):
        same(build(path), modules[part])


def test_a_file_and_a_folder_of_one_model_draw_the_same(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    make_single_file(path, "sd15", dtype=torch.float32)
    folder = make_folder(tmp_path / "folder", "sd15")
    one, other = (load(resolve(place, "torch")) for place in (path, folder))
    assert one.ref.digest != other.ref.digest
    assert one.encode_text(["a fox, 여우"]).equal(other.encode_text(["a fox, 여우"]))
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    cond = one.encode_text(["fox"])
    assert one.denoise(x, 2.0, cond).equal(other.denoise(x, 2.0, cond))
    assert one.decode(x).equal(other.decode(x))


def test_diffusers_own_loader_agrees(sd15_file: tuple[Path, dict[str, nn.Module]], tmp_path: Path) -> None:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    path, _ = sd15_file
    folder = make_folder(tmp_path / "folder", "sd15")  # for its configuration
    theirs = UNet2DConditionModel.from_single_file(str(path), config=str(folder), subfolder="unet")
    same(build_unet(path), theirs)


def test_a_file_runs_on_openvino(sd15_file: tuple[Path, dict[str, nn.Module]]) -> None:
    path, _ = sd15_file
    fast, exact = load(resolve(path, "openvino")), load(resolve(path, "torch"))
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    cond = exact.encode_text(["fox"])
    error = (fast.denoise(x, 2.0, cond) - exact.denoise(x, 2.0, cond)).norm() / exact.denoise(
        x, 2.0, cond
    ).norm()
    assert error < 0.05


def test_a_file_loads_with_no_network(sd15_file: tuple[Path, dict[str, nn.Module]]) -> None:
    code = f"""
import socket
def refuse(*_, **__): raise AssertionError("the network was asked")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
from jogak.models import load, resolve
print(load(resolve({str(sd15_file[0])!r}, "torch")).encode_text(["fox"]).shape)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == "torch.Size([1, 77, 64])"


def test_changing_the_file_changes_the_digest(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    make_single_file(path, "sd15", seed=1)
    first = resolve(path, "torch").digest
    make_single_file(path, "sd15", seed=2)
    assert resolve(path, "torch").digest != first


# v-prediction


@pytest.mark.parametrize(
    ("more", "metadata", "yaml", "prediction", "zero"),
    [
        ({}, {}, "", "epsilon", False),
        ({"v_pred": torch.zeros(0)}, {}, "", "v_prediction", False),
        ({"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}, {}, "", "v_prediction", True),
        ({}, {"modelspec.prediction_type": "v"}, "", "v_prediction", False),
        ({}, {"modelspec.prediction_type": "epsilon"}, "", "epsilon", False),
        ({}, {}, "model:\n  params:\n    parameterization: v\n", "v_prediction", False),
        ({}, {}, "model: [", "epsilon", False),
    ],
)
def test_v_prediction_is_read_from_where_files_say_it(
    more: dict[str, Tensor], metadata: dict[str, str], yaml: str, prediction: str, zero: bool, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    make_single_file(path, "sd15", more=more, metadata=metadata)
    if yaml:
        path.with_suffix(".yaml").write_text(yaml)
    model = load(resolve(path, "torch"))
    assert model.prediction == prediction
    assert (model.sigma_max > 1000) == zero


# the tokenizer that ships


def test_the_shipped_vocabulary_is_clips() -> None:
    from transformers.models.clip.tokenization_clip import CLIPTokenizer

    tokenizer = CLIPTokenizer(**vocabulary_of(CLIP_TOKENIZER / "merges.txt"))
    assert tokenizer.vocab_size == 49408
    # ids that are printed in CLIP's and Stable Diffusion's documentation
    assert tokenizer("a photo of a cat").input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert tokenizer("a diagram").input_ids == [49406, 320, 22697, 49407]
    assert tokenizer.convert_tokens_to_ids(["!", "<|startoftext|>", "<|endoftext|>"]) == [0, 49406, 49407]


# what is refused


def without(prefix: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda tensors: {name: t for name, t in tensors.items() if not name.startswith(prefix)}


def only(prefix: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda tensors: {name: t for name, t in tensors.items() if name.startswith(prefix)}


def nine_channels(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return tensors | {"model.diffusion_model.input_blocks.0.0.weight": torch.zeros(32, 9, 3, 3)}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without("first_stage_model."), "bring an autoencoder with --vae"),
        (without("cond_stage_model."), "no text encoder"),
        (without("model.diffusion_model.input_blocks.1."), "levels, this family's has 4|lacks input_blocks"),
        (without("model.diffusion_model.time_embed.0."), r"lack time_embedding\.linear_1"),
        (without("model."), "an autoencoder alone"),
        (nine_channels, "inpainting"),
        (lambda _: {"lora_unet_x.lora_down.weight": torch.zeros(4, 8)}, "a LoRA; give the base model"),
        (lambda _: {"control_model.time_embed.0.weight": torch.zeros(4, 8)}, "a ControlNet"),
        (lambda _: {"emb_params": torch.zeros(2, 768)}, "a textual inversion"),
        (lambda _: {"something": torch.zeros(2, 3, 4)}, "no checkpoint of SD 1.5 or SDXL"),
        (
            lambda _: {"model.diffusion_model.double_blocks.0.x.weight": torch.zeros(2, 3)},
            "another kind of network",
        ),
    ],
)
def test_what_is_no_whole_checkpoint_is_refused_in_words(
    change: Callable, words: str, sd15_file: tuple[Path, dict[str, nn.Module]], tmp_path: Path
) -> None:
    path = tmp_path / "odd.safetensors"
    save_file(change(load_file(sd15_file[0])), path)
    with pytest.raises(SpecError, match=words):
        load(resolve(path, "torch"))


def test_a_pickle_is_refused_with_the_way_to_convert_it(tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    path.write_bytes(b"\x80\x02")
    with pytest.raises(UnsafeWeights, match=r"pickle.*convert it: python -c"):
        resolve(path)


# an autoencoder from elsewhere


def test_an_autoencoder_takes_the_place_of_the_models_own(
    sd15_file: tuple[Path, dict[str, nn.Module]], tmp_path: Path
) -> None:
    path, _ = sd15_file
    other = tmp_path / "other.safetensors"
    modules = make_single_file(other, "sd15", seed=5)
    alone = tmp_path / "vae-ft.safetensors"
    inside = {
        n.removeprefix("first_stage_model."): t
        for n, t in only("first_stage_model.")(load_file(other)).items()
    }
    save_file(inside, alone)
    folder = tmp_path / "vae-folder"
    modules["vae"].save_pretrained(folder)
    plain = resolve(path, "torch")
    refs = [resolve(path, "torch", vae=vae) for vae in (alone, other, folder)]
    assert len({plain.digest, *(ref.digest for ref in refs)}) == 4
    for ref in refs:
        same(load(ref).networks.vae, modules["vae"])  # type: ignore[attr-defined]
        same(load(ref).networks.unet_module, load(plain).networks.unet_module)  # type: ignore[attr-defined]
    assert load(resolve(path, "torch", vae=folder)).ref.name == str(path)


def test_a_checkpoint_without_autoencoder_runs_with_one(
    sd15_file: tuple[Path, dict[str, nn.Module]], tmp_path: Path
) -> None:
    path, bare = sd15_file[0], tmp_path / "bare.safetensors"
    save_file(without("first_stage_model.")(load_file(path)), bare)
    same(load(resolve(bare, "torch", vae=path)).networks.vae, build_vae(path))  # type: ignore[attr-defined]


def test_a_set_in_a_file_of_its_own(sd15_file: tuple[Path, dict[str, nn.Module]], tmp_path: Path) -> None:
    path, _ = sd15_file
    (tmp_path / "mine.yaml").write_text(f"model: {path}\nvae: {path.name}\n")
    with pytest.raises(SpecError, match="is not there"):
        resolve(tmp_path / "mine.yaml", "torch")
    (tmp_path / "mine.yaml").write_text(f"model: {path}\nvae: {path}\n")
    assert resolve(tmp_path / "mine.yaml", "torch").family == "latent"
    (tmp_path / "mine.yaml").write_text("model: pocket\nvea: x\n")
    with pytest.raises(SpecError, match='Did you mean "vae"'):
        resolve(tmp_path / "mine.yaml", "torch")


def test_an_autoencoder_that_is_none_is_refused(
    sd15_file: tuple[Path, dict[str, nn.Module]], tmp_path: Path
) -> None:
    save_file({"emb_params": torch.zeros(2, 64)}, tmp_path / "x.safetensors")
    with pytest.raises(SpecError, match="is no autoencoder"):
        resolve(sd15_file[0], "torch", vae=tmp_path / "x.safetensors")
    with pytest.raises(SpecError, match="is not there"):
        resolve(sd15_file[0], "torch", vae=tmp_path / "y.safetensors")
