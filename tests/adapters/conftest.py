"""Tiny models of both layouts, on one thread."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jogak.models import resolve
from jogak.spec import ModelRef
from tests.tiny_models import make_pocket_like, make_sd15_like


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JOGAK_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("JOGAK_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def sd15(home: None, tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    return resolve(make_sd15_like(tmp_path_factory.mktemp("sd15") / "sd15-like"), backend="torch")


@pytest.fixture(scope="module")
def pocket(home: None, tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    return resolve(make_pocket_like(tmp_path_factory.mktemp("pocket") / "pocket-like"), backend="torch")
