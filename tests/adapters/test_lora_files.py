"""Reading LoRA files: every layout says the same, and what is wrong is said in words."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from jogak.adapters.lora_files import find_lora, read_lora
from jogak.spec import SpecError
from tests.lora_layouts import METADATA, kohya_layers, peft_factors, true_kohya, write_layout

UNET = {
    "down_blocks.0.attentions.1.transformer_blocks.0.attn1.to_q": (6, 6),
    "down_blocks.0.attentions.1.transformer_blocks.0.attn2.to_k": (6, 10),
    "mid_block.attentions.0.transformer_blocks.0.attn2.to_out.0": (6, 6),
    "up_blocks.1.attentions.0.transformer_blocks.0.ff.net.0.proj": (16, 6),
    "down_blocks.0.attentions.1.proj_in": (6, 6, 1, 1),
    "down_blocks.0.resnets.0.conv1": (8, 6, 3, 3),
    "up_blocks.1.upsamplers.0.conv": (6, 6, 3, 3),
}
TEXT = {
    "encoder.layers.0.self_attn.q_proj": (10, 10),
    "encoder.layers.1.self_attn.out_proj": (10, 10),
    "encoder.layers.1.mlp.fc1": (20, 10),
}
LAYOUTS = (
    "kohya", "kohya_te1", "locon", "peft", "peft_named", "diffusers", "diffusers_lora", "diffusers_processor", "full",
)  # fmt: skip


def deltas(path: Path) -> dict[tuple[str, str], Tensor]:
    return {(c.part.target, c.part.name): c.delta().flatten(1) for c in read_lora(path).changes()}


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rank=st.integers(1, 6), alpha=st.sampled_from([0.5, 1.0, 3.0, 16.0]), seed=st.integers(0, 99))
def test_every_layout_of_the_same_factors_gives_the_same_change(
    tmp_path_factory: pytest.TempPathFactory, rank: int, alpha: float, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("layouts")
    unet, text = peft_factors(UNET, rank, seed), peft_factors(TEXT, rank, seed + 1)
    expected = {
        (target, path.replace(".", "_")): (
            group[f"{path}.lora_B.weight"].flatten(1).double()
            @ group[f"{path}.lora_A.weight"].flatten(1).double()
        )
        * (alpha / rank)
        for target, shapes, group in (("unet", UNET, unet), ("text", TEXT, text))
        for path in shapes
    }
    for layout in LAYOUTS:
        got = deltas(write_layout(folder, layout, unet, text, alpha))
        assert got.keys() == expected.keys(), layout
        for key, delta in got.items():
            assert (delta - expected[key]).norm() <= 1e-6 * expected[key].norm(), (layout, key)


def test_the_older_diffusers_without_unet_before_it(tmp_path: Path) -> None:
    unet = {path: shape for path, shape in UNET.items() if ".attn" in path}
    path = write_layout(tmp_path, "diffusers_processor", peft_factors(unet), {}, 4.0)
    expected = deltas(path)
    save_file(
        {name.removeprefix("unet."): t for name, t in load_file(path).items()}, tmp_path / "older.safetensors"
    )
    got = deltas(tmp_path / "older.safetensors")
    assert got.keys() == expected.keys()
    assert all(torch.equal(got[key], expected[key]) for key in got)


NAME = "lora_unet_down_blocks_0_resnets_0_conv1"


def write(path: Path, tensors: dict[str, Tensor], name: str = NAME, metadata: dict | None = None) -> Path:
    save_file({f"{name}.{tail}": tensor.clone() for tail, tensor in tensors.items()}, path, metadata)
    return path


def one(path: Path) -> tuple[Tensor, str, int]:
    (change,) = read_lora(path).changes()
    return change.delta(), change.part.kind, change.part.rank


def test_loha_linear_convolution_and_tucker(tmp_path: Path) -> None:
    g = torch.Generator().manual_seed(3)
    a1, b1, a2, b2 = (torch.randn(s, generator=g) for s in ((8, 3), (3, 54), (8, 3), (3, 54)))
    tensors = {"hada_w1_a": a1, "hada_w1_b": b1, "hada_w2_a": a2, "hada_w2_b": b2, "alpha": torch.tensor(6.0)}
    delta, kind, rank = one(write(tmp_path / "loha.safetensors", tensors))
    assert (kind, rank) == ("loha", 3)
    torch.testing.assert_close(delta, (a1 @ b1) * (a2 @ b2) * 2)
    t1, t2 = torch.randn(3, 3, 3, 3, generator=g), torch.randn(3, 3, 3, 3, generator=g)
    a1, b1, a2, b2 = (torch.randn(s, generator=g) for s in ((3, 8), (3, 6), (3, 8), (3, 6)))
    tensors = {
        "hada_w1_a": a1,
        "hada_w1_b": b1,
        "hada_w2_a": a2,
        "hada_w2_b": b2,
        "hada_t1": t1,
        "hada_t2": t2,
    }
    delta, _, _ = one(write(tmp_path / "tucker.safetensors", tensors))
    # each number by its definition: sum over i, j of core[i, j, y, x] * a[i, out] * b[j, in]
    expected = torch.zeros(8, 6, 3, 3)
    for o in range(8):
        for n in range(6):
            left = sum(t1[i, j] * a1[i, o] * b1[j, n] for i in range(3) for j in range(3))
            right = sum(t2[i, j] * a2[i, o] * b2[j, n] for i in range(3) for j in range(3))
            expected[o, n] = left * right
    torch.testing.assert_close(delta.view(8, 6, 3, 3), expected, rtol=1e-4, atol=1e-5)
    assert read_lora(tmp_path / "tucker.safetensors").parts[0].shape == (8, 6, 3, 3)


@pytest.mark.parametrize("first", ["whole", "factors"])
@pytest.mark.parametrize("second", ["whole", "factors", "tucker", "linear"])
def test_lokr_whole_and_factored(tmp_path: Path, first: str, second: str) -> None:
    g = torch.Generator().manual_seed(4)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g)

    tensors: dict[str, Tensor] = {"alpha": torch.tensor(6.0)}
    if first == "whole":
        left = tensors["lokr_w1"] = random(2, 3)
    else:
        tensors |= {"lokr_w1_a": random(2, 2), "lokr_w1_b": random(2, 3)}
        left = tensors["lokr_w1_a"] @ tensors["lokr_w1_b"]
    if second == "linear":
        right = tensors["lokr_w2"] = random(4, 2)
    elif second == "whole":
        right = tensors["lokr_w2"] = random(4, 2, 3, 3)
    elif second == "factors":
        tensors |= {"lokr_w2_a": random(4, 2), "lokr_w2_b": random(2, 18)}
        right = (tensors["lokr_w2_a"] @ tensors["lokr_w2_b"]).view(4, 2, 3, 3)
    else:
        tensors |= {"lokr_w2_a": random(2, 4), "lokr_w2_b": random(2, 2), "lokr_t2": random(2, 2, 3, 3)}
        right = torch.einsum(
            "ijyx,io,jn->onyx", tensors["lokr_t2"], tensors["lokr_w2_a"], tensors["lokr_w2_b"]
        )
    scale = 1.0 if first == "whole" and second in ("whole", "linear") else 3.0  # alpha 6 over rank 2
    expected = torch.kron(left if right.ndim == 2 else left[:, :, None, None], right.contiguous()) * scale
    delta, kind, _ = one(write(tmp_path / "lokr.safetensors", tensors))
    assert kind == "lokr"
    torch.testing.assert_close(delta.view(expected.shape), expected)


@pytest.mark.parametrize("by", ["output", "input"])
def test_dora_scales_outputs_or_inputs(tmp_path: Path, by: str) -> None:
    g = torch.Generator().manual_seed(5)
    weight, up, down = (torch.randn(s, generator=g) for s in ((5, 5), (5, 2), (2, 5)))
    scales = torch.rand(5, generator=g) + 0.5
    tensors = {"lora_up.weight": up, "lora_down.weight": down}
    tensors["dora_scale"] = scales[:, None] if by == "output" else scales[None]
    path = write(tmp_path / "dora.safetensors", tensors, "lora_unet_mid_block_attentions_0_proj_in")
    (change,) = read_lora(path).changes()
    new = weight + change.of(weight)
    torch.testing.assert_close(new.norm(dim=1 if by == "output" else 0), scales)
    merged = weight + up @ down
    torch.testing.assert_close(new / new.norm(), merged * (new / merged) / new.norm())
    ratio = new / merged
    torch.testing.assert_close(ratio, ratio[:, :1].expand(5, 5) if by == "output" else ratio[:1].expand(5, 5))


def test_peft_configuration_patterns_and_rank_stabilised_scale(tmp_path: Path) -> None:
    folder = write_layout(tmp_path, "peft", peft_factors(UNET, 4), {}, 8.0)
    special = "mid_block.attentions.0.transformer_blocks.0.attn2.to_out.0"
    config = {"r": 4, "lora_alpha": 8.0, "alpha_pattern": {special: 2.0}, "use_rslora": True}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    scales = {change.part.name: change.scale for change in read_lora(folder).changes()}
    assert scales.pop(special.replace(".", "_")) == 2 / math.sqrt(4)
    assert set(scales.values()) == {8 / math.sqrt(4)}


def test_without_alpha_the_scale_is_one(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.safetensors",
        {"lora_up.weight": torch.ones(8, 2), "lora_down.weight": torch.ones(2, 54)},
    )
    assert torch.equal(one(path)[0], torch.full((8, 54), 2.0))


def test_half_precision_and_bfloat_are_read(tmp_path: Path) -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn):
        tensors = {"lora_up.weight": torch.full((8, 2), 0.5), "lora_down.weight": torch.ones(2, 54)}
        path = write(tmp_path / "a.safetensors", {name: t.to(dtype) for name, t in tensors.items()})
        assert torch.equal(one(path)[0], torch.ones(8, 54))


# true layouts


@pytest.mark.parametrize(("base", "modules", "unet"), [("sd15", 264, 192), ("sdxl", 986, 722)])
def test_true_key_sets_are_read_whole(tmp_path: Path, base: str, modules: int, unet: int) -> None:
    """As many modules as kohya's trainer reports for SD 1.5 and SDXL, all under diffusers' names."""
    path = true_kohya(tmp_path / f"{base}.safetensors", base)
    weights = read_lora(path)
    assert (weights.base, weights.kind, weights.rank) == (base, "lora", 4)
    assert len(weights.parts) == modules
    expected = {
        (target, name.replace(".", "_")): shape
        for target, shapes in kohya_layers(base).items()
        for name, shape in shapes.items()
    }
    assert {(part.target, part.name): part.shape for part in weights.parts} == expected
    assert sum(part.target == "unet" for part in weights.parts) == unet
    assert weights.metadata["ss_output_name"] == METADATA["ss_output_name"]
    assert "lora_unet_input_blocks_4_1_proj_in.lora_down.weight" in load_file(path) or base == "sd15"


# what is wrong, in words

UP, DOWN = torch.ones(8, 2), torch.ones(2, 54)


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"lora_up.weight": UP}, f"{NAME[10:]}: its down is missing"),
        ({"lora_up.weight": UP, "lora_down.weight": torch.ones(3, 54)}, "has rank 2 and its down .* rank 3"),
        ({"lora_up.weight": torch.ones(8), "lora_down.weight": DOWN}, "2 or 4 dimensions fit"),
        ({"lora_up.weight": torch.ones(8, 2, 3, 3), "lora_down.weight": DOWN}, "only 1×1 fits"),
        ({"lora_up.weight": UP, "lora_down.weight": torch.ones(2, 0)}, "is empty"),
        ({"lora_up.weight": UP, "lora_down.weight": DOWN, "alpha": torch.ones(2)}, "must be one number"),
        ({"lora_up.weight": UP, "lora_down.weight": DOWN, "hada_w1_a": UP}, "mixes two kinds"),
        ({"lora_up.weight": UP, "lora_down.weight": DOWN, "dora_scale": torch.ones(7, 1)}, r"\(8, 1\) or"),
        ({"lora_up.weight": UP, "lora_down.weight": DOWN, "lora_magnitude_vector": torch.ones(7)}, "8 numbers fit"),
        ({"lora_up.weight": UP, "lora_down.weight": DOWN.to(torch.int8)}, "type I8; only floating point"),
        (
            {"lora_up.weight": UP, "lora_down.weight": torch.ones(2, 6, 1, 1), "lora_mid.weight": torch.ones(3, 2, 3, 3)},
            r"\(2, 2, height, width\) fits",
        ),
        ({"hada_w1_a": UP, "hada_w1_b": DOWN, "hada_w2_a": UP}, "its hada_w2_b is missing"),
        ({"hada_w1_a": UP, "hada_w1_b": DOWN, "hada_w2_a": UP, "hada_w2_b": torch.ones(2, 5)}, "the same shape"),
        ({"lokr_w1": UP, "lokr_w2_a": UP}, "its lokr_w2_b is missing"),
        ({"lokr_w1_a": UP, "lokr_w1_b": torch.ones(3, 3), "lokr_w2": UP}, "no rank in common"),
        ({"alpha": torch.ones(())}, "only its scale is there"),
        ({"lora_up.weight": UP, "lora_down.weight": DOWN, "diff_b": torch.ones(8)}, "change of a bias"),
        ({"oft_blocks": torch.ones(2, 4, 4)}, "is OFT"),
        ({"weight": UP}, "no tensor of a LoRA that is known"),
        ({"something": UP}, "no tensor of a LoRA that is known"),
    ],
)  # fmt: skip
def test_what_does_not_belong_together_is_said(
    tmp_path: Path, tensors: dict[str, Tensor], words: str
) -> None:
    with pytest.raises(SpecError, match=words):
        read_lora(write(tmp_path / "a.safetensors", tensors))


def test_other_kinds_of_files_are_named(tmp_path: Path) -> None:
    control = {
        "controlnet_cond_embedding.conv_in.weight": UP,
        "down_blocks.0.resnets.0.conv1.weight": UP.clone(),
    }
    save_file(control, tmp_path / "control.safetensors")
    with pytest.raises(SpecError, match="no LoRA but a ControlNet; give it with --control"):
        read_lora(tmp_path / "control.safetensors")


def test_one_module_under_two_names_is_refused(tmp_path: Path) -> None:
    tensors = {"lora_up.weight": UP, "lora_down.weight": DOWN}
    both = {f"{prefix}encoder_layers_0_mlp_fc1.{tail}": t.clone() for tail, t in tensors.items()
            for prefix in ("lora_te_text_model_", "lora_te1_text_model_")}  # fmt: skip
    save_file(both, tmp_path / "a.safetensors")
    with pytest.raises(SpecError, match="twice"):
        read_lora(tmp_path / "a.safetensors")


def test_a_small_file_cannot_ask_for_a_huge_change(tmp_path: Path) -> None:
    tensors = {"lora_up.weight": torch.ones(40_000, 1), "lora_down.weight": torch.ones(1, 40_000)}
    (change,) = read_lora(write(tmp_path / "a.safetensors", tensors)).changes()
    with pytest.raises(SpecError, match="1,600,000,000 numbers"):
        change.delta()


def test_a_folder_without_an_adapter_and_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="without adapter_model"):
        read_lora(tmp_path)
    with pytest.raises(SpecError, match="No such file"):
        read_lora(tmp_path / "none.safetensors")


# finding one by name


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    home, here = tmp_path / "loras", tmp_path / "here"
    (home / "styles").mkdir(parents=True)
    here.mkdir()
    tensors = {"lora_up.weight": UP, "lora_down.weight": DOWN}
    write(home / "puppet.safetensors", tensors, metadata={"ss_output_name": "sk_puppet"})
    write(home / "styles" / "ink.safetensors", tensors)
    write(here / "puppet.safetensors", tensors, metadata={"ss_output_name": "other"})
    write(here / "last-000010.safetensors", tensors, metadata={"ss_output_name": "watercolour"})
    (here / "broken.safetensors").write_bytes(b"nonsense")
    return home, here


def test_a_name_is_a_path_a_stem_or_an_output_name(folders: tuple[Path, Path]) -> None:
    home, here = folders
    assert find_lora("puppet", folders) == home / "puppet.safetensors"
    assert find_lora("puppet", folders[::-1]) == here / "puppet.safetensors"
    assert find_lora("puppet.safetensors", folders) == home / "puppet.safetensors"
    assert find_lora("ink", folders) == home / "styles" / "ink.safetensors"
    assert find_lora("styles/ink", folders) == home / "styles" / "ink.safetensors"
    assert find_lora("sk_puppet", folders) == (home / "puppet.safetensors").resolve()
    assert find_lora("watercolour", folders) == (here / "last-000010.safetensors").resolve()
    assert find_lora(str(here / "puppet.safetensors"), ()) == here / "puppet.safetensors"


def test_a_folder_as_diffusers_writes_it_is_found_by_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "pocket-fast"
    folder.mkdir()
    write(folder / "pytorch_lora_weights.safetensors", {"lora_up.weight": UP, "lora_down.weight": DOWN})
    assert find_lora("pocket-fast", [folder]) == find_lora("pocket-fast", [tmp_path]) == folder
    assert read_lora(folder).rank == 2


def test_an_unknown_name_lists_near_ones(folders: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"Near names: .*watercolour"):
        find_lora("Watercolor", folders)
    with pytest.raises(SpecError, match=r"There are: .*ink"):
        find_lora("zzzzqqqq", folders)
    with pytest.raises(SpecError, match=r"there is no \.safetensors file"):
        find_lora("x", (tmp_path / "none",))


def test_an_output_name_in_two_files_is_refused(folders: tuple[Path, Path]) -> None:
    tensors = {"lora_up.weight": UP, "lora_down.weight": DOWN}
    write(folders[1] / "b.safetensors", tensors, metadata={"ss_output_name": "sk_puppet"})
    with pytest.raises(SpecError, match="two LoRA files call themselves"):
        find_lora("sk_puppet", folders)
