from __future__ import annotations

from pathlib import Path

import pytest

from jogak.store import Store
from tests.tiny_models import make_pocket_like
from tests.tiny_training import make_pictures


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of pocket's layout."""
    return make_pocket_like(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pictures(tmp_path_factory.mktemp("pictures") / "set")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")
