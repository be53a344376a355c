"""What a training leaves on disk comes back exactly, or is refused with a sentence."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from jogak.spec import SpecError
from jogak.spec.dataset import Dataset, DatasetImage
from jogak.spec.training import TrainRequest
from jogak.training.checkpoint import LossLog, State, load_state, metadata, read_log, save_state


def trained_optimizer(kind: type[torch.optim.Optimizer]) -> tuple[nn.Linear, torch.optim.Optimizer]:
    torch.manual_seed(1)
    layer = nn.Linear(3, 2)
    optimizer = kind(layer.parameters(), lr=0.1)  # pyright: ignore[reportCallIssue]
    for _ in range(3):
        layer(torch.randn(4, 3)).square().mean().backward()
        optimizer.step()
    return layer, optimizer


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD, torch.optim.Adagrad, torch.optim.Rprop])
def test_a_state_comes_back_bit_for_bit(kind: type[torch.optim.Optimizer], tmp_path: Path) -> None:
    layer, optimizer = trained_optimizer(kind)
    weights = dict(layer.named_parameters())
    path = tmp_path / "state.safetensors"
    kept = optimizer.state_dict()
    save_state(
        path, State(7, "abc", weights, kept, {"m": torch.full((2,), 0.1)}, {"scale": 65536.0, "odd": math.pi})
    )
    back = load_state(path)
    assert (back.step, back.settings, back.scaler) == (7, "abc", {"scale": 65536.0, "odd": math.pi})
    assert all(torch.equal(back.weights[name], weights[name]) for name in weights)
    other_layer, other = trained_optimizer(kind)
    other.load_state_dict(back.optimizer)
    for layer_, optimizer_ in ((layer, optimizer), (other_layer, other)):
        torch.manual_seed(5)
        layer_(torch.randn(4, 3)).square().mean().backward()
        optimizer_.step()
    assert torch.equal(layer.weight, other_layer.weight)
    assert list(tmp_path.iterdir()) == [path], "no temporary file is left"


def test_what_is_no_state_is_refused(tmp_path: Path) -> None:
    _, optimizer = trained_optimizer(torch.optim.AdamW)
    path = tmp_path / "state.safetensors"
    save_state(path, State(1, "s", {}, optimizer.state_dict(), {}, {}))
    whole = path.read_bytes()
    for damaged in (
        b"",
        whole[:20],
        whole[:-5],
        whole.replace(b"jogak_state", b"jogak_slate"),
        b"\x80\x02" + whole,
    ):
        path.write_bytes(damaged)
        with pytest.raises(SpecError, match=r"state\.safetensors"):
            load_state(path)


def test_pickled_things_do_not_get_in(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="without pickle"):
        save_state(tmp_path / "s", State(1, "s", {}, {"hook": print}, {}, {}))


def test_a_log_forgets_what_the_state_does_not_know(tmp_path: Path) -> None:
    path = tmp_path / "losses.jsonl"
    log = LossLog(path, 0)
    for step in range(1, 6):
        log.add({"step": step, "loss": 1 / step})
    log.close()
    with path.open("a") as file:
        file.write('{"step": 6, "lo')
    assert [line["step"] for line in read_log(path)] == [1, 2, 3, 4, 5]
    log = LossLog(path, 3)
    log.add({"step": 4, "loss": 9.0})
    log.close()
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"step": 1, "loss": 1.0}, {"step": 2, "loss": 0.5}, {"step": 3, "loss": 1 / 3}, {"step": 4, "loss": 9.0},
    ]  # fmt: skip


def test_metadata_are_kohyas(tmp_path: Path) -> None:
    def image(file: str, caption: str, repeats: int) -> DatasetImage:
        return DatasetImage(
            file=file,
            sha256="0" * 64,
            caption=caption,
            width=256,
            height=256,
            crop=(0, 0, 9, 9),
            repeats=repeats,
        )

    data = Dataset(
        images=(
            image("10_여우 fox/a.png", "sk_fox, red hat", 10),
            image("10_여우 fox/b.png", "sk_fox, snow", 10),
            image("2_more/c.png", "sk_fox", 2),
        )
    )
    request = TrainRequest(name="fox", rank=8, alpha=4, seed=3, kind="lokr", resolution=256)
    told = metadata(
        request, data, architecture="stable-diffusion-v1/lora", version="sd_v1", base_name="v1-5", base_digest="ab" * 32,
        step=40, epoch=2, prediction="v_prediction", trigger="sk_fox",
    )  # fmt: skip
    assert all(isinstance(value, str) for value in told.values())
    assert json.loads(told["ss_dataset_dirs"]) == {
        "10_여우 fox": {"n_repeats": 10, "img_count": 2}, "2_more": {"n_repeats": 2, "img_count": 1},
    }  # fmt: skip
    assert json.loads(told["ss_tag_frequency"])["10_여우 fox"] == {"sk_fox": 2, "red hat": 1, "snow": 1}
    assert told["ss_num_train_images"] == "22"
    assert (told["ss_network_dim"], told["ss_network_alpha"]) == ("8", "4.0")
    assert (told["ss_steps"], told["ss_epoch"], told["ss_seed"], told["ss_output_name"]) == (
        "40",
        "2",
        "3",
        "fox",
    )
    assert told["ss_network_module"] == "lycoris.kohya"
    assert json.loads(told["ss_network_args"])["algo"] == "lokr"
    assert (told["ss_base_model_version"], told["ss_sd_model_name"]) == ("sd_v1", "v1-5")
    assert told["modelspec.architecture"] == "stable-diffusion-v1/lora"
    assert (told["modelspec.title"], told["modelspec.trigger_phrase"]) == ("fox", "sk_fox")
    assert told["modelspec.prediction_type"] == "v"
