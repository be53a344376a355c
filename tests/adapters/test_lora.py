"""A LoRA in a model: what it changes, and that it leaves no trace."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection

from jogak.adapters.kohya import write_kohya
from jogak.adapters.lora import fitting, lora, read_lora
from jogak.models import DiffusionModel, load, resolve
from jogak.models.diffusion import build_text_encoder, build_unet, build_vae
from jogak.spec import SpecError
from jogak.spec.memory import Memory
from tests.lora_layouts import (
    CLIP_BIG_G,
    CLIP_L,
    SD15_UNET,
    SDXL_UNET,
    layers,
    peft_factors,
    true_kohya,
    write_layout,
)
from tests.tiny_models import make_pocket_like, make_sd15_like

ATTENTION = (".to_q", ".to_k", ".to_v", ".to_out.0", ".proj_in", ".proj_out", ".ff.net.2", ".ff.net.0.proj")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> DiffusionModel:
    folder = make_pocket_like(tmp_path_factory.mktemp("lora") / "pocket-like")
    return load(resolve(folder, backend="torch"))


@pytest.fixture(scope="module")
def sd15_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sd15_like(tmp_path_factory.mktemp("lora") / "sd15-like")


@pytest.fixture(autouse=True)
def _untouched(model: DiffusionModel) -> Iterator[None]:
    """After every test each weight is the same object with the same bits."""
    before = {name: (p, p.detach().clone()) for name, p in _weights(model)}
    yield
    after = dict(_weights(model))
    assert after.keys() == before.keys()
    for name, (parameter, bits) in before.items():
        assert after[name] is parameter, name
        assert torch.equal(after[name], bits), name


def _weights(model: DiffusionModel) -> list[tuple[str, nn.Parameter]]:
    networks = (model.networks.unet_module, model.networks.text_encoder)
    return [
        (f"{i}.{name}", p) for i, network in enumerate(networks) for name, p in network.named_parameters()
    ]


def _snapshot(model: DiffusionModel) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in _weights(model)}


def _shapes(model: DiffusionModel, conv: bool = True) -> tuple[dict, dict]:
    unet = dict(layers(model.networks.unet_module))
    if not conv:
        unet = {path: shape for path, shape in unet.items() if path.endswith(ATTENTION)}
    return unet, dict(layers(model.networks.text_encoder))


def _file(model: DiffusionModel, path: Path, seed: int = 0, alpha: float = 8.0, conv: bool = True) -> Path:
    unet, text = _shapes(model, conv)
    return write_kohya(
        path, peft_factors(unet, seed=seed), peft_factors(text, seed=seed + 1), {}, alpha, dtype=None
    )


def test_each_weight_grows_by_scale_times_up_times_down(model: DiffusionModel, tmp_path: Path) -> None:
    path = _file(model, tmp_path / "a.safetensors", alpha=6.0)
    stored, before = load_file(path), _snapshot(model)
    with lora(model, read_lora(path), weight=0.5, text_weight=0.25) as applied:
        assert applied.modules == len(stored) // 3
        assert applied.unknown == ()
        for prefix, network, place, strength in (
            ("lora_unet_", model.networks.unet_module, 0, 0.5),
            ("lora_te_text_model_", model.networks.text_encoder, 1, 0.25),
        ):
            for path_, shape in layers(network):
                name = prefix + path_.replace(".", "_")
                up, down = stored[f"{name}.lora_up.weight"], stored[f"{name}.lora_down.weight"]
                delta = (up.flatten(1).double() @ down.flatten(1).double()).view(shape) * 6 / 4
                expected = before[f"{place}.{path_}.weight"].double() + strength * delta
                got = network.get_submodule(path_).weight.double()
                assert (got - expected).abs().max() < 1e-6, name


def test_the_picture_changes_inside_and_is_the_same_outside(model: DiffusionModel, tmp_path: Path) -> None:
    weights = read_lora(_file(model, tmp_path / "a.safetensors"))
    x = torch.randn(1, 8, 8, 8, generator=torch.Generator().manual_seed(1))

    def draw() -> Tensor:
        return model.denoise(x, 1.0, model.encode_text(["red fox"]))

    plain = draw()
    with lora(model, weights):
        assert not torch.allclose(draw(), plain, atol=1e-3)
    assert torch.equal(draw(), plain)
    with lora(model, weights, weight=0.0) as applied:
        assert applied.modules == 0
        assert torch.equal(draw(), plain)
    with lora(model, weights, weight=0.0, text_weight=1.0) as applied:
        assert applied.modules == sum(part.target == "text" for part in weights.parts)
        assert not torch.equal(draw(), plain)


def test_it_comes_off_after_an_exception(model: DiffusionModel, tmp_path: Path) -> None:
    weights = read_lora(_file(model, tmp_path / "a.safetensors"))
    with pytest.raises(KeyboardInterrupt), lora(model, weights):
        raise KeyboardInterrupt


def test_several_add_up_and_come_off_in_any_order(model: DiffusionModel, tmp_path: Path) -> None:
    made = [read_lora(_file(model, tmp_path / f"{i}.safetensors", seed=10 * i)) for i in range(3)]
    alone: list[dict[str, Tensor]] = []
    for weights in made:
        with lora(model, weights, 0.7):
            alone.append(_snapshot(model))
    plain = _snapshot(model)
    contexts = [lora(model, weights, 0.7) for weights in made]
    for context in contexts:
        context.__enter__()
    all_three = _snapshot(model)
    for name in plain:
        total = sum((one[name].double() for one in alone), start=-2 * plain[name].double())
        assert (all_three[name].double() - total).abs().max() < 2e-6, name
    contexts[0].__exit__(None, None, None)
    contexts[2].__exit__(None, None, None)
    for name, tensor in _snapshot(model).items():
        assert torch.equal(tensor, alone[1][name]), name
    contexts[1].__exit__(None, None, None)


def test_the_same_file_may_be_on_twice(model: DiffusionModel, tmp_path: Path) -> None:
    weights = read_lora(_file(model, tmp_path / "a.safetensors"))
    with lora(model, weights, 0.8):
        once = _snapshot(model)
        with lora(model, weights, 0.8):
            assert any(not torch.equal(t, once[name]) for name, t in _snapshot(model).items())
        assert all(torch.equal(t, once[name]) for name, t in _snapshot(model).items())


def test_blocks_have_factors(model: DiffusionModel, tmp_path: Path) -> None:
    weights = read_lora(_file(model, tmp_path / "a.safetensors", conv=False))
    with lora(model, weights):
        full = _snapshot(model)
    plain = _snapshot(model)
    with lora(model, weights, blocks={"down.1": 0.5, "mid": 0.0}):
        for name, tensor in _snapshot(model).items():
            if "0.down_blocks.1." in name:
                half = (full[name].double() + plain[name].double()) / 2
                assert (tensor.double() - half).abs().max() < 1e-6, name
            else:
                assert torch.equal(tensor, plain[name] if name.startswith("0.mid_block") else full[name]), (
                    name
                )
    with (
        pytest.raises(SpecError, match=r'no block "down.7"; its blocks are .*down.0.*mid.*up.2'),
        lora(model, weights, blocks={"down.7": 1.0}),
    ):
        pass


def test_originals_are_not_kept_alive_after(model: DiffusionModel, tmp_path: Path) -> None:
    weights = read_lora(_file(model, tmp_path / "a.safetensors"))
    with lora(model, weights):
        pass
    gc.collect()
    from jogak.adapters.lora import _Patched

    assert not [thing for thing in gc.get_objects() if type(thing) is _Patched]


# what does not fit


def test_a_lora_of_another_family_is_named(model: DiffusionModel, sd15_folder: Path, tmp_path: Path) -> None:
    tiny = load(resolve(sd15_folder, backend="torch"))
    weights = read_lora(true_kohya(tmp_path / "xl.safetensors", "sdxl", rank=1))
    with pytest.raises(SpecError, match="made for SDXL, this model is of text width 64"), lora(tiny, weights):
        pass


@pytest.fixture(scope="module")
def true_models(sd15_folder: Path) -> dict[str, DiffusionModel]:
    """SD 1.5 and SDXL in their true shapes, without numbers."""
    ref = resolve(sd15_folder, backend="torch")
    found: dict[str, DiffusionModel] = {}
    with torch.device("meta"):
        for base, config in (("sd15", SD15_UNET), ("sdxl", SDXL_UNET)):
            networks = SimpleNamespace(
                unet_module=UNet2DConditionModel(**config),
                text_encoder=CLIPTextModel(CLIPTextConfig(**CLIP_L)),
                text_encoder_2=CLIPTextModelWithProjection(CLIPTextConfig(**CLIP_BIG_G))
                if base == "sdxl"
                else None,
            )
            found[base] = DiffusionModel(ref, networks)  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize(("base", "modules"), [("sd15", 264), ("sdxl", 986)])
def test_a_true_file_fits_its_true_model_whole(
    true_models: dict[str, DiffusionModel], tmp_path: Path, base: str, modules: int
) -> None:
    fitted = fitting(true_models[base], read_lora(true_kohya(tmp_path / "a.safetensors", base, rank=1)))
    assert (len(fitted.pairs), fitted.unknown) == (modules, ())


@pytest.mark.parametrize(
    ("base", "other", "words"),
    [
        ("sdxl", "sd15", "made for SDXL, this model is SD 1.5"),
        ("sd15", "sdxl", "made for SD 1.5, this model is SDXL"),
    ],
)
def test_a_true_file_on_the_other_true_model(
    true_models: dict[str, DiffusionModel], tmp_path: Path, base: str, other: str, words: str
) -> None:
    weights = read_lora(true_kohya(tmp_path / "a.safetensors", base, rank=1))
    with pytest.raises(SpecError) as caught:
        fitting(true_models[other], weights)
    assert words in str(caught.value)


def test_a_misfit_names_the_module_and_both_shapes(model: DiffusionModel, tmp_path: Path) -> None:
    unet, _ = _shapes(model, conv=False)
    path = "mid_block.attentions.0.proj_in"
    tensors = peft_factors(unet | {path: (48, 64)})
    weights = read_lora(write_kohya(tmp_path / "a.safetensors", tensors, {}, {}, 4.0))
    with (
        pytest.raises(SpecError, match=r"mid_block_attentions_0_proj_in .*\(48, 64\).*\(64, 64\) \(1 of 84"),
        lora(model, weights),
    ):
        pass


def test_unknown_modules_are_counted(model: DiffusionModel, tmp_path: Path) -> None:
    unet, _ = _shapes(model, conv=False)
    more = {"down_blocks.9.attentions.0.proj_in": (32, 32)}
    weights = read_lora(write_kohya(tmp_path / "a.safetensors", peft_factors(unet | more), {}, {}, 4.0))
    with lora(model, weights) as applied:
        assert applied.unknown == ("unet: down_blocks_9_attentions_0_proj_in",)
        assert applied.modules == len(unet)
    weights = read_lora(write_kohya(tmp_path / "b.safetensors", peft_factors(more), {}, {}, 4.0))
    with pytest.raises(SpecError, match="nothing of the LoRA"), lora(model, weights):
        pass


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_is_refused_and_the_model_untouched(model: DiffusionModel, tmp_path: Path, bad: float) -> None:
    path = _file(model, tmp_path / "a.safetensors")
    tensors = load_file(path)
    name = sorted(name for name in tensors if name.endswith("lora_up.weight"))[-1]
    tensors[name].view(-1)[3] = bad
    save_file(tensors, path)
    with pytest.raises(SpecError, match=f"{name} holds NaN"), lora(model, read_lora(path)):
        pass


def test_a_model_that_cannot_change_is_refused_in_a_sentence(model: DiffusionModel, tmp_path: Path) -> None:
    weights = read_lora(_file(model, tmp_path / "a.safetensors"))
    other = model.ref.model_copy(update={"numeric": "openvino-bf16-t2"})
    with (
        pytest.raises(SpecError, match="--backend torch"),
        lora(DiffusionModel(other, model.networks), weights),
    ):
        pass
    without = DiffusionModel(model.ref, networks=object())  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="has no UNet"), lora(without, weights):
        pass


@pytest.mark.parametrize(
    ("memory", "words"),
    [
        ({"weights": "fp8"}, "rounded away"),
        ({"offload": "group"}, "streamed layer by layer"),
        ({"text": "int8"}, "give a text weight of 0"),
    ],
)
def test_weights_in_8_bits_are_refused(
    model: DiffusionModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: dict, words: str
) -> None:
    weights = read_lora(_file(model, tmp_path / "a.safetensors"))
    monkeypatch.setattr(model.networks, "memory", Memory(**memory))
    with pytest.raises(SpecError, match=words), lora(model, weights):
        pass
    if "text" in memory:
        with lora(model, weights, text_weight=0.0) as applied:
            assert applied.modules > 0


# against diffusers itself


def _pipeline(folder: Path):
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler
    from transformers.models.clip.tokenization_clip import CLIPTokenizer

    return StableDiffusionPipeline(
        vae=build_vae(folder), text_encoder=build_text_encoder(folder), unet=build_unet(folder),
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"), scheduler=DDIMScheduler(),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def _theirs(folder: Path, file: Path, strength: float) -> tuple[Tensor, Tensor]:
    """Text states and UNet output of diffusers with its own loader."""
    pipe = _pipeline(folder)
    pipe.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name="a")
    pipe.set_adapters(["a"], [strength])
    return _run(pipe.text_encoder.eval(), pipe.unet.eval())


def _ours(folder: Path, file: Path, strength: float) -> tuple[Tensor, Tensor]:
    networks = load(resolve(folder, backend="torch"))
    with lora(networks, read_lora(file), strength) as applied:
        assert applied.unknown == ()
        return _run(networks.networks.text_encoder, networks.networks.unet_module)


@torch.no_grad()
def _run(text, unet) -> tuple[Tensor, Tensor]:
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(5))
    states = text(input_ids=torch.arange(77)[None], return_dict=False)[0]
    return states, unet(x, torch.tensor([300]), states, return_dict=False)[0]


@pytest.mark.parametrize(
    ("layout", "conv", "strength"),
    [
        ("kohya", False, 1.0),
        ("kohya", False, 0.6),
        ("kohya", True, 1.0),
        ("diffusers", True, 0.6),
        ("diffusers_processor", False, 1.0),
    ],
)
def test_the_result_is_that_of_diffusers(
    sd15_folder: Path, tmp_path: Path, layout: str, conv: bool, strength: float
) -> None:
    other = load(resolve(sd15_folder, backend="torch"))
    unet, text = _shapes(other, conv=True)
    # diffusers maps kohya's names of attention, feed-forward, resnets and resizers
    wanted = ATTENTION + (
        (".conv1", ".conv2", ".conv_shortcut", "samplers.0.conv", ".time_emb_proj") if conv else ()
    )
    unet = {path: shape for path, shape in unet.items() if path.endswith(wanted)}
    if layout == "diffusers_processor":
        unet = {path: shape for path, shape in unet.items() if ".attn" in path}
        text = {path: shape for path, shape in text.items() if ".self_attn." in path}
    file = write_layout(tmp_path, layout, peft_factors(unet, seed=3), peft_factors(text, seed=4), alpha=2.0)
    plain = _run(other.networks.text_encoder, other.networks.unet_module)
    for ours, theirs, without in zip(
        _ours(sd15_folder, file, strength), _theirs(sd15_folder, file, strength), plain, strict=True
    ):
        assert (theirs - without).abs().max() > 1e-2
        assert (ours - theirs).abs().max() < 1e-4


def test_dora_is_that_of_diffusers(sd15_folder: Path, tmp_path: Path) -> None:
    """In diffusers' own layout: of kohya's it drops the `dora_scale`."""
    other = load(resolve(sd15_folder, backend="torch"))
    unet, _ = _shapes(other, conv=True)
    unet = {path: shape for path, shape in unet.items() if path.endswith((*ATTENTION, ".conv1", ".conv2"))}
    tensors = peft_factors(unet, seed=6)
    for path, shape in unet.items():
        weight = other.networks.unet_module.get_submodule(path).weight
        spread = torch.rand(shape[0], generator=torch.Generator().manual_seed(len(tensors)))
        norms = weight.flatten(1).norm(dim=1) * (1 + spread)
        tensors[f"{path}.lora_magnitude_vector"] = norms if len(shape) == 2 else norms.view(1, -1, 1, 1)
    file = tmp_path / "dora.safetensors"
    save_file({f"unet.{name}".replace("vector", "vector.weight"): t for name, t in tensors.items()}, file)
    plain = _run(other.networks.text_encoder, other.networks.unet_module)[1]
    theirs = _theirs(sd15_folder, file, 1.0)[1]
    assert (theirs - plain).abs().max() > 1e-2
    assert (_ours(sd15_folder, file, 1.0)[1] - theirs).abs().max() < 1e-4
    kohya = write_kohya(tmp_path / "kohya.safetensors", tensors, {}, {}, 4.0, dtype=None)
    assert read_lora(kohya).kind == "dora+locon"
    assert (_ours(sd15_folder, kohya, 1.0)[1] - theirs).abs().max() < 1e-4
