from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny_models import make_pocket_like


@pytest.fixture(scope="session")
def pocket_like(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pocket_like(tmp_path_factory.mktemp("models") / "pocket-like")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty JOGAK_HOME."""
    monkeypatch.setenv("JOGAK_HOME", str(tmp_path / "home"))
    return tmp_path / "home"
