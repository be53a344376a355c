"""IP-Adapter: each kind draws as diffusers' own pipeline does; the wrong tower, base or kind is refused in a sentence;
the model is left as it was."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import load_file, save_file

from jogak.adapters.control import control, load_control
from jogak.adapters.ip import blocks_of, check_ip, find_ip, ip, load_ip
from jogak.adapters.ip_layout import attention_widths, ip_facts
from jogak.models import DiffusionModel, load
from jogak.spec import ModelRef, SpecError
from tests.tiny_adapters import (
    HIDDEN,
    SIDE,
    a_controlnet,
    save_adapter,
    save_tower,
)

rng = np.random.default_rng(6)
SQUARE = rng.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
OTHER = rng.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)

# diffusers' schedulers meet numpy 2 so
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")


@pytest.fixture(scope="module")
def models(sd15: ModelRef, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """h94's folder `models/` with the three kinds and the tower."""
    folder = tmp_path_factory.mktemp("h94") / "models"
    save_tower(folder / "image_encoder")
    for kind in ("base", "plus", "full-face"):
        save_adapter(folder / f"{kind}.safetensors", sd15, kind)
    return folder


def a_pass(model: DiffusionModel, guidance: float = 4.0) -> torch.Tensor:
    torch.manual_seed(3)
    x = 2 * torch.randn(2, model.latent_channels, 8, 8)
    cond, uncond = model.encode_text(["fox", "cat"]), model.encode_text([""])
    return model.denoise(x, 2.0, cond, uncond, guidance)


# equality with diffusers


def their_calls(
    sd15: ModelRef, model: DiffusionModel, folder: Path, name: str, scale: object, pictures: list[np.ndarray]
) -> list[tuple[torch.Tensor, ...]]:
    """What diffusers' pipeline gave its UNet, and got: latents, time, text, prediction; two steps with guidance."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
    from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
    from PIL import Image

    config = json.loads((sd15.folder / "scheduler" / "scheduler_config.json").read_text())
    pipe = StableDiffusionPipeline(
        vae=AutoencoderKL.from_config(json.loads((sd15.folder / "vae" / "config.json").read_text())),
        text_encoder=None, tokenizer=None, safety_checker=None, feature_extractor=None,
        unet=UNet2DConditionModel.from_pretrained(sd15.folder / "unet"), requires_safety_checker=False,
        scheduler=EulerDiscreteScheduler.from_config(config | {"clip_sample": None, "steps_offset": 1}),
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    pipe.load_ip_adapter(
        str(folder.parent), subfolder=folder.name, weight_name=name, image_encoder_folder="image_encoder",
        local_files_only=True,
    )  # fmt: skip
    pipe.set_ip_adapter_scale(scale)
    calls: list[tuple[torch.Tensor, ...]] = []
    pipe.unet.register_forward_hook(
        lambda module, args, kwargs, out: calls.append((*args, kwargs["encoder_hidden_states"], out[0])),
        with_kwargs=True,
    )
    pipe(
        prompt_embeds=model.encode_text(["red fox"]), negative_prompt_embeds=model.encode_text(["cat"]),
        num_inference_steps=2, guidance_scale=4.0, latents=torch.randn(1, 4, 8, 8), output_type="latent",
        ip_adapter_image=[[Image.fromarray(picture) for picture in pictures]],
    )  # fmt: skip
    return calls


@pytest.mark.parametrize("kind", ["base", "plus", "full-face"])
@pytest.mark.parametrize("pictures", [[SQUARE], [SQUARE, OTHER]], ids=["one", "two"])
def test_drawing_equals_diffusers_pipeline(
    sd15: ModelRef, models: Path, kind: str, pictures: list[np.ndarray]
) -> None:
    model = load(sd15)
    calls = their_calls(sd15, model, models, f"{kind}.safetensors", 0.7, pictures)
    assert len(calls) == 2
    adapter = load_ip(models / f"{kind}.safetensors", sd15)
    for x, time, text, theirs in calls:
        plain = model.networks.unet(x, time.expand(2), text)
        with ip(model, adapter, pictures, 0.7):
            ours = model.networks.unet(x, time.expand(2), text)
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
        assert (ours - plain).abs().max() > 0.01, "the reference must matter, or the comparison says nothing"


def test_blocks_equal_diffusers_dictionary(sd15: ModelRef, models: Path) -> None:
    """Their dictionary of factors by block; ours for the modes of the same blocks."""
    model = load(sd15)
    adapter = load_ip(models / "base.safetensors", sd15)
    for scale, mode in (
        ({"up": {"block_1": [0.0, 0.8]}}, "style"),
        ({"down": {"block_2": [0.8]}}, "layout"),
    ):
        for x, time, text, theirs in their_calls(sd15, model, models, "base.safetensors", scale, [SQUARE]):
            with ip(model, adapter, SQUARE, 0.8, mode):  # type: ignore[arg-type]
                ours = model.networks.unet(x, time.expand(2), text)
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


# the model is left as it was


def test_weight_zero_is_exactly_plain_and_all_is_restored(sd15: ModelRef, models: Path) -> None:
    model = load(sd15)
    adapter = load_ip(models / "base.safetensors", sd15)
    plain, processors = a_pass(model), dict(model.networks.unet_module.attn_processors)
    with ip(model, adapter, SQUARE, 0.0):
        torch.testing.assert_close(a_pass(model), plain, rtol=0, atol=0)

    def fail() -> None:
        with ip(model, adapter, SQUARE, 0.5), ip(model, adapter, OTHER, 0.5, "style"):
            assert not torch.equal(a_pass(model), plain)
            raise RuntimeError("planted")

    with pytest.raises(RuntimeError, match="planted"):
        fail()
    after = model.networks.unet_module.attn_processors
    assert all(after[name] is processor for name, processor in processors.items())
    assert model.networks.conditions == []
    torch.testing.assert_close(a_pass(model), plain, rtol=0, atol=0)


def test_several_adapters_and_a_controlnet_stack(sd15: ModelRef, models: Path, tmp_path: Path) -> None:
    from tests.adapters.test_control import MAP

    model = load(sd15)
    first, second = (load_ip(models / f"{kind}.safetensors", sd15) for kind in ("base", "plus"))
    a_controlnet(sd15).save_pretrained(tmp_path)
    net = load_control(tmp_path, sd15)
    with ip(model, first, SQUARE, 0.5), control(model, net, MAP, 0.5), ip(model, second, OTHER, 0.4):
        one = a_pass(model)
    with ip(model, second, OTHER, 0.4), ip(model, first, SQUARE, 0.5), control(model, net, MAP, 0.5):
        torch.testing.assert_close(a_pass(model), one, rtol=1e-4, atol=1e-4)
    with ip(model, first, SQUARE, 0.5):
        assert not torch.allclose(a_pass(model), one)


def test_without_guidance_every_picture_of_a_batch_sees_the_reference(sd15: ModelRef, models: Path) -> None:
    model = load(sd15)
    adapter = load_ip(models / "base.safetensors", sd15)
    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    cond = model.encode_text(["fox"])
    with ip(model, adapter, SQUARE, 0.8):
        batch = model.denoise(x, 1.0, cond)
        alone = torch.cat([model.denoise(x[i : i + 1], 1.0, cond) for i in range(2)])
    torch.testing.assert_close(batch, alone, rtol=1e-4, atol=1e-4)


def test_the_mean_of_a_reference_with_itself_is_the_reference(sd15: ModelRef, models: Path) -> None:
    model = load(sd15)
    adapter = load_ip(models / "plus.safetensors", sd15)
    with ip(model, adapter, SQUARE, 0.8):
        alone = a_pass(model)
    with ip(model, adapter, [SQUARE, SQUARE], 0.8, combine="mean"):
        torch.testing.assert_close(a_pass(model), alone, rtol=1e-5, atol=1e-5)
    with ip(model, adapter, [SQUARE, OTHER], 0.8, combine="mean"):
        assert not torch.allclose(a_pass(model), alone)


def test_references_are_squeezed_not_cut(sd15: ModelRef, models: Path) -> None:
    adapter = load_ip(models / "base.safetensors", sd15)
    wide = np.repeat(SQUARE, 3, axis=1)
    marked = wide.copy()
    marked[:, -10:] = 255  # at the side, where a square cut about the middle would not see it
    assert not torch.allclose(adapter.tokens(wide), adapter.tokens(marked))


# what does not fit is said before a weight is read


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("a weight was read")

    monkeypatch.setattr("jogak.adapters.ip.read_weights", refuse)
    monkeypatch.setattr("jogak.adapters.ip.read_tensors", refuse)


@pytest.mark.usefixtures("unreadable")
def test_the_wrong_tower_is_refused(sd15: ModelRef, models: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="needs its vision tower"):
        load_ip(save_adapter(tmp_path / "alone" / "a.safetensors", sd15), sd15)
    save_tower(tmp_path / "bigg", hidden=HIDDEN, projection=1280)
    with pytest.raises(SpecError, match=r"48 wide.*ViT-bigG/14 \(1280 wide\)"):
        load_ip(models / "base.safetensors", sd15, encoder=tmp_path / "bigg")
    save_tower(tmp_path / "wide", hidden=128)
    with pytest.raises(SpecError, match=r"64 wide.*128 wide"):
        load_ip(models / "plus.safetensors", sd15, encoder=tmp_path / "wide")
    # the pooled width is the same, so the base kind takes that tower
    assert check_ip(models / "base.safetensors", sd15, tmp_path / "wide").encoder == tmp_path / "wide"


@pytest.mark.usefixtures("unreadable")
def test_another_base_is_refused(pocket: ModelRef, sd15: ModelRef, models: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cross-attentions of other widths"):
        load_ip(models / "base.safetensors", pocket)
    state = load_file(models / "base.safetensors")
    wide = {
        n: (t.repeat(1, 2) if "_ip." in n else t.repeat(2, *[1] * (t.ndim - 1))) for n, t in state.items()
    }
    save_file(wide, tmp_path / "wide.safetensors")
    with pytest.raises(SpecError, match=r"text 128 wide.*64 wide"):
        check_ip(tmp_path / "wide.safetensors", sd15, models / "image_encoder")


def test_the_tower_of_the_other_h94_folder_is_found(sd15: ModelRef, models: Path) -> None:
    """ip-adapter_sdxl_vit-h lies in sdxl_models/, beside a bigG tower, and wants the one in models/."""
    file = save_adapter(models.parent / "sdxl_models" / "vit-h.safetensors", sd15)
    save_tower(file.parent / "image_encoder", projection=96)
    assert ip_facts(file).encoder == models / "image_encoder"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: {n.replace("image_proj.proj.", "image_proj.proj.0."): t for n, t in s.items()}, "Face-ID"),
        (lambda s: s | {"ip_adapter.0.to_q_lora.down.weight": torch.zeros(4, 4)}, "Face-ID"),
        (lambda s: {n: t for n, t in s.items() if "image_proj" not in n}, "no image_proj"),
        (lambda s: {n: t for n, t in s.items() if not n.startswith("ip_adapter.3.")}, "numbered"),
        (lambda s: {n: t for n, t in s.items() if n != "ip_adapter.3.to_v_ip.weight"}, "belong together"),
        (lambda s: {n: t for n, t in s.items() if n != "image_proj.norm.bias"}, "lack norm.bias"),
    ],
)
def test_other_files_are_refused(change, said: str, sd15: ModelRef, models: Path, tmp_path: Path) -> None:
    save_file(change(load_file(models / "base.safetensors")), tmp_path / "a.safetensors")
    with pytest.raises(SpecError, match=said):
        load_ip(tmp_path / "a.safetensors", sd15, models / "image_encoder")


@pytest.mark.parametrize(
    "change",
    [
        {"hidden_size": 128}, {"num_hidden_layers": 10**7}, {"num_attention_heads": 0}, {"num_attention_heads": 7},
        {"patch_size": 0}, {"image_size": 10**9}, {"image_size": "a"}, {"hidden_act": "evil"},
    ],
)  # fmt: skip
def test_nonsense_in_a_towers_configuration_is_refused(
    change: dict, sd15: ModelRef, models: Path, tmp_path: Path
) -> None:
    config = json.loads((models / "image_encoder" / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    (tmp_path / "model.safetensors").write_bytes(
        (models / "image_encoder" / "model.safetensors").read_bytes()
    )
    with pytest.raises(SpecError):
        load_ip(models / "base.safetensors", sd15, tmp_path)


def test_pickles_and_folders(sd15: ModelRef, models: Path, tmp_path: Path) -> None:
    (tmp_path / "ip-adapter_sd15.bin").write_bytes(b"PK\x03\x04")
    with pytest.raises(SpecError, match=r"pickle.*convert"):
        load_ip(tmp_path / "ip-adapter_sd15.bin", sd15)
    with pytest.raises(SpecError, match=r"pickle.*convert"):
        load_ip(tmp_path, sd15)
    with pytest.raises(SpecError, match="several"):
        load_ip(models, sd15)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SpecError, match="no IP-Adapter"):
        load_ip(tmp_path / "empty", sd15)
    with pytest.raises(SpecError, match="neither a file nor a folder"):
        find_ip(str(tmp_path / "absent"), sd15)
    with pytest.raises(SpecError, match="no IP-Adapter came with"):
        find_ip(None, sd15)
    assert find_ip(str(models), sd15) == models


def test_bad_values_and_openvino_are_refused(sd15: ModelRef, models: Path) -> None:
    model = load(sd15)
    adapter = load_ip(models / "base.safetensors", sd15)
    for pictures, weight, said in (
        (SQUARE, 2.5, "weight"),
        ([], 0.5, "0 references"),
        ([SQUARE] * 9, 0.5, "9 references"),
        (SQUARE[..., 0], 0.5, "a reference is"),
        (np.broadcast_to(SQUARE[:1, :1], (9000, 9000, 3)), 0.5, "megapixels"),
    ):
        with pytest.raises(SpecError, match=said), ip(model, adapter, pictures, weight):
            pass
    with (
        pytest.raises(SpecError, match="no block"),
        ip(model, adapter, SQUARE, 0.5, blocks={"up_blocks.0": 1.0}),
    ):
        pass
    compiled = DiffusionModel.__new__(DiffusionModel)
    compiled.ref, compiled.networks = sd15.model_copy(update={"numeric": "openvino-f32-t1"}), object()  # type: ignore[assignment]
    with pytest.raises(SpecError, match="--backend torch"), ip(compiled, adapter, SQUARE):
        pass
    assert model.networks.conditions == []


# blocks


@pytest.mark.parametrize(("config", "count", "style", "layout"), [
    ({"cross_attention_dim": 768, "block_out_channels": [320, 640, 1280, 1280]}, 16, "up_blocks.1.attentions.1", "down_blocks.2.attentions.1"),
    (
        {
            "cross_attention_dim": 2048, "block_out_channels": [320, 640, 1280],
            "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
            "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
            "transformer_layers_per_block": [1, 2, 10], "use_linear_projection": True,
        },
        70, "up_blocks.0.attentions.1", "down_blocks.2.attentions.1",
    ),
])  # fmt: skip
def test_published_structures(config: dict, count: int, style: str, layout: str) -> None:
    """Widths from the configuration are those of the UNet, and InstantStyle's blocks are found."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(**config)
    names = [name for name in unet.attn_processors if name.endswith("attn2.processor")]
    widths = tuple(unet.get_submodule(name.removesuffix(".processor")).to_q.out_features for name in names)
    assert attention_widths(config) == attention_widths(unet.config) == widths
    assert len(widths) == count
    blocks = list(dict.fromkeys(name.partition(".transformer_blocks.")[0] for name in names))
    assert list(blocks_of("style", blocks)) == [style]
    assert list(blocks_of("layout", blocks)) == [layout]
    assert list(blocks_of("all", blocks)) == blocks
