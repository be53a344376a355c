from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image

from jogak.judge import features
from jogak.spec import JogakError


def test_the_weights_know_an_admiral_in_uniform() -> None:
    """matplotlib ships a photograph of Grace Hopper; ImageNet's class 652 is `military uniform`."""
    path = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    picture = np.asarray(Image.open(path).convert("RGB"))[None]
    vectors = features.features(picture)
    assert vectors.shape == (1, features.WIDTH)
    assert vectors.dtype == np.float32
    assert vectors.min() >= 0
    assert vectors.max() <= 6
    shares = features.network()._fc(torch.from_numpy(vectors)).softmax(-1)[0]
    assert int(shares.argmax()) == 652
    assert float(shares.max()) > 0.3


def test_batches_do_not_change_the_features() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (5, 40, 70, 3), np.uint8)
    np.testing.assert_allclose(features.features(pictures, batch=2), features.features(pictures), atol=1e-4)
    assert features.features(pictures[:0]).shape == (0, features.WIDTH)


@pytest.mark.parametrize("shape", [(40, 70, 3), (1, 3, 40, 70), (1, 0, 70, 3)])
def test_what_is_no_batch_of_pictures_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(JogakError, match="uint8"):
        features.features(np.zeros(shape, np.uint8))


def test_floats_are_refused() -> None:
    with pytest.raises(JogakError, match="uint8"):
        features.features(np.zeros((1, 8, 8, 3)))  # pyright: ignore[reportArgumentType]


def test_another_weights_file_is_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    features.network.cache_clear()
    monkeypatch.setattr(features, "DIGEST", "0" * 64)
    with pytest.raises(JogakError, match="reinstall"):
        features.network()
