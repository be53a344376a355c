#!/usr/bin/env bash
# Pocket v1, step by step: v1.sh data | parts | vae | clip | judge | unet | control | ip | fast |
# upscale | keypoints | depth | sheet.
# The settings of each training are in configs/ of the same name; what follows its name wins over them (v1.sh unet
# --seconds 500 --to 0.4). Killed, the same line goes on where it was saved last. GPUS=2 v1.sh … shares the work over
# two devices (not vae). Needs build/sources (python -m pocket.data.fetch build/sources). All is written below build/.
set -euo pipefail
export PYTHONUNBUFFERED=1 OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false PYTHONPATH="src:.:${PYTHONPATH:-}"
python="python3"
[ "${GPUS:-1}" = 1 ] || python="torchrun --standalone --nproc-per-node $GPUS"
config="--config pocket/train/configs/${1:-}.yaml"
case "${1:-}" in
  data)
    python3 -m pocket.data.sprites build/sources build/sprites.npz
    [ -f build/puppets.npz ] || python3 -m pocket.data.puppets --many build/puppets.npz --count 10000
    [ -f build/tokenizer/tokenizer.json ] || python3 -m pocket.train.tokenizer build/sources build/tokenizer ;;
  parts) python3 -m pocket.train.export --unpack --build build --out src/jogak/models/weights ;;
  vae)   python3 -m pocket.train.vae $config "${@:2}" ;;
  clip|judge) $python -m pocket.train.clip $config "${@:2}" ;;
  unet)  $python -m pocket.train.unet $config "${@:2}" ;;
  control) $python -m pocket.train.controlnet $config "${@:2}" ;;
  fast)  $python -m pocket.train.fast $config "${@:2}" ;;
  ip)    $python -m pocket.train.ip_adapter $config "${@:2}" ;;
  upscale) python3 -m pocket.train.upscale $config "${@:2}" ;;
  keypoints) python3 -m pocket.train.keypoints $config "${@:2}" ;;
  depth) python3 -m pocket.train.depth $config "${@:2}" ;;
  sheet) python3 -m pocket.train.export --build build --out build/weights --sheet build/sheet.jpg ;;
  *) sed -n 2,6p "$0"; exit 2 ;;
esac
