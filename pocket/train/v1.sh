#!/usr/bin/env bash
# Pocket v1 on one GPU, step by step: v1.sh data | parts | vae SECONDS | clip SECONDS | judge SECONDS |
#   unet SECONDS FROM TO STAGES | control KIND SECONDS | ip SECONDS | sheet
# GPUS=2 v1.sh … shares clip, judge and unet over two devices. Needs build/sources (python -m pocket.data.fetch build/sources). Everything is written below build/.
set -euo pipefail
export PYTHONUNBUFFERED=1 OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false PYTHONPATH="src:.:${PYTHONPATH:-}"
common="--sprites build/sprites.npz"
people=$([ ! -f build/puppets.npz ] || echo "--puppets build/puppets.npz")
parts="--tokenizer build/tokenizer --vae build/vae --clip build/clip"
python="python3"
[ "${GPUS:-1}" = 1 ] || python="torchrun --standalone --nproc-per-node $GPUS"
case "$1" in
  data)
    python3 -m pocket.data.sprites build/sources build/sprites.npz
    [ -f build/puppets.npz ] || python3 -m pocket.data.puppets --many build/puppets.npz --count 10000
    [ -f build/tokenizer/tokenizer.json ] || python3 -m pocket.train.tokenizer build/sources build/tokenizer ;;
  parts) python3 -m pocket.train.export --unpack --build build --out src/jogak/models/weights ;;
  vae)   python3 -m pocket.train.vae $common --out build/vae --seconds "$2" "${@:3}" ;;
  clip)  $python -m pocket.train.clip $common $people --which pocket --tokenizer build/tokenizer --out build/clip --seconds "$2" "${@:3}" ;;
  judge) $python -m pocket.train.clip $common --which judge --tokenizer build/tokenizer --out build/clip --seconds "$2" "${@:3}" ;;
  unet)
    $python -m pocket.train.unet $common $people $parts --out build/unet \
      --seconds "$2" --from "$3" --to "$4" --stages "$5" "${@:6}" ;;
  control)
    $python -m pocket.train.controlnet $common $people $parts --unet build/unet --out "build/control-$2" --kind "$2" --seconds "$3" "${@:4}" ;;
  ip)    $python -m pocket.train.ip_adapter $common $people $parts --unet build/unet --out build/ip --seconds "$2" "${@:3}" ;;
  sheet) python3 -m pocket.train.export --build build --out build/weights --sheet build/sheet.jpg ;;
  *) sed -n 2,4p "$0"; exit 2 ;;
esac
