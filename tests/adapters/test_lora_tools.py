"""Merge, resize, extract and convert: what comes out changes a model as it should."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from jogak.adapters.kohya import write_kohya
from jogak.adapters.lora import lora, lora_info, read_lora
from jogak.adapters.lora_tools import convert, cut_factors, cut_full, extract, merge, resize
from jogak.models import load, resolve
from jogak.models.diffusion import build_text_encoder, build_unet
from jogak.spec import SpecError
from tests.lora_layouts import BASES, METADATA, layers, peft_factors, true_kohya, write_layout
from tests.tiny_models import make_sd15_like

UNET = {
    "down_blocks.0.attentions.1.transformer_blocks.0.attn2.to_k": (6, 768),
    "mid_block.attentions.0.proj_in": (6, 6, 1, 1),
    "down_blocks.0.resnets.0.conv1": (8, 6, 3, 3),
    "up_blocks.1.attentions.0.transformer_blocks.0.ff.net.0.proj": (16, 6),
}
TEXT = {"encoder.layers.0.self_attn.q_proj": (10, 10), "encoder.layers.1.mlp.fc1": (20, 10)}


def write(
    path: Path, seed: int, rank: int = 3, alpha: float = 2.0, metadata: dict | None = None, **more
) -> Path:
    unet, text = peft_factors(UNET, rank, seed), peft_factors(TEXT, rank, seed + 1)
    return write_kohya(path, unet, text, metadata or METADATA, alpha, dtype=None, **more)


def deltas(path: Path) -> dict[tuple[str, str], Tensor]:
    return {(c.part.target, c.part.name): c.delta() for c in read_lora(path).changes()}


def close(a: Tensor, b: Tensor, relative: float) -> bool:
    return bool((a - b).norm() <= relative * b.norm())


# merge


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    weights=st.lists(st.sampled_from([-0.5, 0.3, 0.8, 1.0]), min_size=2, max_size=4),
    ranks=st.lists(st.integers(1, 4), min_size=4, max_size=4),
    full_rank=st.booleans(),
)
def test_a_merge_changes_as_all_together_do(
    tmp_path_factory: pytest.TempPathFactory, weights: list[float], ranks: list[int], full_rank: bool
) -> None:
    folder = tmp_path_factory.mktemp("merge")
    paths = [write(folder / f"{i}.safetensors", 7 * i, ranks[i], 1.0 + i) for i in range(len(weights))]
    loras = [(read_lora(path), weight) for path, weight in zip(paths, weights, strict=True)]
    # a rank that is at least the sum's loses nothing either
    merge(loras, folder / "out.safetensors", rank=64 if full_rank else None)
    got = deltas(folder / "out.safetensors")
    each = [deltas(path) for path in paths]
    assert got.keys() == each[0].keys()
    for key, delta in got.items():
        expected = sum(
            (w * one[key].double() for w, one in zip(weights, each, strict=True)), start=torch.zeros(1)
        )
        # weights may cancel; then only rounding is left of either
        size = max(one[key].norm() for one in each)
        assert (delta - expected).norm() <= 2e-6 * size, key


def test_ranks_add_up_and_metadata_are_joined(tmp_path: Path) -> None:
    a = write(tmp_path / "a.safetensors", 0, 3, metadata=METADATA | BASES["sd15"])
    tags = json.dumps({"5_ink": {"ink style": 12}})
    other = (
        METADATA
        | BASES["sd15"]
        | {"ss_seed": "7", "ss_tag_frequency": tags, "modelspec.trigger_phrase": "ink style"}
    )
    b = write(tmp_path / "b.safetensors", 1, 5, metadata=other)
    made = merge([(read_lora(a), 0.8), (read_lora(b), 0.5)], tmp_path / "both.safetensors")
    assert (made.ranks, made.kept, made.modules) == ({8: 6}, 1.0, 6)
    told = read_lora(made.path).metadata
    assert told["ss_network_dim"] == told["ss_network_alpha"] == "8"
    assert told["modelspec.trigger_phrase"] == "sk_puppet, ink style"
    assert told["jogak.history"] == "merge a:0.8, b:0.5"
    assert told["modelspec.merged_from"] == "a, b"
    assert "ss_seed" not in told, "what only one of them tells would be wrong of both"
    assert told["ss_base_model_version"] == "sd_v1"
    assert set(json.loads(told["ss_tag_frequency"])) == {"10_puppet", "5_ink"}
    assert len(told["sshs_model_hash"]) == 64


def test_a_merge_to_a_rank_is_the_best_one(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{i}.safetensors", 9 * i, 4) for i in range(2)]
    made = merge([(read_lora(path), 1.0) for path in paths], tmp_path / "out.safetensors", rank=2)
    each, got = [deltas(path) for path in paths], deltas(made.path)
    total = kept = 0.0
    for key, delta in got.items():
        whole = each[0][key].double() + each[1][key].double()
        s = torch.linalg.svdvals(whole)
        best = s[2:].square().sum().sqrt()
        assert (delta - whole).norm() <= best * (1 + 1e-5) + 1e-6
        total, kept = total + s.square().sum().item(), kept + s[:2].square().sum().item()
    assert made.kept == pytest.approx(kept / total, rel=1e-6)


def test_what_cannot_be_merged_is_said(tmp_path: Path) -> None:
    a = read_lora(write(tmp_path / "a.safetensors", 0))
    xl = read_lora(true_kohya(tmp_path / "xl.safetensors", "sdxl", rank=1))
    out = tmp_path / "out.safetensors"
    with pytest.raises(SpecError, match=r"a for SD 1\.5 and xl for SDXL"):
        merge([(a, 1.0), (xl, 1.0)], out)
    with pytest.raises(SpecError, match="takes two or more"):
        merge([(a, 1.0)], out)
    with pytest.raises(SpecError, match=r"rank: 0 is out of range"):
        merge([(a, 1.0), (a, 1.0)], out, rank=0)
    full = read_lora(write_layout(tmp_path, "full", peft_factors(UNET), {}, 4.0))
    with pytest.raises(SpecError, match="give --rank"):
        merge([(a, 1.0), (full, 1.0)], out)
    made = merge([(a, 1.0), (full, 1.0)], out, rank=8)
    assert made.kept > 0.5
    path = "mid_block.attentions.0.proj_in"
    wider = read_lora(write_kohya(tmp_path / "w.safetensors", peft_factors({path: (6, 9)}), {}, {}, 4.0))
    with pytest.raises(SpecError, match=r"mid_block_attentions_0_proj_in is of shape \(6, 6, 1, 1\) in a"):
        merge([(a, 1.0), (wider, 1.0)], tmp_path / "no.safetensors")
    assert not (tmp_path / "no.safetensors").exists()


# resize


@pytest.mark.parametrize("shape", [(12, 20), (20, 12), (9, 9)])
def test_a_cut_is_the_best_of_its_rank(shape: tuple[int, int]) -> None:
    g = torch.Generator().manual_seed(1)
    up, down = torch.randn(shape[0], 6, generator=g), torch.randn(6, shape[1], generator=g)
    whole = (up @ down).double()
    u, s, v = torch.linalg.svd(whole, full_matrices=False)
    for rank in (1, 3, 6, 40):
        best = (u[:, :rank] * s[:rank]) @ v[:rank]
        for cut in (cut_factors(up, down, rank), cut_full(whole.float(), rank)):
            assert cut.down.shape[0] == min(rank, 6)
            assert (cut.up @ cut.down - best).norm() < 1e-5 * whole.norm()
            assert cut.kept / cut.energy == pytest.approx((s[:rank] ** 2).sum().item() / (s**2).sum().item())
    for energy in (0.3, 0.9, 0.999, 1.0):
        cut = cut_factors(up, down, 1024, energy)
        count = cut.down.shape[0]
        shares = (s**2).cumsum(0) / (s**2).sum()
        assert shares[count - 1] >= energy - 1e-9
        assert count == 1 or shares[count - 2] < energy


def test_resize_to_a_rank_or_an_energy(tmp_path: Path) -> None:
    weights = read_lora(write(tmp_path / "a.safetensors", 0, 8))
    made = resize(weights, tmp_path / "r.safetensors", rank=4)
    assert made.ranks == {4: 6}
    assert 0.5 < made.kept < 1
    told = read_lora(made.path).metadata
    assert told["ss_network_dim"] == "4"
    assert told["ss_tag_frequency"] == METADATA["ss_tag_frequency"]
    assert told["jogak.history"] == "resize a to rank 4"
    again = resize(read_lora(made.path), tmp_path / "again.safetensors", rank=2)
    assert read_lora(again.path).metadata["jogak.history"] == "resize a to rank 4; resize r to rank 2"
    by_energy = resize(weights, tmp_path / "e.safetensors", energy=0.9)
    assert by_energy.kept >= 0.9
    assert len(by_energy.ranks) > 1
    assert read_lora(by_energy.path).metadata["ss_network_dim"] == "Dynamic"
    all_of_it = resize(weights, tmp_path / "all.safetensors", energy=1.0)
    before = deltas(tmp_path / "a.safetensors")
    assert all(close(delta, before[key], 2e-6) for key, delta in deltas(all_of_it.path).items())


def test_a_loha_becomes_a_lora(tmp_path: Path) -> None:
    g = torch.Generator().manual_seed(2)
    path = "mid_block.attentions.0.proj_in"
    tensors = {f"{path}.hada_{name}": torch.randn(shape, generator=g) for name, shape in
               (("w1_a", (12, 2)), ("w1_b", (2, 10)), ("w2_a", (12, 2)), ("w2_b", (2, 10)))}  # fmt: skip
    file = write_kohya(tmp_path / "loha.safetensors", tensors, {}, {}, 1.0, dtype=None)
    made = resize(read_lora(file), tmp_path / "lora.safetensors", rank=4)
    assert (read_lora(made.path).kind, read_lora(made.path).rank) == ("lora", 4)
    assert made.kept == pytest.approx(1.0)
    before = deltas(file)
    assert all(close(delta, before[key], 1e-5) for key, delta in deltas(made.path).items())


def test_what_resize_is_not_told_it_asks(tmp_path: Path) -> None:
    weights = read_lora(write(tmp_path / "a.safetensors", 0))
    for more in ({}, {"rank": 2, "energy": 0.5}):
        with pytest.raises(SpecError, match="one of --rank and --energy"):
            resize(weights, tmp_path / "out.safetensors", **more)
    with pytest.raises(SpecError, match="is no share"):
        resize(weights, tmp_path / "out.safetensors", energy=90)
    with pytest.raises(SpecError, match=r"does not end in \.safetensors"):
        resize(weights, tmp_path / "out.bin", rank=2)
    tensors = peft_factors(UNET) | {
        f"{path}.lora_magnitude_vector": torch.ones(s[0]) for path, s in UNET.items()
    }
    dora = read_lora(write_kohya(tmp_path / "dora.safetensors", tensors, {}, {}, 1.0))
    with pytest.raises(SpecError, match="is a DoRA"):
        resize(dora, tmp_path / "out.safetensors", rank=2)


# extract


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sd15_like(tmp_path_factory.mktemp("extract") / "base")


@pytest.fixture(scope="module")
def tuned(base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The base with a LoRA of rank 4 merged in, and that LoRA."""
    folder = tmp_path_factory.mktemp("tuned")
    unet, text = dict(layers(build_unet(base))), dict(layers(build_text_encoder(base)))
    unet = {path: shape for path, shape in unet.items() if ".attentions." in path}
    file = write_kohya(
        folder / "made.safetensors", peft_factors(unet), peft_factors(text), {}, 2.0, dtype=None
    )
    shutil.copytree(base, folder / "model")
    model = load(resolve(base, backend="torch"))
    with lora(model, read_lora(file)):
        model.networks.unet_module.save_pretrained(folder / "model" / "unet")
        states = model.networks.text_encoder.state_dict()
        path = folder / "model" / "text_encoder" / "model.safetensors"
        old = load_file(path)
        save_file(old | {f"text_model.{name}": t.clone() for name, t in states.items()}, path)
    return folder / "model", file


def test_extract_finds_what_was_put_in(base: Path, tuned: tuple[Path, Path], tmp_path: Path) -> None:
    folder, file = tuned
    made = extract(str(folder), str(base), tmp_path / "out.safetensors", rank=4, dtype=torch.float32)
    assert made.kept == pytest.approx(1.0, abs=1e-6)
    assert made.notes == ()
    before, got = deltas(file), deltas(made.path)
    assert got.keys() == before.keys()
    assert all(close(delta, before[key], 1e-4) for key, delta in got.items())
    told = read_lora(made.path).metadata
    assert told["ss_sd_model_name"] == "base"
    assert told["jogak.history"] == "extract model minus base to rank 4"


def test_extract_says_what_it_leaves_out(base: Path, tuned: tuple[Path, Path], tmp_path: Path) -> None:
    folder = tmp_path / "more"
    shutil.copytree(tuned[0], folder)
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    weights["conv_in.weight"] += 1.0
    weights["conv_in.bias"] += 1.0
    save_file(weights, path)
    made = extract(str(folder), str(base), tmp_path / "a.safetensors", rank=4)
    assert "lies where this LoRA cannot hold it" in made.notes[0]
    with_conv = extract(str(folder), str(base), tmp_path / "b.safetensors", rank=4, conv=True)
    assert with_conv.modules == made.modules + 1
    assert with_conv.kept > made.kept


def test_extract_refuses_equal_and_unlike_models(base: Path, tmp_path: Path) -> None:
    from tests.tiny_models import make_pocket_like

    pocket = make_pocket_like(tmp_path / "pocket")
    with pytest.raises(SpecError, match="do not differ"):
        extract(str(base), str(base), tmp_path / "out.safetensors")
    with pytest.raises(SpecError, match="of different build: unet/"):
        extract(str(pocket), str(base), tmp_path / "out.safetensors")
    with pytest.raises(SpecError, match="neither in the catalogue"):
        extract("no-such-model", str(base), tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


# convert


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize("base_name", ["sd15", "sdxl"])
def test_round_trips_keep_every_bit(tmp_path: Path, dtype: torch.dtype, dora: bool, base_name: str) -> None:
    unet = peft_factors(UNET, 3)
    if dora:
        unet |= {f"{path}.lora_magnitude_vector": torch.rand(shape[0]) for path, shape in UNET.items()}
    more = {"text2": peft_factors(TEXT | {"text_projection": (10, 10)}, 2)} if base_name == "sdxl" else {}
    metadata = METADATA | BASES[base_name]
    kohya = write_kohya(
        tmp_path / "0.safetensors", unet, peft_factors(TEXT, 3), metadata, 0.1, dtype=dtype, **more
    )
    if base_name == "sdxl":  # the text width says SD 1.5 here, which must not take SDXL's names away
        assert any("middle_block" in name for name in load_file(kohya))
    peft = convert(read_lora(kohya), tmp_path / "peft", "peft").path
    diffusers = convert(read_lora(peft), tmp_path / "d.safetensors", "diffusers").path
    back = convert(read_lora(diffusers), tmp_path / "k.safetensors", "kohya").path
    before, after = load_file(kohya), load_file(back)
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert torch.equal(tensor, after[name]), name
        assert tensor.dtype == after[name].dtype or dora, name
    told = read_lora(back).metadata
    assert {key: told[key] for key in METADATA if "network" not in key} == {
        key: METADATA[key] for key in METADATA if "network" not in key
    }


def test_modules_of_several_ranks_and_alphas_survive(tmp_path: Path) -> None:
    weights = read_lora(write(tmp_path / "a.safetensors", 0, 8))
    dynamic = resize(weights, tmp_path / "b.safetensors", energy=0.8).path
    peft = convert(read_lora(dynamic), tmp_path / "peft", "peft").path
    diffusers = convert(read_lora(peft), tmp_path / "d.safetensors", "diffusers").path
    before = deltas(dynamic)
    for path in (peft, diffusers):
        got = deltas(path)
        assert got.keys() == before.keys()
        assert all(torch.equal(got[key], before[key]) for key in got)


def test_a_core_is_multiplied_in(tmp_path: Path) -> None:
    locon = write_layout(tmp_path, "locon", peft_factors(UNET), {}, 4.0)
    before = deltas(locon)
    got = deltas(convert(read_lora(locon), tmp_path / "d.safetensors", "diffusers").path)
    assert all(close(delta, before[key], 1e-6) for key, delta in got.items())


def test_what_has_no_other_layout_is_said(tmp_path: Path) -> None:
    full = read_lora(write_layout(tmp_path, "full", peft_factors(UNET), {}, 4.0))
    with pytest.raises(SpecError, match="resize --rank"):
        convert(full, tmp_path / "x.safetensors", "diffusers")
    weights = read_lora(write(tmp_path / "a.safetensors", 0))
    (tmp_path / "there").mkdir()
    with pytest.raises(SpecError, match="there exists; PEFT's layout is a new folder"):
        convert(weights, tmp_path / "there", "peft")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [
        "a.safetensors",
        "full.safetensors",
        "there",
    ]


def test_peft_loads_what_is_written_for_it(base: Path, tuned: tuple[Path, Path], tmp_path: Path) -> None:
    from peft import PeftModel

    folder = convert(read_lora(tuned[1]), tmp_path / "peft", "peft").path
    unet = build_unet(base)
    expected = load_file(tuned[0] / "unet" / "diffusion_pytorch_model.safetensors")
    merged = PeftModel.from_pretrained(unet, folder / "unet").merge_and_unload().state_dict()
    assert all((merged[name] - tensor).abs().max() < 1e-5 for name, tensor in expected.items())


def test_diffusers_loads_what_is_written_for_it(base: Path, tuned: tuple[Path, Path], tmp_path: Path) -> None:
    from diffusers.loaders.lora_pipeline import StableDiffusionLoraLoaderMixin as Loader

    file = convert(read_lora(tuned[1]), tmp_path / "d.safetensors", "diffusers").path
    state, alphas, metadata = Loader.lora_state_dict(str(file), return_lora_metadata=True)
    unet = build_unet(base)
    Loader.load_lora_into_unet(state, alphas, unet, metadata=metadata)
    unet.fuse_lora()
    expected = load_file(tuned[0] / "unet" / "diffusion_pytorch_model.safetensors")
    fused = {
        name.replace(".base_layer", ""): t for name, t in unet.state_dict().items() if ".lora_" not in name
    }
    assert fused.keys() == expected.keys()
    assert all((fused[name] - tensor).abs().max() < 1e-5 for name, tensor in expected.items())


# info


def test_info_tells_what_is_there(tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", 0, 3, metadata=METADATA | BASES["sd15"])
    told = lora_info(path)
    assert (told.kind, told.base, told.ranks, told.alphas) == ("locon", "sd15", {3: 6}, {2.0: 6})
    assert (told.trigger, told.trigger_is_told) == ("sk_puppet", True)
    assert told.tags == (("sk_puppet", 24), ("red scarf", 17), ("인형", 9))
    assert told.training["pictures"] == "24"
    assert told.training["seed"] == "42"
    assert told.modules == {"unet": 4, "text": 2}
    assert list(told.norms) == ["down.0", "mid", "up.1", "text"]
    expected: dict[str, float] = {}
    for (target, name), delta in deltas(path).items():
        block = (
            "text" if target == "text" else next(b for b in told.norms if name.startswith(b.split(".")[0]))
        )
        expected[block] = expected.get(block, 0) + delta.double().square().sum().item()
    assert told.norms == pytest.approx({block: square**0.5 for block, square in expected.items()}, rel=1e-5)


def test_a_trigger_that_is_not_told_is_the_tag_of_every_caption(tmp_path: Path) -> None:
    metadata = {key: value for key, value in METADATA.items() if "trigger" not in key}
    told = lora_info(write(tmp_path / "a.safetensors", 0, metadata=metadata))
    assert (told.trigger, told.trigger_is_told) == ("sk_puppet", False)


@pytest.mark.parametrize(
    "frequency", ["", "{", "[" * 100_000, "[1]", '{"a": 3}', '{"a": {"b": "x"}}', '{"a": {"b": 1e999}}']
)
def test_unreadable_metadata_are_left_out(tmp_path: Path, frequency: str) -> None:
    hostile = {"ss_tag_frequency": frequency, "modelspec.title": "a\x1b[31mred\nline\u202e", "ss_training_started_at": "nan",
               "ss_training_finished_at": "1e300"}  # fmt: skip
    told = lora_info(write(tmp_path / "a.safetensors", 0, metadata=hostile))
    assert told.tags == ()
    assert told.title == "a�[31mred line�"
