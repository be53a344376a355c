"""What a picture says of itself, and what is believed of what others say."""

from __future__ import annotations

import json
from pathlib import Path

import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL.PngImagePlugin import PngInfo

from jogak.image.infotext import (
    Recipe,
    infotext,
    parse_infotext,
    png_text,
    read_infotext,
    read_recipe,
    versions,
)
from jogak.spec import ImageRequest, ModelRef, SpecError

MODEL = ModelRef(
    name="/weights/pocket", family="pocket", folder=Path("x"), digest="ab" * 32, numeric="torch-fp32-t2"
)
REQUEST = ImageRequest(
    prompt='달밤의 여우, "a fox": (night:1.2)\nBREAK stars', negative="red, low: quality",
    steps=12, guidance=3.5, sampler="dpmpp_2m_karras", seed=7, width=320, height=192,
)  # fmt: skip


def recipe(request: ImageRequest = REQUEST) -> Recipe:
    return Recipe(
        request=request, weights=MODEL.digest, family="pocket", numeric=MODEL.numeric,
        versions=versions(MODEL.numeric), pixels="cd" * 32,
    )  # fmt: skip


def save(path: Path, **text: str) -> Path:
    info = PngInfo()
    for key, value in text.items():
        info.add_text(key, value)
    PIL.Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    return path


def test_infotext_is_what_the_field_writes() -> None:
    assert infotext(REQUEST, MODEL).split("\n") == [
        '달밤의 여우, "a fox": (night:1.2)',
        "BREAK stars",
        "Negative prompt: red, low: quality",
        "Steps: 12, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 3.5, Seed: 7, Size: 320x192, "
        "Model hash: ababababab, Model: pocket, Version: jogak 0.1.0",
    ]


def test_a_picture_carries_infotext_and_recipe(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    PIL.Image.new("RGB", (8, 8)).save(path, pnginfo=png_text(REQUEST, MODEL, recipe()))
    assert read_recipe(path) == recipe()
    text = read_infotext(path)
    assert text is not None
    facts = parse_infotext(text)
    assert facts["Prompt"] == REQUEST.prompt
    assert facts["Negative prompt"] == REQUEST.negative
    assert facts["Seed"] == "7"
    assert facts["Size"] == "320x192"


def test_strength_is_written_for_img2img() -> None:
    request = REQUEST.model_copy(update={"init": "ef" * 32, "strength": 0.35})
    assert parse_infotext(infotext(request, MODEL))["Denoising strength"] == "0.35"


def test_others_infotext_is_read() -> None:
    facts = parse_infotext(
        "a castle\nNegative prompt: blur\nugly\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, "
        'Lora hashes: "ink: 0123456789ab, b: cd", ControlNet 0: "Module: canny, Weight: 1", Model: x_y-1.5'
    )
    assert facts["Prompt"] == "a castle"
    assert facts["Negative prompt"] == "blur\nugly"
    assert facts["Lora hashes"] == "ink: 0123456789ab, b: cd"
    assert facts["ControlNet 0"] == "Module: canny, Weight: 1"
    assert facts["Model"] == "x_y-1.5"


def test_a_last_line_with_fewer_than_three_settings_is_prompt() -> None:
    assert parse_infotext("a: b, c: d") == {"Prompt": "a: b, c: d", "Negative prompt": ""}


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
@pytest.mark.parametrize("order", ["utf-16-be", "utf-16-le"])
def test_infotext_in_exif_is_read(tmp_path: Path, suffix: str, order: str) -> None:
    exif = PIL.Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + "a fox".encode(order)
    PIL.Image.new("RGB", (8, 8)).save(tmp_path / f"a{suffix}", exif=exif)
    assert read_infotext(tmp_path / f"a{suffix}") == "a fox"


PLAIN = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029"), max_size=60
)


@given(prompt=PLAIN.filter(str.strip), negative=PLAIN)
def test_prompts_come_back(prompt: str, negative: str) -> None:
    if "Negative prompt:" in prompt + negative:
        return
    request = ImageRequest(prompt=prompt, negative=negative)
    facts = parse_infotext(infotext(request, MODEL))
    assert facts["Prompt"] == prompt.strip()
    assert facts["Negative prompt"] == negative.strip()
    assert facts["Steps"] == "20"


@given(text=st.one_of(st.text(max_size=300), st.text(alphabet='ab:,"\\ \n-/', max_size=300)))
def test_no_infotext_is_an_error(text: str) -> None:
    assert {"Prompt", "Negative prompt"} <= parse_infotext(text).keys()


@pytest.mark.parametrize("unit", ["a", "a: ", 'a: "', 'a: "\\', "a,", " ", "a-", ": ", 'a: "x", '])
def test_hostile_infotext_is_read_quickly(unit: str) -> None:
    parse_infotext(unit * (200_000 // len(unit)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "damaged recipe"),
        ("[" * 100_000, "damaged recipe"),
        ("[]", "the whole"),
        ("x" * 300_000, "at most 200,000"),
        ('{"request": {"prompt": "a"}, "surprise": 1}', "surprise"),
        (json.dumps(recipe().model_dump(mode="json") | {"pixels": "../../x"}), "pixels"),
        (
            json.dumps(recipe().model_dump(mode="json") | {"versions": {str(i): "1" for i in range(99)}}),
            "versions",
        ),
    ],
)
def test_a_hostile_recipe_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SpecError, match=words) as refused:
        read_recipe(save(tmp_path / "a.png", jogak=text))
    assert "\n" not in str(refused.value)


def test_a_picture_without_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="carries no recipe"):
        read_recipe(save(tmp_path / "a.png", parameters="a fox"))
    PIL.Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg")
    with pytest.raises(SpecError, match="carries no recipe"):
        read_recipe(tmp_path / "a.jpg")
