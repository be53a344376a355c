"""Each memory setting against the model without it: what it keeps exactly, and what it costs in exactness."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from jogak.models import DiffusionModel, load, resolve
from jogak.models.catalogue import memory_of
from jogak.models.memory import Int8Linear, at_work, quantise
from jogak.spec import SpecError
from jogak.spec.memory import NAMES, Memory
from tests.models.true_layout import make_folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("memory")
    return {family: make_folder(home / family, family) for family in ("sd15", "sdxl")}


@pytest.fixture(autouse=True)
def _own_home(home: Path) -> None:
    """Digests go into a cache of the test's own."""


def opened(folder: Path, names: str) -> DiffusionModel:
    return load(resolve(folder, "torch", memory=Memory.of_names(names)))


def error(found: Tensor, exact: Tensor) -> float:
    return ((found - exact).norm() / exact.norm()).item()


def bytes_of(module: nn.Module) -> int:
    return sum(t.numel() * t.element_size() for t in (*module.parameters(), *module.buffers()))


# names


def test_names_and_numeric_modes_say_the_same(folders: dict[str, Path]) -> None:
    for name in NAMES:
        memory = Memory.of_names(name)
        assert memory.names() == (name,)
        ref = resolve(folders["sd15"], "torch", memory=memory)
        assert memory_of(ref.numeric) == memory
    both = resolve(folders["sd15"], "torch", memory=Memory.of_names("fp8, vae-tiles"))
    assert both.numeric.startswith("torch-fp32+vae_tiles+fp8-t")
    assert memory_of("openvino-bf16-t4") == memory_of("torch-cuda-fp16") == Memory()
    assert memory_of("torch-cuda-fp16+offload_model") == Memory(offload="model")


def test_unknown_and_contradicting_names_are_refused(folders: dict[str, Path]) -> None:
    with pytest.raises(SpecError, match='"fp9" is not known; there are attention-slices'):
        Memory.of_names("fp9")
    with pytest.raises(SpecError, match="contradict each other in vae"):
        Memory.of_names("vae-slices,vae-tiles")
    with pytest.raises(SpecError, match="give --backend torch"):
        resolve(folders["sd15"], "openvino", memory=Memory(vae="tiles"))
    assert resolve(folders["sd15"], memory=Memory(vae="tiles")).numeric.startswith("torch-")


# exactness


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
@pytest.mark.parametrize(
    ("names", "text", "drawn", "decoded"),
    [
        ("attention-slices", 0, 1e-4, 0),
        ("vae-slices", 0, 0, 1e-5),
        ("vae-tiles", 0, 0, 1e-5),  # one tile holds it all
        ("offload-model", 0, 0, 0),  # without a GPU there is nowhere to move
        ("offload-group", 0, 0, 0),
        ("fp8", 0, 0.2, 0),
        ("text-int8", 0.02, 0.02, 0),
    ],
)
def test_what_a_setting_costs_in_exactness(
    folders: dict[str, Path], family: str, names: str, text: float, drawn: float, decoded: float
) -> None:
    plain, model = opened(folders[family], ""), opened(folders[family], names)
    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    cond, exact = model.encode_text(["a fox in the snow"]), plain.encode_text(["a fox in the snow"])
    for found, wanted, bound in (
        (cond, exact, text),
        (model.denoise(x, 2.0, cond), plain.denoise(x, 2.0, exact), drawn),
        (model.decode(x), plain.decode(x), decoded),
    ):
        assert error(found, wanted) <= bound
        if bound > 0.001:
            assert error(found, wanted) > 0, "the setting did nothing"


def test_tiles_meet_without_a_seam(folders: dict[str, Path]) -> None:
    """A picture of several tiles: like what is decoded whole (random weights lean on a tile's own mean), and
    nowhere a jump at the borders of tiles."""
    plain, model = opened(folders["sd15"], ""), opened(folders["sd15"], "vae-tiles")
    x = torch.nn.functional.interpolate(
        torch.randn(1, 4, 6, 6, generator=torch.Generator().manual_seed(1)), size=(72, 72), mode="bicubic"
    )
    whole, tiled = plain.decode(x), model.decode(x)
    assert tiled.shape == whole.shape
    assert torch.corrcoef(torch.stack([tiled.flatten(), whole.flatten()]))[0, 1] > 0.6
    assert not torch.equal(tiled, whole)
    # the second tile begins at pixel 384, the first ends at 512
    steps, usual = (
        picture.diff(dim=2).abs().mean(dim=(0, 1, 3))[380:516].max() for picture in (tiled, whole)
    )
    assert steps < 2 * usual


# memory


def test_fp8_and_int8_take_the_bytes_they_say(folders: dict[str, Path]) -> None:
    plain, fp8 = opened(folders["sdxl"], ""), opened(folders["sdxl"], "fp8")
    unet = bytes_of(fp8.networks.unet_module) / bytes_of(plain.networks.unet_module)  # type: ignore[attr-defined]
    assert unet < 0.5  # a quarter, but for embeddings, ends and norms, which weigh more in a narrow model
    types = {p.dtype for p in fp8.networks.unet_module.parameters()}  # type: ignore[attr-defined]
    assert types == {torch.float8_e4m3fn, torch.float32}
    layer = nn.Linear(256, 512)
    assert bytes_of(Int8Linear(layer)) < 0.27 * bytes_of(layer)


def test_rows_are_quantised_each_by_its_own_scale() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(64, 32), nn.Sequential(nn.ReLU(), nn.Linear(32, 16, bias=False)))
    module[0].weight.data[3] *= 1000
    module[0].weight.data[4] = 0
    x = torch.randn(5, 64)
    exact = module[0](x)
    quantise(module)
    assert isinstance(module[0], Int8Linear)
    assert isinstance(module[1][1], Int8Linear)
    found = module[0](x)
    assert error(found[:, :3], exact[:, :3]) < 0.01  # not spoilt by the large row
    assert error(found[:, 3], exact[:, 3]) < 0.01
    assert torch.equal(found[:, 4], exact[:, 4])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="moves weights between a GPU and the CPU")
@pytest.mark.parametrize("names", ["offload-model", "offload-group"])
def test_offloading_leaves_the_gpu_empty_between_uses_and_draws_the_same(
    folders: dict[str, Path], names: str
) -> None:
    plain, model = opened(folders["sdxl"], ""), opened(folders["sdxl"], names)
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    cond = plain.encode_text(["a fox"])
    assert error(model.denoise(x, 2.0, cond), plain.denoise(x, 2.0, cond)) < 1e-3
    assert {p.device.type for p in model.networks.unet_module.parameters()} == {"cpu"}  # type: ignore[attr-defined]
    assert {p.device.type for p in model.networks.vae.parameters()} == {"cpu"}  # type: ignore[attr-defined]


def test_a_network_comes_back_also_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    module = nn.Linear(2, 2)
    moved: list[str] = []
    monkeypatch.setattr(module, "to", lambda device: moved.append(str(device)))
    with at_work(module, torch.device("cpu"), Memory(offload="model")):
        assert moved == []  # it is there already
    gpu = torch.device("cuda")
    with at_work(module, gpu, Memory()):
        assert moved == []  # and stays there

    def fail() -> None:
        with at_work(module, gpu, Memory(offload="model")):
            assert moved == ["cuda"]
            raise RuntimeError("in between")

    with pytest.raises(RuntimeError, match="in between"):
        fail()
    assert moved == ["cuda", "cpu"]
