"""The upscaler: it starts as plain Lanczos, keeps its place, runs alike on torch and OpenVINO, and says what it lacks."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from jogak.models.upscale import FACTOR, FrameUpscaler, Upscaler, load_upscaler, read_upscaler
from jogak.spec import JogakError, SpecError


def picture(height: int = 20, width: int = 30) -> np.ndarray:
    noise = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 1.0)


def write(folder: Path, net: Upscaler, **config: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: value.half() for name, value in net.state_dict().items()}, folder / "model.safetensors")
    facts = {"factor": FACTOR, "width": net.first.out_channels, "blocks": len(net.blocks)} | config
    (folder / "config.json").write_text(json.dumps(facts))
    return folder


def trained_like(width: int = 16, blocks: int = 1) -> Upscaler:
    torch.manual_seed(3)
    net = Upscaler(width, blocks)
    torch.nn.init.normal_(net.last.weight, std=0.02)
    return net


@pytest.fixture(autouse=True)
def place(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOGAK_THREADS", "1")


def test_untrained_it_is_opencvs_lanczos() -> None:
    frame = picture().astype(np.float32)
    pixels = torch.from_numpy(frame.transpose(2, 0, 1)[None] / 255)
    with torch.inference_mode():
        found = Upscaler(16, 2)(pixels)[0].permute(1, 2, 0).numpy() * 255
    wanted = cv2.resize(frame, (120, 80), interpolation=cv2.INTER_LANCZOS4)
    np.testing.assert_allclose(found, wanted, atol=1e-3)


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_the_middle_of_a_larger_picture_is_the_same(blocks: int) -> None:
    """What training on crops relies on: beyond `reach` nothing counts."""
    net, pixels = trained_like(blocks=blocks), torch.rand(1, 3, 31, 27)
    far = net.reach
    with torch.inference_mode():
        whole, part = net(pixels), net.inner(pixels)
    torch.testing.assert_close(part, whole[..., 4 * far : -4 * far, 4 * far : -4 * far], rtol=1e-4, atol=1e-5)


def test_torch_and_openvino_give_the_same_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = trained_like()
    folder, frame = write(tmp_path / "net", net), picture()
    made = {}
    for backend in ("torch", "openvino"):
        monkeypatch.setenv("JOGAK_BACKEND", backend)
        run = FrameUpscaler(folder)
        made[backend] = run(frame)
        assert made[backend].shape == (80, 120, 3)
        assert np.array_equal(run(frame), made[backend])
        run(picture(9, 14))
    with torch.inference_mode():
        wanted = net.half().float()(torch.from_numpy(frame.transpose(2, 0, 1)[None].astype(np.float32) / 255))
    wanted = (wanted[0].clamp(0, 1) * 255).round().permute(1, 2, 0).numpy()
    assert np.abs(made["torch"] - wanted).max() <= 1
    assert np.abs(made["torch"].astype(int) - made["openvino"]).max() <= 2, "bfloat16 where the CPU has it"


def test_a_folder_without_weights_is_none_and_a_wrong_one_is_refused(tmp_path: Path) -> None:
    assert load_upscaler(tmp_path / "nothing") is None
    good = write(tmp_path / "good", trained_like())
    assert load_upscaler(good) is load_upscaler(good)
    with pytest.raises(SpecError, match="factor 2"):
        read_upscaler(write(tmp_path / "two", trained_like(), factor=2))
    with pytest.raises(SpecError, match="no upscaler"):
        read_upscaler(write(tmp_path / "wide", trained_like(), width=24))
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "config.json").write_text((good / "config.json").read_text())
    (tmp_path / "cut" / "model.safetensors").write_bytes((good / "model.safetensors").read_bytes()[:-40])
    with pytest.raises(JogakError):
        read_upscaler(tmp_path / "cut")
