"""A picture explained: its adapters off and at half, scored; warm when asked again; told in either language."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from jogak.adapters.kohya import write_kohya
from jogak.image.explain_pages import contribution_page
from jogak.image.steer import ControlFlag
from jogak.models import resolve
from jogak.spec import Image, ImageRequest, ModelRef, SpecError
from jogak.spec.explain import Contribution, Explanation, Likeness
from jogak.spec.film import Lang
from jogak.spec.image import LoraUse
from jogak.store import Progress, Store
from jogak.studio.explain import deliver, explain, plan_explanation
from jogak.studio.picture import Sources, draw_pictures
from tests.lora_layouts import layers, peft_factors

REQUEST = ImageRequest(prompt="red fox", negative="cat", width=64, height=64, steps=3, seed=1)


@pytest.fixture
def ref(base: Path) -> ModelRef:
    return resolve(base, "torch")


@pytest.fixture
def steered(store: Store, base: Path, ref: ModelRef, tmp_path: Path) -> Path:
    """A picture with a LoRA and a ControlNet in it."""
    unet = UNet2DConditionModel.from_pretrained(base / "unet")
    shapes = dict(layers(unet, ("Transformer2DModel",)))
    write_kohya(tmp_path / "puppet.safetensors", peft_factors(shapes), {}, {}, alpha=8.0)
    torch.manual_seed(2)
    net = ControlNetModel.from_unet(unet)
    for parameter in net.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    net.save_pretrained(tmp_path / "canny")
    PIL.Image.linear_gradient("L").resize((64, 64)).save(tmp_path / "photo.png")
    sources = Sources(
        loras=(LoraUse(name=str(tmp_path / "puppet.safetensors"), weight=0.8),),
        controls=(ControlFlag("canny", str(tmp_path / "photo.png"), model=str(tmp_path / "canny")),),
    )
    request = REQUEST.model_copy(update={"model": str(base)})
    drawn = draw_pictures(store, request, ref, sources=sources)
    store.export(drawn[0], tmp_path / "out.png")
    return tmp_path / "out.png"


def pixels(path: Path) -> np.ndarray:
    return np.asarray(PIL.Image.open(path).convert("RGB"))


def test_every_part_is_taken_away_and_scored(
    store: Store, ref: ModelRef, steered: Path, tmp_path: Path
) -> None:
    told: list[Progress] = []
    plan = plan_explanation(store, steered, process=True, words=True)
    explained = explain(store, plan, on_progress=told.append)
    said = explained.explanation
    assert said.identical
    assert {part.kind for part in said.contributions} == {"prompt", "negative", "guidance", "lora", "control"}
    distances = [part.off.feature_distance for part in said.contributions]
    assert distances == sorted(distances, reverse=True)
    for part in said.contributions:
        assert part.half is not None
        assert 0 < part.off.pixel_change <= 1
        assert part.off.ms_ssim < 1
    assert said.full == said.full.model_copy(
        update={"feature_distance": 0.0, "ms_ssim": 1.0, "pixel_change": 0.0}
    )
    assert [word.text for word in said.words] == ["red", "fox"]
    assert len(said.instants) == 3
    finished = sum(one.text in ("made", "already made") for one in told)
    assert finished == plan.steps  # the bar ends where it should

    folder = tmp_path / "why"
    written = deliver(store, explained, folder)
    assert [path.name for path in written] == ["explain.png", "process.png", "words.png", "explain.json"]
    assert all(path.is_file() for path in written)
    kept = Explanation.read(folder / "explain.json")
    for part in kept.contributions:
        assert not part.off_picture.path.is_absolute()
        assert (folder / part.off_picture.path).is_file()
    # without its LoRA the picture is that of a request which never had one
    without = next(part for part in kept.contributions if part.kind == "lora")
    control = ControlFlag("canny", str(tmp_path / "photo.png"), model=str(tmp_path / "canny"))
    request = REQUEST.model_copy(update={"model": str(ref.folder)})
    plain = draw_pictures(Store(tmp_path / "other"), request, ref, sources=Sources(controls=(control,)))
    assert np.array_equal(pixels(folder / without.off_picture.path), pixels(plain[0].path))


@pytest.mark.parametrize("lang", ["ko", "en"])
def test_the_hires_pass_has_its_row(
    store: Store, base: Path, ref: ModelRef, tmp_path: Path, lang: Lang
) -> None:
    request = REQUEST.model_copy(update={"model": str(base), "hires": 2.0, "guidance": 1.0, "negative": ""})
    store.export(draw_pictures(store, request, ref)[0], tmp_path / "out.png")
    explained = explain(store, plan_explanation(store, tmp_path / "out.png", lang=lang))
    said = explained.explanation
    assert said.full_picture.width == 128
    row = next(part for part in said.contributions if part.kind == "hires")
    assert row.half is not None
    assert row.half_picture is not None
    assert (row.off_picture.width, row.half_picture.width) == (64, 96)
    for one in (row.off, row.half):
        assert 0 < one.pixel_change <= 1
        assert one.feature_distance > 0
        assert one.ms_ssim < 1
    # the same seed, and no second pass: what was drawn before enlarging
    plain = draw_pictures(Store(tmp_path / "other"), request.model_copy(update={"hires": 1.0}), ref)
    assert np.array_equal(pixels(row.off_picture.path), pixels(plain[0].path))
    folder = tmp_path / "why"
    deliver(store, explained, folder)
    number = said.contributions.index(row) + 1
    assert (folder / "pictures" / f"{number}-hires-off.png").is_file()
    assert pixels(folder / "explain.png").shape[1] == 1240


def test_asked_again_nothing_is_drawn(store: Store, steered: Path) -> None:
    explain(store, plan_explanation(store, steered))
    told: list[Progress] = []
    explain(store, plan_explanation(store, steered, words=True), on_progress=told.append)
    fresh = {one.step for one in told if one.text == "made"}
    assert fresh == {"word_heat", "words_page"}


def test_a_lora_that_changed_since_is_told(store: Store, steered: Path, tmp_path: Path) -> None:
    path = tmp_path / "puppet.safetensors"
    shapes = {"mid_block.attentions.0.transformer_blocks.0.attn2.to_q": (64, 64)}
    path.unlink()
    write_kohya(path, peft_factors(shapes, seed=5), {}, {}, alpha=8.0)
    assert not explain(store, plan_explanation(store, steered)).explanation.identical
    path.unlink()
    with pytest.raises(SpecError, match="puppet"):
        plan_explanation(store, steered)


def test_a_picture_without_a_recipe_is_refused(store: Store, tmp_path: Path) -> None:
    PIL.Image.new("RGB", (64, 64)).save(tmp_path / "plain.png")
    with pytest.raises(SpecError, match="carries no recipe"):
        plan_explanation(store, tmp_path / "plain.png")


@pytest.mark.parametrize("prompt", ["빨간 여우", "red fox"])
def test_a_page_in_the_language_of_the_prompt(
    store: Store, base: Path, ref: ModelRef, tmp_path: Path, prompt: str
) -> None:
    request = REQUEST.model_copy(update={"prompt": prompt, "model": str(base)})
    store.export(draw_pictures(store, request, ref)[0], tmp_path / "out.png")
    assert plan_explanation(store, tmp_path / "out.png").lang == ("ko" if prompt == "빨간 여우" else "en")
    assert plan_explanation(store, tmp_path / "out.png", lang="en").lang == "en"


def test_a_page_holds_every_row(store: Store, tmp_path: Path) -> None:
    def coloured(colour: tuple[int, int, int]) -> Image:
        with store.new_file(".png") as file:
            PIL.Image.new("RGB", (320, 192), colour).save(file)
            return store.put(file, Image, width=320, height=192)

    def like(distance: float) -> Likeness:
        return Likeness(clip_score=20, feature_distance=distance, ms_ssim=0.5, pixel_change=0.1)

    with store.run("x", spec=REQUEST):
        parts = tuple(
            Contribution(
                kind=kind, name="긴 이름 " * 60, off=like(0.4 - 0.1 * i), half=None,
                off_picture=coloured((200, 10 * i, 0)), half_picture=None,
            )
            for i, kind in enumerate(("prompt", "lora", "control"))
        )  # fmt: skip
        for lang in ("ko", "en"):
            page = contribution_page(coloured((0, 200, 0)), like(0), parts, REQUEST, "pocket-judge", lang)
            shown = pixels(page.path).astype(int)
            for i in range(3):
                tile = (shown == (200, 10 * i, 0)).all(-1)
                assert tile.sum() > 0.8 * 216 * 130  # all of it but the word in its corner
