"""Measures of what is put onto the base: each has its rows and bars, on weights that learnt nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from numpy.typing import NDArray
from safetensors.torch import load_file

from jogak.adapters.control import load_control
from jogak.adapters.poses import read_pose
from jogak.judge.clip import FOLDER, Judge
from jogak.models import load, resolve, samplers
from jogak.models.lexicon import lexicon
from pocket.data.compose import Painter
from pocket.data.scenes import DECOR
from pocket.data.sprites import Sprites
from pocket.judge import (
    base,
    composed,
    controlled,
    controlnet_depth,
    controlnet_lines,
    controlnet_pose,
    fast,
    ip_adapter,
)
from pocket.judge.bench import FAMILY, Bench, Drawer, plain_scene
from pocket.judge.controlled import ControlledDrawer, hundredths, monotone_score, ratio_row
from pocket.judge.rows import Row, Unmeasured
from pocket.train import ip_adapter as ip_training
from pocket.train.common import save_shards
from pocket.train.controlnet import build_control
from pocket.train.fast import Ladder
from pocket.train.nets import SCHEDULER, build_text, build_unet, build_vae, save_pipeline
from tests.pocket.test_judge_scorecard import LOOKS, drawing
from tests.pocket.untrained import LAYERS, TOKENIZER, WIDTHS, write_build
from tests.tiny_keypoints import ship_keypoints, write_keypoints


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_build(tmp_path_factory.mktemp("build"))


@pytest.fixture(scope="module")
def tiny(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Drawer:
    """An untrained base of small widths, one step."""
    folder = tmp_path_factory.mktemp("base") / "pocket"
    unet = build_unet(WIDTHS, LAYERS)
    unet.load_state_dict(load_file(build / "unet" / "unet-0.safetensors"))
    save_pipeline(folder, unet, build_vae(), build_text(), TOKENIZER)
    return Drawer(load(resolve(folder, backend="torch")), 1, 4.0, "ddim")


@pytest.fixture(scope="module")
def bench(tiny: Drawer) -> Bench:
    """Some twenty made-up things in four looks, among them all that stand behind in a place; few cases."""
    decor = [name for row in DECOR.values() for name in row[0]]
    ids = [c.id for c in lexicon().concepts]
    chosen = list(dict.fromkeys([*decor, *ids[:10]]))
    keys = [(name, look) for name in chosen for look in LOOKS]
    pixels = np.stack([drawing(chosen.index(name), look) for name, look in keys])
    sprites = Sprites(pixels, {key: i for i, key in enumerate(keys)})
    return Bench(
        sprites, Painter(sprites.pixels), Judge(FOLDER), draw=tiny, concepts=2, scenes=2, count=3, bars=FAMILY
    )


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOGAK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("JOGAK_THREADS", "1")


def loud(module: torch.nn.Module) -> None:
    """What starts at zero says something."""
    torch.manual_seed(5)
    for parameter in module.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.3)


@pytest.fixture
def control_net(tiny: Drawer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    net = build_control(build_unet(WIDTHS, LAYERS))
    loud(net)
    net.save_pretrained(tmp_path / "pocket-control")
    monkeypatch.setattr(controlled, "FOLDER", tmp_path / "pocket-control")
    return controlled.FOLDER


def bars(rows: Iterable[Row | Unmeasured], **ratios: float) -> dict[str, float | None]:
    """Every row's name and bar; each is a number, but ratios, as what learnt nothing may leave nothing to compare."""
    found: dict[str, float | None] = {}
    for row in rows:
        assert isinstance(row, Row) or row.name in ratios, row
        found |= {row.score.name: row.bar} if isinstance(row, Row) else {row.name: ratios[row.name]}
    return found


def swept(name: str, bar: float) -> dict[str, float | None]:
    control = name.partition("_")[0]
    weights = {f"{name}_w{hundredths(weight)}": None for weight in (0, 0.25, 0.5, 0.75)}
    return weights | {f"{name}_w100": bar, f"{control}_monotone": 1.0}


# ------------------------------------------------------------------------------------------ shared


def test_shares_of_pairs_have_the_ratio_of_their_means() -> None:
    row = ratio_row("kept", [True] * 6 + [False] * 4, [True] * 8 + [False] * 2, 0.75)
    assert isinstance(row, Row)
    assert (row.score.value, row.score.n, row.score.seed) == (pytest.approx(0.75), 10, 0)
    assert row.score.low is not None
    assert row.score.high is not None
    # where ours hits, theirs hits: no resample lies above 1
    assert 0.2 < row.score.low < 0.75 < row.score.high <= 1.0


def test_the_same_hits_have_a_ratio_without_doubt() -> None:
    hits = np.arange(30) % 3 > 0
    row = ratio_row("kept", hits, hits, 0.95)
    assert isinstance(row, Row)
    assert (row.score.value, row.score.low, row.score.high) == (1.0, 1.0, 1.0)
    assert row.met


def test_there_is_no_ratio_to_nothing() -> None:
    assert isinstance(ratio_row("kept", [True, False], [False, False], 0.95), Unmeasured)


def test_a_ratio_of_medians() -> None:
    row = ratio_row("times", [20.0, 22.0, 90.0], [2.0, 2.0, 1.0], 10, np.median)
    assert isinstance(row, Row)
    assert row.score.value == pytest.approx(11)
    assert fast.median_score("seconds", [0.5, 0.4, 9.0]).value == 0.5


def test_a_mean_has_to_get_better_at_every_weight() -> None:
    steps = [np.array([value, value + 0.1]) for value in (0.1, 0.2, 0.3, 0.25, 0.5)]
    score = monotone_score("rises", steps)
    assert (score.value, score.n) == (0.75, 2)
    assert not Row(score, 1.0).met
    assert monotone_score("falls", steps[::-1], "lower").value == 0.75
    assert Row(monotone_score("rises", steps[:3]), 1.0).met


# ------------------------------------------------------------------------------------------ control


def test_weight_0_is_no_control_and_weight_1_is(tiny: Drawer, control_net: Path) -> None:
    draw = ControlledDrawer(tiny, load_control(control_net, tiny.model.ref))
    maps = np.random.default_rng(0).integers(0, 256, (2, 256, 256, 3), dtype=np.uint8)
    prompts = ["a fox", "여우"]
    plain = tiny(prompts, 3)
    assert (draw(prompts, 3, maps, 0.0) == plain).all()
    assert (draw(prompts, 3, maps, 1.0) != plain).any((1, 2, 3)).all()
    assert (tiny(prompts, 3) == plain).all(), "the net is out of the model again"


def test_lines_have_their_rows(bench: Bench, control_net: Path) -> None:
    found = bars(controlnet_lines.rows(bench), lines_text_kept=0.9)
    assert found == {
        "false_alarm_lines_f1": None, "ceiling_lines_f1": None, "ceiling_lines_ms_ssim_lineart": None,
        **swept("lines_f1", 0.75),
        "lines_f1_canny": None, "lines_f1_scribble": None, "lines_f1_lineart": None,
        "lines_ms_ssim_lineart": None, "lines_text_kept": 0.9,
        "lines_subject_w000": None, "lines_place_and_time_w000": None,
        "lines_subject_w100": None, "lines_place_and_time_w100": None,
    }  # fmt: skip


def test_depth_has_its_rows(bench: Bench, control_net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def brightness(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return picture.max(-1)

    rows = list(controlnet_depth.reader_rows(replace(bench, count=2), brightness))
    assert bars(rows) == {
        "false_alarm_depth_rmse": None, "ceiling_depth_rmse": None, **swept("depth_rmse", 0.08),
    }  # fmt: skip
    assert [row.score.better for row in rows if row.bar == 0.08] == ["lower"]
    monkeypatch.setattr(controlnet_depth, "reader", lambda: None)
    assert [type(row) for row in controlnet_depth.rows(bench)] == [Unmeasured]


def test_poses_have_their_rows(
    bench: Bench, control_net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ship_keypoints(monkeypatch, write_keypoints(tmp_path / "pocket-keypoints"))
    assert bars(controlnet_pose.rows(replace(bench, count=2))) == {
        "false_alarm_pose_pck": None, "ceiling_pose_pck": None, **swept("pose_pck", 0.85),
    }  # fmt: skip


def test_a_pose_map_shows_the_joints_that_are_there(bench: Bench) -> None:
    posed = controlnet_pose.posed_cases(bench.sprites, 3)
    assert posed.maps.shape == posed.pictures.shape == (3, 256, 256, 3)
    assert len({scene.subjects[0].concept for scene in posed.scenes}) == 3
    read = 0
    for map_, joints in zip(posed.maps, posed.joints, strict=True):
        for point, wanted in zip(read_pose(map_), joints, strict=True):
            if point is not None:
                assert np.hypot(*(np.array(point) * 256 - wanted)) < 3
                read += 1
    assert read > 3 * 9, "most joints are in sight"


# ------------------------------------------------------------------------------------------ reference


def test_the_reference_has_its_rows(
    bench: Bench, tiny: Drawer, build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tower = ip_training.load_tower(build / "clip")
    adapter = ip_training.IpAdapter(build_unet(WIDTHS, LAYERS), tower.config.projection_dim)
    loud(adapter)
    (tmp_path / "out").mkdir()
    save_shards(adapter.state_dict(), tmp_path / "out", "ip")
    ip_training.export(tmp_path / "out", build / "clip", tmp_path / "pocket-ip")
    monkeypatch.setattr(ip_adapter, "FOLDER", tmp_path / "pocket-ip")
    assert bars(ip_adapter.rows(replace(bench, count=2)), ip_text_kept=0.85) == {
        "false_alarm_ip_similarity": None, "ceiling_ip_similarity": None, "ceiling_ip_subject_top1": None,
        **{f"ip_similarity_s{hundredths(scale)}": None for scale in (0, 0.3, 0.6, 0.9, 1.2)},
        "false_alarm_ip_subject_top1": None, "ip_subject_top1": 0.6, "ip_monotone": 1.0, "ip_text_kept": 0.85,
        "ip_style_similarity": None, "ip_layout_similarity": None,
    }  # fmt: skip
    draw = ip_adapter.referred_drawer(tiny)
    reference = np.full((1, 64, 64, 3), 200, np.uint8)
    assert (draw([""], 1, reference, 0.0) == tiny([""], 1)).all()
    assert (draw([""], 1, reference, 0.6) != tiny([""], 1)).any()


def test_without_a_model_the_ceilings_alone_are_measured(bench: Bench) -> None:
    bare = replace(bench, draw=None, count=2)
    for module in (controlnet_lines, controlnet_pose, ip_adapter):
        assert all(name.startswith(("ceiling_", "false_alarm_")) for name in bars(module.rows(bare)))
    assert [type(row) for row in fast.rows(bare)] == [Unmeasured]


# ------------------------------------------------------------------------------------------ fast


def test_the_fast_drawer_steps_where_the_student_was_taught() -> None:
    draw = fast.fast_drawer()
    sigmas = draw.model.sigmas(draw.steps, samplers.schedule_of(draw.sampler))
    times = draw.model.time_of(sigmas[:-1])
    scheduler = DDIMScheduler.from_config(SCHEDULER)
    assert isinstance(scheduler, DDIMScheduler)
    ladder = Ladder(scheduler.alphas_cumprod)
    torch.testing.assert_close(times, ladder.times[::10].float(), atol=0.01, rtol=0)
    assert times.round().tolist() == [999, 749, 499, 249]
    assert (draw.model.ref.name, draw.steps, draw.guidance) == ("pocket-fast", 4, 1.0)


def test_fast_has_its_rows(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, count in (("WARM", 2), ("PAIRS", 1), ("COLD", 1), ("PLAIN_STEPS", 2)):
        monkeypatch.setattr(fast, name, count)
    beside = ("prototype_top1", "prototype_top5", "judge_top1", "place_and_time")
    ratios = {f"fast_{what}_of_base": 0.95 for what in beside}
    found = bars(fast.rows(bench), **ratios, fast_cold_seconds=6)
    assert found == {
        **{f"{who}_{what}": None for what in beside for who in ("fast", "base")},
        **ratios,
        "fast_seconds": 0.6, "fast_times_plain_diffusers": 10, "fast_first_seconds": None, "fast_cold_seconds": 6,
    }  # fmt: skip


def test_all_adapters_at_once_have_their_rows(bench: Bench) -> None:
    drawer = Drawer(load(resolve("pocket", backend="torch")), 1, 4.0, "ddim")
    what = ("lines_f1", "ip_similarity", "lora_text")
    ratios = {f"composed_{one}_of_alone": 0.85 for one in what}
    assert bars(composed.rows(replace(bench, draw=drawer, count=2)), **ratios) == ratios


def test_a_command_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast, "PROMPT", "")
    monkeypatch.setattr(fast, "COLD", 0)
    (row,) = fast.cold_rows()
    assert isinstance(row, Unmeasured)
    assert "prompt" in row.why


def test_prototypes_rank_pictures_as_the_base_is_judged(bench: Bench) -> None:
    known = base.prototypes(bench)
    assert len(known.concepts) == 2
    assert known.ranks(bench.paint([plain_scene(c.id, "flat") for c in known.concepts], 3)).tolist() == [0, 0]
