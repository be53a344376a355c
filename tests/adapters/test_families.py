"""ControlNet and IP-Adapter on narrow models of the true topologies: SDXL, and SD 1.5 from one checkpoint file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers.models.clip.configuration_clip import CLIPVisionConfig
from transformers.models.clip.modeling_clip import CLIPVisionModelWithProjection

from jogak.adapters.control import control, load_control
from jogak.adapters.ip import ip, load_ip
from jogak.adapters.ip_layout import attention_widths
from jogak.models import load, resolve
from jogak.spec import ModelRef, SpecError
from tests.models.true_layout import make_folder, make_single_file

rng = np.random.default_rng(9)
PICTURE = rng.integers(0, 256, (64, 64, 3)).astype(np.uint8)
TIME = torch.tensor([400.0])

# diffusers' schedulers meet numpy 2 so
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")


@pytest.fixture(scope="module")
def sdxl(home: None, tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    return resolve(make_folder(tmp_path_factory.mktemp("sdxl") / "folder", "sdxl"), "torch")


def voiced(net: ControlNetModel) -> ControlNetModel:
    for parameter in net.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return net.eval()


def save_ip(folder: Path, unet: UNet2DConditionModel) -> Path:
    torch.manual_seed(4)
    text = unet.config.cross_attention_dim
    tower = CLIPVisionConfig(
        hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=8,
        projection_dim=24,
    )  # fmt: skip
    CLIPVisionModelWithProjection(tower).save_pretrained(folder / "image_encoder")
    state = {
        "image_proj.proj.weight": 0.2 * torch.randn(4 * text, 24), "image_proj.proj.bias": torch.randn(4 * text),
        "image_proj.norm.weight": torch.ones(text), "image_proj.norm.bias": torch.zeros(text),
    }  # fmt: skip
    for i, width in enumerate(attention_widths(unet.config)):
        for part in ("to_k_ip", "to_v_ip"):
            state[f"ip_adapter.{2 * i + 1}.{part}.weight"] = torch.randn(width, text) / text**0.5
    save_file(state, folder / "ip-adapter.safetensors")
    return folder / "ip-adapter.safetensors"


def test_sdxl_draws_under_a_controlnet_as_in_diffusers(sdxl: ModelRef, tmp_path: Path) -> None:
    """Its ControlNets hear the summary of the text and the picture's size, too."""
    torch.manual_seed(1)
    unet = UNet2DConditionModel.from_pretrained(sdxl.folder / "unet")
    voiced(ControlNetModel.from_unet(unet)).save_pretrained(tmp_path / "net")
    model = load(sdxl)
    x, cond = torch.randn(2, 4, 8, 8), model.encode_text(["a fox", "a cat"])
    text, added = model.networks.unpack(x, cond)
    net = ControlNetModel.from_pretrained(tmp_path / "net")
    pixels = torch.from_numpy(PICTURE).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        down, middle = net(x, TIME, text, pixels.expand(2, -1, -1, -1), 0.7, return_dict=False, **added)
        theirs = unet(
            x, TIME, text, down_block_additional_residuals=down, mid_block_additional_residual=middle, **added
        ).sample
        plain = unet(x, TIME, text, **added).sample
    with control(model, load_control(tmp_path / "net", sdxl), PICTURE, 0.7):
        ours = model.networks.unet(x, TIME.expand(2), cond)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert (theirs - plain).abs().max() > 0.01

    (tmp_path / "bare.safetensors").write_bytes(
        (tmp_path / "net" / "diffusion_pytorch_model.safetensors").read_bytes()
    )
    with control(model, load_control(tmp_path / "bare.safetensors", sdxl), PICTURE, 0.7):
        bare = model.networks.unet(x, TIME.expand(2), cond)
    torch.testing.assert_close(bare, ours, rtol=0, atol=0)


@pytest.mark.parametrize("mode", ["all", "style", "layout"])
def test_sdxl_sees_a_reference_as_in_diffusers(sdxl: ModelRef, tmp_path: Path, mode) -> None:
    unet = UNet2DConditionModel.from_pretrained(sdxl.folder / "unet")
    file = save_ip(tmp_path, unet)
    model, adapter = load(sdxl), load_ip(file, sdxl)
    torch.manual_seed(2)
    noise = torch.randn(1, 4, 8, 8)
    x, cond = torch.cat([noise, noise]), model.encode_text(["", "a fox"])  # as guidance doubles it
    text, added = model.networks.unpack(x, cond)
    whole = load_file(file)
    parts: dict[str, dict[str, torch.Tensor]] = {"image_proj": {}, "ip_adapter": {}}
    for name, tensor in whole.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor
    unet._load_ip_adapter_weights([parts])
    wanted = {"all": "", "style": "up_blocks.0.attentions.1.", "layout": "down_blocks.2.attentions.1."}[mode]
    for name, processor in unet.attn_processors.items():
        if hasattr(processor, "scale"):
            processor.scale = [0.9 if name.startswith(wanted) else 0.0]
    with torch.no_grad():
        embeds = adapter._features(adapter._pixels(PICTURE))
        both = torch.stack([torch.zeros_like(embeds), embeds])
        theirs = unet(
            x, TIME, text, added_cond_kwargs=added["added_cond_kwargs"] | {"image_embeds": [both]}
        ).sample
    with ip(model, adapter, PICTURE, 0.9, mode):
        ours = model.networks.unet(x, TIME.expand(2), cond)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(ours, model.networks.unet(x, TIME.expand(2), cond))


def test_a_checkpoint_file_is_a_base_too(home: None, tmp_path: Path, sdxl: ModelRef) -> None:
    made = make_single_file(tmp_path / "sd15.safetensors", "sd15")
    base = resolve(made if isinstance(made, Path) else tmp_path / "sd15.safetensors", "torch")
    model = load(base)
    voiced(ControlNetModel.from_unet(model.networks.unet_module)).save_pretrained(tmp_path / "net")
    file = save_ip(tmp_path / "ip", model.networks.unet_module)
    x, cond, uncond = torch.randn(1, 4, 8, 8), model.encode_text(["a fox"]), model.encode_text([""])
    plain = model.denoise(x, 2.0, cond, uncond, 4.0)
    net, adapter = load_control(tmp_path / "net", base), load_ip(file, base)
    with control(model, net, PICTURE), ip(model, adapter, PICTURE, 0.8):
        assert not torch.allclose(model.denoise(x, 2.0, cond, uncond, 4.0), plain)
    torch.testing.assert_close(model.denoise(x, 2.0, cond, uncond, 4.0), plain, rtol=0, atol=0)
    with pytest.raises(SpecError, match="take"):
        load_control(tmp_path / "net", sdxl)
    with pytest.raises(SpecError, match="take"):
        load_ip(file, sdxl)
