"""What is noticed before a weight is read, on files of the published names and shapes (their data are holes)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from jogak.models import resolve
from jogak.models.estimate import estimate, this_machine
from jogak.models.place import open_place
from jogak.models.preflight import preflight, trigger_words
from jogak.spec import ImageRequest, ModelRef
from jogak.spec.memory import Memory
from jogak.spec.preflight import Finding, Machine
from tests.models.true_layout import published, write_hole

ROOMY = Machine(ram_mb=64_000, vram_mb=48_000)


def ref_of(path: Path, family: str, numeric: str = "torch-fp32-t2") -> ModelRef:
    """A reference without the hash of gigabytes of zeros."""
    return ModelRef(name=str(path), family=family, folder=path, digest="0" * 64, numeric=numeric)


@pytest.fixture(scope="module")
def sd15(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    path = write_hole(tmp_path_factory.mktemp("m") / "v1-5.safetensors", published("sd15"))
    return ref_of(path, "sd15")


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    path = write_hole(tmp_path_factory.mktemp("m") / "xl.safetensors", published("sdxl"))
    return ref_of(path, "sdxl")


@pytest.fixture(scope="module")
def pocket() -> ModelRef:
    return resolve("pocket", "torch")


def ask(prompt: str = "a fox", side: int = 512, **more: object) -> ImageRequest:
    return ImageRequest.parse({"prompt": prompt, "width": side, "height": side} | more)


def codes(findings: Sequence[Finding], level: str = "stop") -> list[str]:
    return [finding.code for finding in findings if finding.level == level]


def saved(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(dict(tensors), path, dict(metadata or {}))
    return path


def kohya(width: int, *, sgm: bool = False, rank: int = 4) -> dict[str, Tensor]:
    block = "input_blocks_4_1" if sgm else "down_blocks_1_attentions_0"
    stem = f"lora_unet_{block}_transformer_blocks_0_attn2_to_k"
    return {
        f"{stem}.lora_down.weight": torch.zeros(rank, width),
        f"{stem}.lora_up.weight": torch.zeros(640, rank),
        f"{stem}.alpha": torch.tensor(4.0),
    }


LORAS: dict[str, dict[str, Tensor]] = {
    "kohya sd15": kohya(768),
    "kohya sdxl": kohya(2048, sgm=True),
    "kohya sd2": kohya(1024),
    "pocket": kohya(384),
    "peft sd15": {
        "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.weight": torch.zeros(4, 768),
        "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.lora_B.weight": torch.zeros(320, 4),
    },
    "loha sdxl": {
        f"lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_v.{name}": torch.zeros(shape)
        for name, shape in (
            ("hada_w1_a", (640, 4)), ("hada_w1_b", (4, 2048)), ("hada_w2_a", (640, 4)), ("hada_w2_b", (4, 2048)),
        )
    },
    "lokr sd15": {
        f"lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_v.{name}": torch.zeros(shape)
        for name, shape in (("lokr_w1", (16, 16)), ("lokr_w2_a", (40, 4)), ("lokr_w2_b", (4, 48)))
    },
}  # fmt: skip
BASES = {"sd15": "sd15", "sdxl": "sdxl", "sd2": "sd2", "pocket": "pocket"}


@pytest.mark.parametrize("name", LORAS)
@pytest.mark.parametrize("base", ["sd15", "sdxl"])
def test_a_lora_for_another_base_is_named(
    name: str, base: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    model: ModelRef = request.getfixturevalue(base)
    path = saved(tmp_path / "style.safetensors", LORAS[name])
    findings = preflight(ask(side=512 if base == "sd15" else 1024), model, loras=[path], machine=ROOMY)
    theirs = name.split()[-1]
    assert codes(findings) == ([] if theirs == base else ["lora.base"])
    if theirs != base:
        stop = findings[0]
        for word in ("style.safetensors", {"sd15": "SD 1.5", "sdxl": "SDXL"}[base]):
            assert word in stop.en
            assert word in stop.ko


def test_a_lora_without_a_telling_width_is_told_by_what_it_says(sd15: ModelRef, tmp_path: Path) -> None:
    bare = {"lora_unet_mid_block_attentions_0_proj_in.lora_down.weight": torch.zeros(4, 1280)}
    said = {"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}
    wrong = preflight(ask(), sd15, loras=[saved(tmp_path / "a.safetensors", bare, said)], machine=ROOMY)
    assert codes(wrong) == ["lora.base"]
    silent = preflight(ask(), sd15, loras=[saved(tmp_path / "b.safetensors", bare)], machine=ROOMY)
    assert codes(silent) == []
    assert "lora.base" in codes(silent, "note")


def test_a_lora_of_another_version_of_pocket_is_noticed(pocket: ModelRef, tmp_path: Path) -> None:
    headers = open_place(pocket.folder).headers("unet")
    inside = {
        f"lora_unet_{name.removesuffix('.weight').replace('.', '_')}": facts.shape[1]
        for name, facts in headers.items()
        if name.endswith(("attn2.to_k.weight", "attn2.to_q.weight"))
    }
    fits = {f"{name}.lora_down.weight": torch.zeros(4, width) for name, width in inside.items()}
    wider = {
        name: torch.zeros(4, tensor.shape[1] + (0 if "to_k" in name else 64)) for name, tensor in fits.items()
    }
    for tensors, expected in ((fits, []), (wider, ["lora.shape"])):
        path = saved(tmp_path / "sk.safetensors", tensors)
        assert codes(preflight(ask(side=256), pocket, loras=[path], machine=ROOMY)) == expected


# trigger words

TAGS = json.dumps({"10_sk": {"sk_style": 24, "fox": 9, "night": 3}, "5_more": {"sk_style": 10}})


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"modelspec.trigger_phrase": "sk_style, sk fox"}, ["sk_style", "sk fox"]),
        ({"ss_tag_frequency": TAGS}, ["sk_style"]),
        ({"ss_tag_frequency": TAGS, "modelspec.trigger_phrase": "xyz"}, ["xyz"]),
        ({"ss_tag_frequency": "[1, 2"}, []),
        ({"ss_tag_frequency": '{"a": {"x": true}}'}, []),
        ({"ss_tag_frequency": "[" * 100_000}, []),
        ({}, []),
    ],
)
def test_trigger_words_are_read_from_metadata(metadata: dict[str, str], words: list[str]) -> None:
    assert trigger_words(metadata) == words


def test_a_missing_trigger_word_is_a_warning(sd15: ModelRef, tmp_path: Path) -> None:
    path = saved(tmp_path / "sk.safetensors", kohya(768), {"ss_tag_frequency": TAGS})
    without = preflight(ask("a fox"), sd15, loras=[path], machine=ROOMY)
    assert codes(without, "warn") == ["lora.trigger"]
    assert "sk_style" in without[0].ko
    assert codes(preflight(ask("a SK_Style fox"), sd15, loras=[path], machine=ROOMY), "warn") == []


# ControlNet


def control(width: int, ldm: bool, channels: int = 4) -> dict[str, Tensor]:
    names = (
        ("control_model.input_blocks.0.0.weight", "control_model.input_blocks.1.1.transformer_blocks.0")
        if ldm
        else ("conv_in.weight", "down_blocks.0.attentions.0.transformer_blocks.0")
    )
    more = {} if ldm else {"controlnet_cond_embedding.conv_in.weight": torch.zeros(16, 3, 3, 3)}
    more |= {"add_embedding.linear_1.weight": torch.zeros(4, 4)} if width == 2048 and not ldm else {}
    return more | {
        names[0]: torch.zeros(320, channels, 3, 3),
        f"{names[1]}.attn2.to_k.weight": torch.zeros(320, width),
    }


@pytest.mark.parametrize("ldm", [True, False])
@pytest.mark.parametrize(("width", "fits"), [(768, True), (2048, False), (1024, False), (384, False)])
def test_a_controlnet_for_another_base_is_named(
    sd15: ModelRef, width: int, fits: bool, ldm: bool, tmp_path: Path
) -> None:
    path = saved(tmp_path / "canny.safetensors", control(width, ldm))
    assert codes(preflight(ask(), sd15, controls=[path], machine=ROOMY)) == ([] if fits else ["control.base"])


def test_a_controlnet_of_other_latents_and_a_folder(sd15: ModelRef, tmp_path: Path) -> None:
    path = saved(tmp_path / "canny.safetensors", control(768, ldm=False, channels=8))
    assert codes(preflight(ask(), sd15, controls=[path], machine=ROOMY)) == ["control.base"]
    folder = tmp_path / "net"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"cross_attention_dim": 2048, "in_channels": 4}))
    assert codes(preflight(ask(), sd15, controls=[folder], machine=ROOMY)) == ["control.base"]
    (folder / "config.json").write_text(json.dumps({"cross_attention_dim": 768, "in_channels": 4}))
    assert codes(preflight(ask(), sd15, controls=[folder], machine=ROOMY)) == []


# IP-Adapter


def ip_adapter(folder: Path, width: int, first: str, takes: int, tower: dict | None) -> Path:
    if tower:
        (folder / "image_encoder").mkdir(parents=True)
        (folder / "image_encoder" / "config.json").write_text(json.dumps(tower))
    return saved(
        folder / "ip-adapter.safetensors",
        {
            f"image_proj.{first}.weight": torch.zeros(8, takes),
            "ip_adapter.1.to_k_ip.weight": torch.zeros(320, width),
        },
    )


VIT_H, BIG_G = {"hidden_size": 1280, "projection_dim": 1024}, {"hidden_size": 1664, "projection_dim": 1280}


@pytest.mark.parametrize(
    ("width", "first", "takes", "tower", "expected", "words"),
    [
        (768, "proj", 1024, VIT_H, [], ""),
        (768, "proj_in", 1280, VIT_H, [], ""),
        (2048, "proj", 1024, VIT_H, ["ip.base"], "SDXL"),
        (768, "proj", 1024, BIG_G, ["ip.tower"], "ViT-H/14"),
        (768, "proj_in", 1280, BIG_G, ["ip.tower"], "ViT-H/14"),
        (768, "proj", 1280, VIT_H, ["ip.tower"], "ViT-bigG/14"),
        (768, "proj", 1024, None, ["ip.tower"], "image_encoder"),
        (768, "proj.0", 512, VIT_H, ["ip.tower"], "InsightFace"),
        (768, "proj.0", 1280, VIT_H, [], ""),
    ],
)
def test_the_wrong_base_and_the_wrong_vision_tower_are_named(
    sd15: ModelRef,
    tmp_path: Path,
    width: int,
    first: str,
    takes: int,
    tower: dict | None,
    expected: list,
    words: str,
) -> None:
    path = ip_adapter(tmp_path / "models", width, first, takes, tower)
    findings = preflight(ask(), sd15, ips=[path], machine=ROOMY)
    assert codes(findings) == expected
    assert words in findings[0].en or not expected
    assert words in findings[0].ko or not expected


# other files than what they are given as


def test_a_file_given_as_what_it_is_not(sd15: ModelRef, tmp_path: Path) -> None:
    lora = saved(tmp_path / "lora.safetensors", kohya(768))
    net = saved(tmp_path / "net.safetensors", control(768, ldm=True))
    odd = saved(tmp_path / "odd.safetensors", {"a.b": torch.zeros(2, 2, 2)})
    findings = preflight(ask(), sd15, loras=[net, odd], controls=[lora], ips=[lora], machine=ROOMY)
    assert codes(findings) == ["file.kind"] * 4
    assert "net.safetensors is no LoRA but a ControlNet; give it with --control." in [f.en for f in findings]
    assert "lora.safetensors은(는) ControlNet이(가) 아니라 LoRA입니다. --lora로 주세요." in [
        f.ko for f in findings
    ]


def test_pickles_and_damaged_files(sd15: ModelRef, tmp_path: Path) -> None:
    pickle, damaged = tmp_path / "style.pt", tmp_path / "cut.safetensors"
    pickle.write_bytes(b"PK\x03\x04rest")
    damaged.write_bytes(b"\xff" * 40)
    findings = preflight(ask(), sd15, loras=[pickle, damaged, tmp_path / "absent.safetensors"], machine=ROOMY)
    assert codes(findings) == ["file.pickle", "file.unreadable", "file.unreadable"]
    assert "weights_only=True" in findings[0].ko
    assert "피클" in findings[0].ko


# the request


@pytest.mark.parametrize(
    ("width", "height", "code"),
    [
        (512, 512, ""),
        (512, 768, ""),
        (1024, 1024, "size.large"),
        (256, 256, "size.small"),
        (768, 320, "size.long"),
    ],
)
def test_odd_sizes_for_the_model(sd15: ModelRef, width: int, height: int, code: str) -> None:
    findings = preflight(ask(width=width, height=height), sd15, machine=ROOMY)
    assert codes(findings, "warn") == ([code] if code else [])
    if code in ("size.large", "size.small"):
        assert "--size 512x512" in findings[0].ko


@pytest.mark.parametrize("size", [(256, 256), (320, 192), (192, 320)])
def test_pockets_own_sizes_are_not_odd(pocket: ModelRef, size: tuple[int, int]) -> None:
    findings = preflight(ask("노을 지는 초원의 여우", width=size[0], height=size[1]), pocket, machine=ROOMY)
    assert [f for f in findings if f.level != "note"] == []


def test_hangul_for_a_model_that_reads_english(sd15: ModelRef) -> None:
    assert codes(preflight(ask("여우"), sd15, machine=ROOMY), "warn") == ["prompt.language"]


def test_settings_that_contradict_each_other(sd15: ModelRef, tmp_path: Path) -> None:
    assert codes(preflight(ask(sampler="lcm"), sd15, machine=ROOMY), "warn") == ["settings.lcm"]
    lcm = saved(tmp_path / "lcm-lora-sdv1-5.safetensors", kohya(768))
    slow = preflight(ask(sampler="lcm"), sd15, loras=[lcm], machine=ROOMY)
    assert codes(slow, "warn") == ["settings.fast"]
    right = ask(sampler="lcm", steps=4, guidance=1.0, negative="bad")
    assert codes(preflight(right, sd15, loras=[lcm], machine=ROOMY), "warn") == []
    assert "settings.negative" in codes(preflight(right, sd15, loras=[lcm], machine=ROOMY), "note")


# memory


def test_memory_is_told_with_the_setting_that_would_make_it_fit(sd15: ModelRef) -> None:
    def memory(free: int) -> Finding:
        return next(
            f for f in preflight(ask(), sd15, machine=Machine(ram_mb=free)) if f.code.startswith("memory")
        )

    assert memory(16_000).code == "memory.fits"
    tight = memory(4_500)
    assert (tight.level, tight.code) == ("warn", "memory.setting")
    assert "--memory fp8" in tight.en
    assert "--memory fp8" in tight.ko
    assert memory(1_000).level == "stop"


def test_a_gpu_is_told_to_offload(sdxl: ModelRef) -> None:
    gpu = sdxl.model_copy(update={"numeric": "torch-cuda-fp16"})

    def memory(free: int) -> Finding:
        machine = Machine(ram_mb=32_000, vram_mb=free)
        return next(f for f in preflight(ask(side=1024), gpu, machine=machine) if f.code.startswith("memory"))

    assert memory(24_000).code == "memory.fits"
    assert "--memory offload-model" in memory(8_000).en
    assert "--memory offload-group" in memory(4_000).en


def test_a_lora_is_not_told_to_use_eight_bits(sd15: ModelRef, tmp_path: Path) -> None:
    path = saved(tmp_path / "style.safetensors", kohya(768))
    tight = preflight(ask(), sd15, loras=[path], machine=Machine(ram_mb=4_500))
    assert codes(tight) == ["memory.none"]
    eight = sd15.model_copy(update={"numeric": "torch-fp32+fp8-t2"})
    assert codes(preflight(ask(), eight, loras=[path], machine=ROOMY)) == ["memory.lora"]
    assert codes(preflight(ask(), eight, machine=ROOMY)) == []


def test_a_controlnets_weights_are_counted(sd15: ModelRef, tmp_path: Path) -> None:
    big = {"conv_in.weight": torch.zeros(320, 4, 3, 3, device="meta"), "controlnet_cond_embedding.conv_in.weight":
           torch.zeros(16, 3, 3, 3, device="meta"), "mid_block.x": torch.zeros(360_000_000, device="meta"),
           "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight": torch.zeros(320, 768, device="meta")}  # fmt: skip
    net = write_hole(tmp_path / "canny.safetensors", big)

    def told(controls: list[Path]) -> float:
        found = next(
            f for f in preflight(ask(), sd15, controls=controls, machine=ROOMY) if f.code == "memory.fits"
        )
        return float(found.en.split()[1])

    assert told([net]) - told([]) == pytest.approx(1.44, abs=0.11)


def test_the_estimate_follows_what_was_measured(sd15: ModelRef) -> None:
    """Measured by `python -m benchmarks.memory` in float32 at 512×512: MB resident at the peak, without the files'
    pages and with about 600 MB for the program."""
    place = open_place(sd15.folder)
    for names, measured in (("", 5884), ("fp8", 3413), ("text-int8", 5641), ("fp8,text-int8", 3428)):
        need = estimate(place, "torch-fp32", 512, 512, True, Memory.of_names(names))
        assert need.ram_mb == pytest.approx(measured, rel=0.12), names


def test_this_machine_has_memory() -> None:
    free = this_machine().ram_mb
    assert free is not None
    assert 100 < free < 10_000_000


def test_findings_come_gravest_first(sd15: ModelRef, tmp_path: Path) -> None:
    path = saved(tmp_path / "style.safetensors", kohya(2048))
    levels = [f.level for f in preflight(ask("여우", width=1024), sd15, loras=[path], machine=ROOMY)]
    assert levels == sorted(levels, key=("stop", "warn", "note").index)
    assert set(levels) == {"stop", "warn", "note"}
