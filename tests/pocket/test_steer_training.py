"""Training of ControlNets and of the IP-Adapter on a CPU, at tiny widths: shapes, gradients, a few steps of the whole
script, and what is exported loads in Jogak and in diffusers."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from safetensors.torch import load_file
from transformers import CLIPConfig, CLIPModel, CLIPVisionModelWithProjection

from jogak.adapters.control import control, load_control
from jogak.adapters.ip import ip, load_ip
from jogak.models import load, resolve
from jogak.spec import ModelRef
from pocket.data.compose import Painter
from pocket.train import controlnet, ip_adapter
from pocket.train.common import save_shards
from pocket.train.fused import fuse
from pocket.train.nets import build_clip, build_text, build_unet, build_vae, parameters, save_pipeline
from pocket.train.steer import v_loss
from tests.pocket.untrained import LAYERS, TOKENIZER, WIDTHS, write_build


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_build(tmp_path_factory.mktemp("build"))


@pytest.fixture(scope="module")
def base(build: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    folder = tmp_path_factory.mktemp("base") / "pocket"
    unet = build_unet(WIDTHS, LAYERS)
    unet.load_state_dict(load_file(build / "unet" / "unet-0.safetensors"))
    save_pipeline(folder, unet, build_vae(), build_text(), TOKENIZER)
    return resolve(folder, backend="torch")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOGAK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("JOGAK_THREADS", "1")


def run(module, monkeypatch: pytest.MonkeyPatch, build: Path, out: Path, *more: str) -> None:
    where = ["--sprites", build / "sprites.npz", "--tokenizer", TOKENIZER, "--vae", build / "vae"]
    where += ["--clip", build / "clip", "--unet", build / "unet", "--out", out, "--widths", "32,64,64"]
    where += ["--vision", build / "clip"] if module is ip_adapter else []
    small = ["--layers", "1", "--seconds", "0.5", "--stages", "32x32:1", "--count", "8"]
    small += ["--batch", "4", "--workers", "0", "--refresh", "3"]
    monkeypatch.setattr(sys, "argv", ["train", *map(str, [*where, *small, *more])])
    module.main()


# ControlNet


@pytest.mark.parametrize("lite", [False, True])
def test_a_new_controlnet_adds_nothing_and_every_part_learns(lite: bool) -> None:
    torch.manual_seed(2)
    unet = fuse(build_unet(WIDTHS, LAYERS).requires_grad_(False))
    net = fuse(controlnet.build_control(unet, lite))
    noisy, text = torch.randn(2, 8, 4, 4), torch.randn(2, 77, 384)
    times, seen = torch.tensor([10, 900]), torch.randint(0, 256, (2, 1, 32, 32), dtype=torch.uint8)
    predict = controlnet.predictor(unet, net)
    torch.testing.assert_close(predict(noisy, times, text, seen), unet(noisy, times, text).sample)
    latents = torch.randn(2, 8, 4, 4)
    alphas = torch.linspace(0.99, 0.01, 1000)
    torch.optim.SGD(net.parameters(), 0.1)
    for _ in range(
        3
    ):  # the zero convolutions must move before what lies behind them does, the eye's last layer too
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        optimizer.zero_grad()
        v_loss(predict, latents, text, seen, alphas).backward()
        optimizer.step()
    silent = [name for name, weight in net.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert silent == []
    assert all(weight.grad is None for weight in unet.parameters())


def test_the_figures_of_the_sizes() -> None:
    unet = build_unet()
    assert parameters(controlnet.build_control(unet)) == pytest.approx(19.26e6, rel=0.01)
    assert parameters(controlnet.build_control(unet, lite=True)) == pytest.approx(8.61e6, rel=0.01)


@pytest.mark.parametrize(
    ("kind", "more"), [("lines", ("--stages", "32x32:0.6,40x24+24x40:0.4")), ("any", ("--lite",))]
)
def test_a_run_writes_a_controlnet_that_loads(
    kind: str,
    more: tuple[str, ...],
    build: Path,
    base: ModelRef,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run(controlnet, monkeypatch, build, tmp_path / "out", "--kind", kind, *more)
    log = (tmp_path / "out" / "log-0.jsonl").read_text()
    assert "held_out_right" in log
    run(controlnet, monkeypatch, build, tmp_path / "out", "--kind", kind, "--export", str(tmp_path / "net"))
    assert ControlNetModel.from_pretrained(tmp_path / "net").config.cross_attention_dim == 384
    model, net = load(base), load_control(tmp_path / "net", base)
    cond, x = model.encode_text(["a fox"]), torch.randn(1, 8, 4, 4)
    plain = model.denoise(x, 2.0, cond)
    with control(model, net, np.full((32, 32, 3), 255, np.uint8)):
        assert not torch.equal(model.denoise(x, 2.0, cond), plain), "a second of training has moved it"


def test_maps_are_looked_at_in_one_form(build: Path) -> None:
    from pocket.data.compose import empty_layout
    from pocket.data.sprites import load as load_sprites

    painter, layout = Painter(load_sprites(build / "sprites.npz").pixels), empty_layout(3)
    layout.sprite[:, 0], layout.box[:, 0] = 0, (0.5, 0.9, 0.6, 1, 0)
    joints = np.zeros((len(painter.levels[0]), 18, 3), np.float32)
    joints[:, :14] = (0.5, 0.5, 1)
    pixels = painter.draw(layout, 48, 64)
    for kind, channels in (("lines", 1), ("depth", 1), ("pose", 3), ("any", 3)):
        found = controlnet.looker(kind, painter, joints)(layout, pixels)
        assert (found.shape, found.dtype) == ((3, channels, 48, 64), torch.uint8), kind
        assert found.max() > 100, kind


# IP-Adapter


def test_the_fused_blocks_hear_as_the_adapter_in_use_does(
    base: ModelRef, build: Path, tmp_path: Path
) -> None:
    """What training computes is what `jogak.adapters.ip` computes with the exported file."""
    torch.manual_seed(3)
    unet = build_unet(WIDTHS, LAYERS)
    unet.load_state_dict(load_file(build / "unet" / "unet-0.safetensors"))
    tower = ip_adapter.load_tower(build / "clip")
    adapter = ip_adapter.IpAdapter(unet, tower.config.projection_dim)
    for parameter in adapter.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
        parameter.data = parameter.data.half().float()  # as the file will have it
    (tmp_path / "out").mkdir()
    save_shards(adapter.state_dict(), tmp_path / "out", "ip")
    ip_adapter.export(tmp_path / "out", build / "clip", tmp_path / "ip")
    model, loaded = load(base), load_ip(tmp_path / "ip", base)
    picture = np.random.default_rng(1).integers(0, 256, (128, 128, 3)).astype(np.uint8)
    pixels = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    embeds = tower(pixel_values=pixels * 2 - 1).image_embeds
    torch.testing.assert_close(loaded.tokens(picture), adapter(embeds), rtol=0.02, atol=0.02)

    text, x = model.encode_text(["a fox"]), torch.randn(1, 8, 4, 4)
    with ip(model, loaded, picture, weight=1.0):
        used = model.networks.unet(x, torch.tensor([500.0]), text)
    plain = model.networks.unet(x, torch.tensor([500.0]), text)
    with torch.no_grad():
        trained = ip_adapter.predictor(fuse(unet), adapter)(x, torch.tensor([500]), text, embeds)
    torch.testing.assert_close(used, trained, rtol=0.02, atol=0.02)
    assert (used - plain).abs().max() > 0.1


def test_every_part_of_the_adapter_learns_and_the_unet_does_not() -> None:
    torch.manual_seed(4)
    unet = fuse(build_unet(WIDTHS, LAYERS).requires_grad_(False))
    adapter = ip_adapter.IpAdapter(unet, 256)
    predict = ip_adapter.predictor(unet, adapter)
    names = set(adapter.state_dict())
    assert {"image_proj.proj.weight", "image_proj.norm.bias", "ip_adapter.1.to_k_ip.weight"} <= names
    assert not [name for name in unet.state_dict() if "_ip" in name]
    alphas = torch.linspace(0.99, 0.01, 1000)
    v_loss(
        predict, torch.randn(4, 8, 4, 4), torch.randn(4, 77, 384), torch.randn(4, 256).half(), alphas
    ).backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in adapter.parameters())
    assert all(weight.grad is None for weight in unet.parameters())


def test_a_tower_for_clips_pixels_sees_the_same() -> None:
    torch.manual_seed(5)
    text, vision = build_clip().config.text_config.to_dict(), build_clip().config.vision_config.to_dict()
    whole = CLIPModel(
        CLIPConfig(text_config=text, vision_config=vision | {"num_hidden_layers": 1}, projection_dim=256)
    )
    pixels = torch.rand(2, 3, 128, 128)
    before = ip_adapter.vision_of(whole)(pixel_values=pixels * 2 - 1).image_embeds
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (ip_adapter._CLIP_MEAN, ip_adapter._CLIP_STD))
    after = ip_adapter.for_clip_pixels(ip_adapter.vision_of(whole))(
        pixel_values=(pixels - mean) / std
    ).image_embeds
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-3)


def test_a_run_writes_an_adapter_that_loads(
    build: Path, base: ModelRef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(ip_adapter, monkeypatch, build, tmp_path / "out")
    assert "held_out_wrong" in (tmp_path / "out" / "log-0.jsonl").read_text()
    run(ip_adapter, monkeypatch, build, tmp_path / "out", "--export", str(tmp_path / "ip"))
    assert (
        CLIPVisionModelWithProjection.from_pretrained(tmp_path / "ip" / "image_encoder").config.projection_dim
        == 256
    )
    model, adapter = load(base), load_ip(tmp_path / "ip", base)
    picture = np.full((50, 90, 3), 200, np.uint8)
    cond, x = model.encode_text(["a fox"]), torch.randn(1, 8, 4, 4)
    with ip(model, adapter, picture, 0.8):
        heard = model.denoise(x, 2.0, cond)
    assert torch.isfinite(heard).all()
    assert not torch.equal(heard, model.denoise(x, 2.0, cond))
