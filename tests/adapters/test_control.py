"""ControlNet: files of each layout are recognised and fit or are refused in a sentence; drawing under a map equals
diffusers' own pipeline; the model is left as it was."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import load_file, save_file

from jogak.adapters.control import (
    check_control,
    control,
    find_control,
    fit_map,
    load_control,
    range_to_sigmas,
)
from jogak.adapters.control_layout import control_facts
from jogak.models import DiffusionModel, load
from jogak.spec import JogakError, ModelRef, SpecError
from tests.tiny_adapters import a_controlnet

MAP = np.random.default_rng(5).integers(0, 256, (64, 64, 3)).astype(np.uint8)

# diffusers' schedulers meet numpy 2 so
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")


@pytest.fixture(scope="module")
def folder(sd15: ModelRef, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("control") / "sd15-canny"
    a_controlnet(sd15).save_pretrained(path)
    return path


def a_pass(model: DiffusionModel, sigma: float = 2.0) -> torch.Tensor:
    torch.manual_seed(3)
    x = sigma * torch.randn(2, model.latent_channels, 8, 8)
    cond, uncond = model.encode_text(["fox", "cat"]), model.encode_text([""])
    return model.denoise(x, sigma, cond, uncond, 4.0)


# equality with diffusers


@pytest.mark.parametrize(("start", "end", "weight"), [(0.0, 1.0, 0.8), (0.0, 0.5, 1.0), (0.5, 1.0, 1.3)])
def test_drawing_equals_diffusers_pipeline(
    sd15: ModelRef, folder: Path, start: float, end: float, weight: float
) -> None:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.pipelines.controlnet.pipeline_controlnet import StableDiffusionControlNetPipeline
    from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
    from PIL import Image

    model = load(sd15)
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    cond, uncond = model.encode_text(["red fox"]), model.encode_text(["cat"])
    config = json.loads((sd15.folder / "scheduler" / "scheduler_config.json").read_text())
    pipe = StableDiffusionControlNetPipeline(
        vae=AutoencoderKL.from_config(json.loads((sd15.folder / "vae" / "config.json").read_text())),
        text_encoder=None, tokenizer=None, safety_checker=None, feature_extractor=None,
        unet=UNet2DConditionModel.from_pretrained(sd15.folder / "unet"),
        controlnet=ControlNetModel.from_pretrained(folder),
        scheduler=EulerDiscreteScheduler.from_config(config | {"timestep_spacing": "trailing", "clip_sample": None}),
        requires_safety_checker=False,
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    calls: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]] = []
    pipe.unet.register_forward_hook(
        lambda module, args, kwargs, out: calls.append((*args, kwargs["encoder_hidden_states"], out[0])),
        with_kwargs=True,
    )
    pipe(
        image=Image.fromarray(MAP), prompt_embeds=cond, negative_prompt_embeds=uncond, num_inference_steps=4,
        guidance_scale=4.0, latents=noise, output_type="latent", controlnet_conditioning_scale=weight,
        control_guidance_start=start, control_guidance_end=end,
    )  # fmt: skip
    felt = []
    with control(
        model, load_control(folder, sd15), MAP, weight, *range_to_sigmas(model.sigmas(4), start, end)
    ):
        for x, time, text, theirs in calls:
            ours = model.networks.unet(x, time.expand(2), text)
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
            felt.append(ours)
    plain = [model.networks.unet(x, time.expand(2), text) for x, time, text, _ in calls]
    shares = [not torch.equal(a, b) for a, b in zip(felt, plain, strict=True)]
    assert shares == [start <= i / 4 and (i + 1) / 4 <= end for i in range(4)]


def test_several_add_up_and_batches_of_pictures_keep_apart(sd15: ModelRef, folder: Path) -> None:
    model, net = load(sd15), load_control(folder, sd15)
    other = MAP[::-1].copy()
    with control(model, net, MAP, 0.5), control(model, net, other, 0.7):
        assert len(model.networks.conditions) == 2
        together = a_pass(model)
    with control(model, net, other, 0.7), control(model, net, MAP, 0.5):
        torch.testing.assert_close(a_pass(model), together, rtol=1e-5, atol=1e-5)
    with control(model, net, MAP, 0.5):
        assert not torch.allclose(a_pass(model), together)
    # pictures of one batch at different noise levels: only those within the range feel the map
    x = torch.randn(2, 4, 8, 8)
    cond = model.encode_text(["fox"])
    plain = model.denoise(x, torch.tensor([5.0, 0.5]), cond)
    with control(model, net, MAP, 1.0, start_sigma=6.0, end_sigma=4.0):
        drawn = model.denoise(x, torch.tensor([5.0, 0.5]), cond)
    torch.testing.assert_close(drawn[1], plain[1], rtol=0, atol=0)
    assert not torch.allclose(drawn[0], plain[0])


def test_the_map_is_looked_at_once_a_size(sd15: ModelRef, folder: Path) -> None:
    model, net = load(sd15), load_control(folder, sd15)
    looks: list[tuple[int, ...]] = []
    handle = net.eye.register_forward_hook(lambda module, args, out: looks.append(tuple(args[0].shape)))
    try:
        with control(model, net, MAP):
            for sigma in (4.0, 2.0, 1.0):
                a_pass(model, sigma)
            cond = model.encode_text(["fox"])
            model.denoise(torch.randn(1, 4, 12, 8), 1.0, cond)
    finally:
        handle.remove()
    assert looks == [(1, 3, 64, 64), (1, 3, 96, 64)]


# the model is left as it was


def test_weight_zero_and_outside_the_range_are_exactly_plain(sd15: ModelRef, folder: Path) -> None:
    model, net = load(sd15), load_control(folder, sd15)
    plain = a_pass(model)
    with control(model, net, MAP, 0.0):
        torch.testing.assert_close(a_pass(model), plain, rtol=0, atol=0)
    with control(model, net, MAP, 1.0, start_sigma=1.0, end_sigma=0.5):
        torch.testing.assert_close(a_pass(model), plain, rtol=0, atol=0)
        assert not torch.equal(a_pass(model, 0.8), plain)


def test_the_model_is_restored_after_an_error(sd15: ModelRef, folder: Path) -> None:
    model, net = load(sd15), load_control(folder, sd15)
    plain = a_pass(model)

    def fail() -> None:
        with control(model, net, MAP), control(model, net, MAP):
            assert not torch.equal(a_pass(model), plain)
            raise RuntimeError("planted")

    with pytest.raises(RuntimeError, match="planted"):
        fail()
    assert model.networks.conditions == []
    torch.testing.assert_close(a_pass(model), plain, rtol=0, atol=0)


# layouts


def test_a_bare_file_with_diffusers_names_is_the_folder(sd15: ModelRef, folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "canny.safetensors"
    file.write_bytes((folder / "diffusion_pytorch_model.safetensors").read_bytes())
    bare, whole = load_control(file, sd15), load_control(folder, sd15)
    model = load(sd15)
    with control(model, whole, MAP):
        expected = a_pass(model)
    with control(model, bare, MAP):
        torch.testing.assert_close(a_pass(model), expected, rtol=0, atol=0)


def to_ldm(state: dict[str, torch.Tensor], levels: int, layers: int) -> dict[str, torch.Tensor]:
    """diffusers' names as lllyasviel's files have them, written from the layout and not from the converter."""
    resnet = {
        "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
        "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
    }  # fmt: skip
    fixed = {
        "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
        "conv_in": "input_blocks.0.0", "controlnet_cond_embedding.conv_in": "input_hint_block.0",
        "controlnet_cond_embedding.conv_out": "input_hint_block.14", "controlnet_mid_block": "middle_block_out.0",
    }  # fmt: skip
    renamed = {}
    for name, tensor in state.items():
        path, _, last = name.rpartition(".")
        parts = path.split(".")
        if path in fixed:
            new = fixed[path]
        elif parts[0] == "controlnet_down_blocks":
            new = f"zero_convs.{parts[1]}.0"
        elif parts[0] == "controlnet_cond_embedding":
            new = f"input_hint_block.{2 * int(parts[2]) + 2}"
        elif parts[0] == "mid_block":
            at = 2 * int(parts[2]) if parts[1] == "resnets" else 1
            rest = [resnet.get(parts[3], parts[3]), *parts[4:]]
            new = ".".join(["middle_block", str(at), *rest])
        else:
            level, kind, number = int(parts[1]), parts[2], int(parts[3])
            at = 1 + level * (layers + 1) + (layers if kind == "downsamplers" else number)
            if kind == "downsamplers":
                new = f"input_blocks.{at}.0.op"
            elif kind == "resnets":
                new = ".".join([f"input_blocks.{at}.0", resnet[parts[4]], *parts[5:]])
            else:
                new = ".".join([f"input_blocks.{at}.1", *parts[4:]])
        renamed[f"control_model.{new}.{last}"] = tensor
    return renamed


@pytest.mark.parametrize("prefix", [True, False])
def test_the_first_controlnets_layout_loads(
    sd15: ModelRef, folder: Path, tmp_path: Path, prefix: bool
) -> None:
    state = to_ldm(load_file(folder / "diffusion_pytorch_model.safetensors"), levels=4, layers=1)
    file = tmp_path / "control_sd15_canny.safetensors"
    save_file(
        {name if prefix else name.removeprefix("control_model."): value for name, value in state.items()},
        file,
    )
    facts = control_facts(file)
    assert (facts.layout, facts.text_width, facts.latent_channels) == ("ldm", 64, 4)
    model = load(sd15)
    with control(model, load_control(folder, sd15), MAP):
        expected = a_pass(model)
    with control(model, load_control(file, sd15), MAP):
        torch.testing.assert_close(a_pass(model), expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("config", "family"),
    [
        ({"cross_attention_dim": 768, "attention_head_dim": 8}, "sd15"),
        (
            {
                "cross_attention_dim": 2048, "attention_head_dim": [5, 10, 20], "use_linear_projection": True,
                "block_out_channels": [320, 640, 1280], "transformer_layers_per_block": [1, 2, 10],
                "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
                "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
                "projection_class_embeddings_input_dim": 2816,
            },
            "sdxl",
        ),
    ],
)  # fmt: skip
def test_shapes_alone_tell_the_published_structures(config: dict, family: str) -> None:
    """The published widths, on no memory at all: only names and shapes are looked at."""
    from jogak.adapters.control_layout import config_of_shapes
    from jogak.models.recognise import FAMILY_OF_WIDTH
    from jogak.models.safe import TensorFacts

    with torch.device("meta"):
        net = ControlNetModel(**config)
    shapes = {name: TensorFacts("F16", tuple(value.shape), 0, 0) for name, value in net.state_dict().items()}
    found = config_of_shapes(shapes)
    with torch.device("meta"):
        again = ControlNetModel(**found)
    assert {k: v.shape for k, v in again.state_dict().items()} == {
        k: v.shape for k, v in net.state_dict().items()
    }
    heads = [
        [block.attn2.heads for block in one.modules() if hasattr(block, "attn2")] for one in (net, again)
    ]
    assert heads[0] == heads[1]
    assert FAMILY_OF_WIDTH[found["cross_attention_dim"]] == family


def test_a_union_controlnet_draws_as_in_diffusers(sd15: ModelRef, tmp_path: Path) -> None:
    """One network for many kinds of map; from its folder, and from the bare file."""
    from diffusers.models.controlnets.controlnet_union import ControlNetUnionModel

    torch.manual_seed(6)
    unet = UNet2DConditionModel.from_pretrained(sd15.folder / "unet")
    plain = ControlNetModel.from_unet(unet).config
    config = {
        key: value for key, value in plain.items() if not key.startswith("_") and key != "mid_block_type"
    }
    own = {
        "num_trans_channel": 32,
        "num_proj_channel": 32,
        "num_trans_head": 8,
        "num_control_type": 6,
        "addition_time_embed_dim": 16,
    }
    union = ControlNetUnionModel.from_config(config | own | {"conditioning_embedding_out_channels": [8, 16]})
    for parameter in union.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    union.eval().save_pretrained(tmp_path / "union")
    model = load(sd15)
    x, text, time = torch.randn(2, 4, 8, 8), model.encode_text(["fox", "cat"]), torch.tensor([300.0])
    small = fit_map(MAP, 16, 16)  # the eye of this one shrinks by 2
    pixels = torch.from_numpy(small.copy()).permute(2, 0, 1)[None].float() / 255
    kinds = torch.tensor([[0.0, 1, 0, 0, 0, 0]] * 2)
    with torch.no_grad():
        down, middle = union(
            x, time, text, [pixels.expand(2, -1, -1, -1)], kinds, [1], 0.7, return_dict=False
        )  # fmt: skip
        theirs = unet(
            x, time, text, down_block_additional_residuals=down, mid_block_additional_residual=middle
        ).sample
    file = tmp_path / "union.safetensors"
    file.write_bytes((tmp_path / "union" / "diffusion_pytorch_model.safetensors").read_bytes())
    for path in (tmp_path / "union", file):
        net = load_control(path, sd15)
        with control(model, net, MAP, 0.7, kind="depth"):
            torch.testing.assert_close(
                model.networks.unet(x, time.expand(2), text), theirs, rtol=1e-4, atol=1e-4
            )
        with control(model, net, MAP, 0.7, kind="pose"):
            assert not torch.allclose(model.networks.unet(x, time.expand(2), text), theirs)
        with pytest.raises(SpecError, match="say which"), control(model, net, MAP, 0.7):
            pass


# what does not fit is said before a weight is read


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("a weight was read")

    monkeypatch.setattr("jogak.adapters.control.read_weights", refuse)
    monkeypatch.setattr("jogak.adapters.control.read_tensors", refuse)


@pytest.mark.usefixtures("unreadable")
def test_another_familys_controlnet_is_refused(
    pocket: ModelRef, folder: Path, sd15: ModelRef, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=r"latents of 4 channels.*have 8"):
        load_control(folder, pocket)
    torch.manual_seed(1)
    for change, said in (
        ({"cross_attention_dim": 2048}, r"for SDXL \(text 2048 wide\).*64 wide"),
        ({"block_out_channels": [32, 64, 64, 64]}, "levels of"),
        ({"layers_per_block": 2}, "2 layers each"),
        ({"conditioning_channels": 4}, "map of 4 channels"),
    ):
        ControlNetModel.from_config(a_controlnet(sd15).config | change).save_pretrained(tmp_path / "other")
        with pytest.raises(SpecError, match=said):
            check_control(tmp_path / "other", sd15)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["lora_controlnet", "input_blocks.0.0.up"], "Control-LoRA"),
        (["adapter.body.0.in_conv.weight"], "T2I-Adapter"),
        (["lora_unet_mid.lora_up.weight"], "--lora"),
        (["ip_adapter.1.to_k_ip.weight", "image_proj.proj.weight"], "--ip"),
        (["model.diffusion_model.input_blocks.0.0.weight"], "--model"),
        (["something.weight"], "no ControlNet"),
        (["controlnet_cond_embedding.conv_in.weight"], "incomplete"),
        (["control_model.input_hint_block.0.weight"], "time_embed"),
    ],
)
def test_relatives_are_told_apart(names: list[str], said: str, tmp_path: Path, sd15: ModelRef) -> None:
    file = tmp_path / "thing.safetensors"
    save_file({name: torch.zeros(2, 2, 1, 1) for name in names}, file)
    with pytest.raises(SpecError, match=said):
        load_control(file, sd15)


def test_folders_that_are_none_are_refused(tmp_path: Path, sd15: ModelRef) -> None:
    with pytest.raises(SpecError, match=r"config\.json"):
        load_control(tmp_path, sd15)
    (tmp_path / "config.json").write_text('{"_class_name": "UNet2DConditionModel"}')
    with pytest.raises(SpecError, match="UNet2DConditionModel"):
        load_control(tmp_path, sd15)
    pickle = tmp_path / "control.pth"
    pickle.write_bytes(b"\x80\x04.")
    with pytest.raises(SpecError, match="pickle"):
        load_control(pickle, sd15)


@pytest.mark.parametrize(
    "change",
    [
        {"cross_attention_dim": None}, {"cross_attention_dim": "x"}, {"attention_head_dim": 0},
        {"attention_head_dim": "x"}, {"norm_num_groups": 0}, {"norm_num_groups": 7}, {"act_fn": "os.system"},
        {"class_embed_type": "projection"}, {"addition_embed_type": "text_time"}, {"global_pool_conditions": True},
    ],
)  # fmt: skip
def test_nonsense_in_a_configuration_is_refused(
    change: dict, folder: Path, sd15: ModelRef, tmp_path: Path
) -> None:
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    weights = folder / "diffusion_pytorch_model.safetensors"
    (tmp_path / weights.name).write_bytes(weights.read_bytes())
    with pytest.raises(SpecError):
        load_control(tmp_path, sd15)


def test_sizes_in_a_configuration_are_not_believed(folder: Path, sd15: ModelRef, tmp_path: Path) -> None:
    """Nothing is built at a size that the weights do not have: it would take time or memory without end."""
    wild = {
        "layers_per_block": 10**7,
        "transformer_layers_per_block": 10**7,
        "block_out_channels": [10**9] * 4,
    }
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | wild))
    weights = folder / "diffusion_pytorch_model.safetensors"
    (tmp_path / weights.name).write_bytes(weights.read_bytes())
    assert load_control(tmp_path, sd15).facts.widths == (32, 32, 64, 64)
    state = load_file(weights) | {"down_blocks.999999999.resnets.0.conv1.weight": torch.zeros(1)}
    save_file(state, tmp_path / "wild.safetensors")
    with pytest.raises(SpecError, match="incomplete"):
        load_control(tmp_path / "wild.safetensors", sd15)


def test_incomplete_weights_are_refused(folder: Path, sd15: ModelRef, tmp_path: Path) -> None:
    state = load_file(folder / "diffusion_pytorch_model.safetensors")
    state.pop("controlnet_mid_block.bias")
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    save_file(state, tmp_path / "diffusion_pytorch_model.safetensors")
    with pytest.raises(SpecError, match="lack controlnet_mid_block"):
        load_control(tmp_path, sd15)


def test_openvino_and_bad_values_are_refused(sd15: ModelRef, folder: Path) -> None:
    model, net = load(sd15), load_control(folder, sd15)
    compiled = DiffusionModel.__new__(DiffusionModel)
    compiled.ref, compiled.networks = sd15.model_copy(update={"numeric": "openvino-f32-t1"}), object()  # type: ignore[assignment]
    with pytest.raises(SpecError, match="--backend torch"), control(compiled, net, MAP):
        pass
    for bad in (MAP[..., 0], MAP.astype(np.float32), MAP[:0], np.zeros((2, 2, 4), np.uint8)):
        with pytest.raises(SpecError, match="control map"), control(model, net, bad):
            pass
    with (
        pytest.raises(SpecError, match="megapixels"),
        control(model, net, np.broadcast_to(MAP[:1, :1], (9000, 9000, 3))),
    ):
        pass
    with pytest.raises(SpecError, match="weight"), control(model, net, MAP, 3.0):
        pass
    assert model.networks.conditions == []


# ranges, maps, names


def test_a_range_of_steps_is_that_of_diffusers() -> None:
    sigmas = torch.tensor([8.0, 4.0, 2.0, 1.0, 0.0])
    assert range_to_sigmas(sigmas, 0, 1) == (8, 1)
    assert range_to_sigmas(sigmas, 0, 0.7) == (8, 4)
    assert range_to_sigmas(sigmas, 0.25, 0.75) == (4, 2)
    tenths = [float(11 - i) for i in range(10)] + [0.0]
    for step in range(1, 11):  # no step is lost to rounding
        assert range_to_sigmas(tenths, 0, step / 10) == (11, 12 - step)
    with pytest.raises(SpecError, match="none of the 4 steps"):
        range_to_sigmas(sigmas, 0.3, 0.5)


def test_maps_are_cut_about_the_middle() -> None:
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 255
    assert (fit_map(wide, 40, 40) > 150).all()
    line = np.zeros((100, 100, 3), np.uint8)
    line[50] = 255
    assert fit_map(line, 25, 25).max() > 50, "a thin line must not vanish when the map shrinks"


def test_finding_by_name(sd15: ModelRef, tmp_path: Path) -> None:
    assert find_control(str(tmp_path), "canny", sd15) == tmp_path
    with pytest.raises(JogakError, match="neither a file nor a folder"):
        find_control(str(tmp_path / "absent"), "canny", sd15)
    with pytest.raises(JogakError, match="no ControlNet for canny came with"):
        find_control(None, "canny", sd15)
    with pytest.raises(JogakError, match="ready map"):
        find_control(None, "none", sd15)


def test_the_cache_is_warm_and_notices_a_change(sd15: ModelRef, folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    a_controlnet(sd15, seed=4).save_pretrained(copy)
    first = load_control(copy, sd15)
    assert load_control(copy, sd15) is first
    a_controlnet(sd15, seed=5).save_pretrained(copy)
    assert load_control(copy, sd15) is not first
