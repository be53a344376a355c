"""Why each setting of a training is what it is, and the other words of a training's report, in Korean and English."""

from __future__ import annotations

from jogak.report.words import Lang

REASONS: dict[str, dict[Lang, str]] = {
    "base": {"en": "the LoRA fits models of this base alone", "ko": "LoRA는 이 기반 모델 계열에만 맞습니다"},
    "kind": {
        "en": "how the change of each layer is written down; lora is what every program reads",
        "ko": "층마다의 변화를 적는 방식입니다. lora는 모든 프로그램이 읽습니다",
    },
    "rank": {
        "en": "directions that a layer may learn: more hold more detail, and learn few pictures by heart sooner",
        "ko": "층이 배울 수 있는 방향의 수입니다. 많으면 세부를 담지만 적은 그림은 더 빨리 외웁니다",
    },
    "alpha": {
        "en": "alpha / rank scales the change, so that the rank can be altered without finding a new rate",
        "ko": "변화의 크기는 alpha / rank입니다. 랭크를 바꿔도 학습률을 다시 찾지 않게 합니다",
    },
    "targets": {
        "en": "which layers change: attention alone leaves more of the base as it is",
        "ko": "바뀌는 층입니다. 어텐션만 바꾸면 기반 모델이 더 많이 남습니다",
    },
    "text_encoder": {
        "en": "trained too, words themselves change their meaning; left alone, other prompts stay as they were",
        "ko": "함께 학습하면 낱말의 뜻이 바뀌고, 두면 다른 프롬프트가 그대로 남습니다",
    },
    "text_lr": {
        "en": "the text encoder is learned more slowly, since it is spoilt sooner",
        "ko": "텍스트 인코더는 더 빨리 망가지므로 천천히 학습합니다",
    },
    "steps": {
        "en": "how long it learns; the curve of held-out pictures says whether it was too long",
        "ko": "학습하는 길이입니다. 따로 둔 그림의 곡선이 너무 길었는지 말해 줍니다",
    },
    "batch": {
        "en": "pictures in a step: more are steadier and need more memory",
        "ko": "한 단계의 그림 수입니다. 많으면 안정되지만 메모리가 더 듭니다",
    },
    "accumulate": {
        "en": "batches that make one step: a larger batch in the memory of a small one",
        "ko": "한 단계를 이루는 배치 수입니다. 작은 메모리로 큰 배치를 냅니다",
    },
    "resolution": {
        "en": "the size that the base itself was trained at",
        "ko": "기반 모델이 학습된 크기입니다",
    },
    "flip": {
        "en": "mirrored pictures double the set, and blur what is left or right in a face",
        "ko": "뒤집은 그림은 자료를 두 배로 늘리지만 얼굴의 좌우를 흐립니다",
    },
    "lr": {
        "en": "length of a step: too long diverges, too short does not arrive",
        "ko": "한 걸음의 크기입니다. 크면 발산하고 작으면 도착하지 못합니다",
    },
    "optimizer": {
        "en": "adamw needs no further package; adamw8bit saves memory, prodigy finds its own rate",
        "ko": "adamw는 다른 패키지가 필요 없고, adamw8bit는 메모리를 아끼며, prodigy는 학습률을 스스로 찾습니다",
    },
    "weight_decay": {
        "en": "a pull to zero against learning single pictures",
        "ko": "그림 하나하나를 외우지 않게 0으로 당기는 힘입니다",
    },
    "scheduler": {
        "en": "how the rate ends: cosine comes to rest, constant does not",
        "ko": "학습률의 끝입니다. cosine은 잦아들고 constant는 그대로입니다",
    },
    "warmup": {
        "en": "the rate rises first, because an optimizer's first estimates are rough",
        "ko": "옵티마이저의 첫 추정이 거칠어 학습률을 천천히 올립니다",
    },
    "clip_norm": {
        "en": "a single odd picture cannot throw the weights far",
        "ko": "유별난 그림 하나가 가중치를 멀리 던지지 못합니다",
    },
    "precision": {
        "en": "what the device computes in fast and without loss of the curve",
        "ko": "장치가 곡선을 해치지 않고 빠르게 셈하는 정밀도입니다",
    },
    "ema": {
        "en": "a running mean of the weights smooths the last steps; 0: off",
        "ko": "가중치의 이동 평균이 마지막 단계들을 고르게 합니다. 0은 끔",
    },
    "min_snr_gamma": {
        "en": "keeps easy noise levels from outweighing the others (arXiv 2303.09556)",
        "ko": "쉬운 노이즈 수준이 다른 수준을 누르지 않게 합니다(arXiv 2303.09556)",
    },
    "noise_offset": {
        "en": "lets a base without zero terminal SNR draw very dark and very bright pictures",
        "ko": "끝 SNR이 0이 아닌 기반 모델이 아주 어둡고 밝은 그림을 그리게 합니다",
    },
    "caption_dropout": {
        "en": "pictures without words teach what guidance points away from",
        "ko": "글 없는 그림이 가이던스가 멀어질 방향을 가르칩니다",
    },
    "tag_dropout": {
        "en": "with parts of captions left out, the trigger word alone learns to stand for the pictures",
        "ko": "캡션의 일부를 빼면 트리거 단어만으로도 그림을 부르게 됩니다",
    },
    "prior": {
        "en": "other pictures of the class, so that not all of it turns into this one",
        "ko": "같은 종류의 다른 그림입니다. 종류 전체가 이것으로 변하지 않게 합니다",
    },
    "masked_loss": {
        "en": "backgrounds behind a mask are not learned",
        "ko": "마스크 밖의 배경은 배우지 않습니다",
    },
    "validation": {
        "en": "pictures that are never learned from say whether the rest is understood or learned by heart",
        "ko": "배우지 않은 그림이 나머지를 이해했는지 외웠는지 말해 줍니다",
    },
    "validate_every": {
        "en": "close enough to see where the curve turns",
        "ko": "곡선이 꺾이는 곳이 보일 만큼 자주 잽니다",
    },
    "save_every": {
        "en": "a sweep can choose among checkpoints only where there are some",
        "ko": "체크포인트가 있어야 스윕이 고를 수 있습니다",
    },
    "seed": {
        "en": "same seed, pictures and machine: the same curve",
        "ko": "시드와 그림과 기계가 같으면 곡선도 같습니다",
    },
}
"""By the field of a training's request: why it matters, and so why it was set."""

WORDS: dict[Lang, dict[str, str]] = {
    "en": {
        "curve": "Loss with fixed noise",
        "held_out": "held-out pictures",
        "seen": "training pictures",
        "each": "Loss of each step",
        "step": "step",
        "curve_said": "Held-out pictures: {first:.4f} at step {at}, {last:.4f} at step {end}; lowest {lowest:.4f} at step {best}.",
        "curve_seen": "Training pictures: {first:.4f} at step {at}, {last:.4f} at step {end}.",
        "default": "the default of {}",
        "asked": "asked for; the default of {} is {}",
        "verdict": "The sweep's verdict of the training: {}.",
        "right": "right",
        "overfit": "overfit",
        "underfit": "underfit",
        "diverged": "diverged",
        "old_sweep": "The sweep was made before the last checkpoint; make it again with jogak sweep.",
        "other": "The folder of this run holds another training by now, so neither its curve nor its sweep is shown.",
    },
    "ko": {
        "curve": "고정한 노이즈로 잰 손실",
        "held_out": "따로 둔 그림",
        "seen": "학습 그림",
        "each": "단계마다의 손실",
        "step": "단계",
        "curve_said": "따로 둔 그림: {at}단계 {first:.4f}, {end}단계 {last:.4f}, 가장 낮은 값은 {best}단계 {lowest:.4f}.",
        "curve_seen": "학습 그림: {at}단계 {first:.4f}, {end}단계 {last:.4f}.",
        "default": "{}의 기본값",
        "asked": "직접 정함, {}의 기본값은 {}",
        "verdict": "스윕이 본 이 학습: {}.",
        "right": "알맞음",
        "overfit": "과적합",
        "underfit": "덜 배움",
        "diverged": "발산",
        "old_sweep": "스윕이 마지막 체크포인트보다 먼저 만들어졌습니다. jogak sweep으로 다시 만드세요.",
        "other": "이 실행의 폴더에 지금은 다른 학습이 있어 곡선과 스윕을 보이지 않습니다.",
    },
}
