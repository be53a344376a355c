"""Assemble trained shards into the folder that Jogak ships, and draw a contact sheet with stock diffusers.

python -m pocket.train.export --build build --out src/jogak/models/weights --sheet build/sheet.jpg
python -m pocket.train.export --build build --out src/jogak/models/weights --only keypoints
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save_file
from transformers import CLIPModel, CLIPTokenizer

from jogak.models import keypoints
from pocket.train.common import load_shards, save_shards
from pocket.train.nets import build_judge, build_text, build_unet, build_vae, load_text, save_pipeline

SHEET = (
    "a fox on a white background", "흰 배경의 고양이", "a red car on a white background", "a rabbit in a meadow at sunset",
    "비 오는 밤 도시의 강아지", "a wizard in a forest at night", "two cats on the beach", "바다 위의 배, 저녁",
    "a penguin on a snowfield", "숲속의 곰", "an astronaut in space", "a robot in a room at night",
    "a whale under water", "산 위의 독수리, 아침", "a horse on a farm in the fog", "정원의 나비, 플랫",
    "a castle on a white background", "기차, 클립아트", "a dragon above the clouds, soft 3D", "a dog and a ball in a garden",
    "a guitar on a yellow background", "마을의 할머니", "close-up of a lion", "a camel in the desert at night",
)  # fmt: skip


def export(build: Path, out: Path) -> None:
    unet, vae, judge = build_unet(), build_vae(), build_judge()
    unet.load_state_dict(load_shards(build / "unet", "unet"))
    vae.load_state_dict(load_shards(build / "vae", "vae"))
    # the tower that learnt beside the UNet (unet --text-lr), where there is one
    learnt = build / ("unet" if list((build / "unet").glob("text-*.safetensors")) else "clip")
    text = load_text(build_text(), load_shards(learnt, "text"))
    save_pipeline(out / "pocket", unet, vae, text, build / "tokenizer")
    if list((build / "clip").glob("judge-*.safetensors")):
        judge.load_state_dict(load_shards(build / "clip", "judge"))
        save_clip(judge, out / "pocket-judge", build / "tokenizer")
    if list((build / "keypoints").glob("keypoints-*.safetensors")):
        export_keypoints(build / "keypoints", out / keypoints.NAME)


def export_keypoints(build: Path, folder: Path) -> None:
    """The trained keypoint net as Jogak reads it: fp16 safetensors and `config.json`, which says its name."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.half().contiguous() for name, value in load_shards(build, "keypoints").items()}
    save_file(state, folder / f"{keypoints.STEM}.safetensors")
    config = {"model": keypoints.NAME} | json.loads((build / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def unpack(weights: Path, build: Path) -> None:
    """Put the shipped autoencoder, text tower and tokenizer where training looks for them, and the UNet into `init`,
    to train the UNet alone, or to go on from it (unet --init)."""
    vae = load_file(weights / "vae" / "diffusion_pytorch_model.safetensors")
    text = load_file(weights / "text_encoder" / "model.safetensors")
    for folder in ("vae", "clip", "init"):
        (build / folder).mkdir(parents=True, exist_ok=True)
    save_shards(load_file(weights / "unet" / "diffusion_pytorch_model.safetensors"), build / "init", "unet")
    save_shards(vae, build / "vae", "vae")
    save_shards(
        {name.removeprefix("text_model."): part for name, part in text.items()}, build / "clip", "text"
    )
    CLIPTokenizer.from_pretrained(weights / "tokenizer").save_pretrained(build / "tokenizer")


def save_clip(model: CLIPModel, folder: Path, tokenizer: Path) -> None:
    model.half().save_pretrained(folder)
    config = folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"dtype": "float32"}, indent=2) + "\n")
    CLIPTokenizer.from_pretrained(tokenizer).save_pretrained(folder)


def draw_sheet(folder: Path, path: Path, steps: int = 20, guidance: float = 4.0) -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    pipe = StableDiffusionPipeline.from_pretrained(folder).to(device)
    pipe.set_progress_bar_config(disable=True)
    pictures = []
    for at in range(0, len(SHEET), 8):
        seeds = [torch.Generator("cpu").manual_seed(at + k) for k in range(len(SHEET[at : at + 8]))]
        pictures += pipe(
            list(SHEET[at : at + 8]),
            num_inference_steps=steps,
            guidance_scale=guidance,
            height=256,
            width=256,
            generator=seeds,
        ).images
    columns = 6
    sheet = Image.new("RGB", (columns * 256, -(-len(pictures) // columns) * 272), "white")
    pen = ImageDraw.Draw(sheet)
    for i, picture in enumerate(pictures):
        x, y = i % columns * 256, i // columns * 272
        sheet.paste(picture, (x, y))
        pen.text((x + 4, y + 258), SHEET[i].encode("ascii", "replace").decode(), fill="black")
    sheet.save(path, quality=90)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--only", choices=["keypoints"], help="this part alone")
    parser.add_argument(
        "--unpack", action="store_true", help="the other way: shipped parts into the build folder"
    )
    args = parser.parse_args()
    if args.unpack:
        unpack(args.out / "pocket", args.build)
        return
    if args.only == "keypoints":
        export_keypoints(args.build / "keypoints", args.out / keypoints.NAME)
        return
    export(args.build, args.out)
    if args.sheet:
        draw_sheet(args.out / "pocket", args.sheet)


if __name__ == "__main__":
    main()
