"""Files by content: whole or absent, damage noticed, plain words when the disk or the folder will not do."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import textwrap
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jogak.spec import Document, JogakError
from jogak.store import StepError, Store
from tests.store import toyfilm


def put_text(store: Store, text: str) -> Document:
    with store.new_file(".txt") as path:
        path.write_text(text, encoding="utf-8")
        return store.put(path, Document)


def in_child(work: Callable[[], None]) -> int:
    """Run it in a forked process, where limits and users can be changed; 0 when it went well."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1]


def test_a_file_is_kept_under_its_content(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first, second = put_text(store, "여우"), put_text(store, "여우")
    assert first == second
    assert first.path == tmp_path / "objects" / first.sha256[:2] / f"{first.sha256}.txt"
    assert first.path.read_text(encoding="utf-8") == "여우"
    assert store.verify(first)
    assert not list((tmp_path / "tmp" / "loose").iterdir())


def test_a_foreign_file_is_copied_not_moved(tmp_path: Path) -> None:
    mine = tmp_path / "my photo.TXT"
    mine.write_text("mine")
    handle = Store(tmp_path / "store").put(mine, Document)
    assert mine.read_text() == handle.path.read_text() == "mine"
    assert handle.suffix == ".txt"


def test_what_is_not_put_is_thrown_away(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.new_file(".txt") as path:
        path.write_text("half")
    assert not path.exists()
    with pytest.raises(JogakError, match="Nothing was written"), store.new_file(".txt") as path:
        store.put(path, Document)


@pytest.mark.parametrize("damage", ["change", "cut", "remove"])
def test_a_damaged_file_is_noticed_and_made_good_by_the_next_put(tmp_path: Path, damage: str) -> None:
    store = Store(tmp_path)
    handle = put_text(store, "a fox")
    if damage == "change":
        handle.path.write_text("a fix")
    elif damage == "cut":
        handle.path.write_text("a f")
    else:
        handle.path.unlink()
    for reader in (store, Store(tmp_path)):
        assert not reader.verify(handle)
        with pytest.raises(JogakError, match="absent or damaged"):
            reader.get(handle)
    assert put_text(store, "a fox") == handle
    assert store.get(handle).path.read_text() == "a fox"


def test_a_moved_store_still_knows_its_files(tmp_path: Path) -> None:
    handle = put_text(Store(tmp_path / "old"), "a fox")
    (tmp_path / "old").rename(tmp_path / "new")
    moved = Store(tmp_path / "new").get(handle)
    assert moved.path.is_relative_to(tmp_path / "new")
    assert moved.path.read_text() == "a fox"


def test_export_is_whole_or_absent(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    handle = put_text(store, "a fox")
    target = tmp_path / "out" / "film.txt"
    target.parent.mkdir()
    target.write_text("the film of yesterday")
    assert store.export(handle, target).read_text() == "a fox"
    handle.path.write_text("broken")
    with pytest.raises(JogakError):
        store.export(handle, target)
    assert target.read_text() == "a fox"
    assert [path.name for path in target.parent.iterdir()] == ["film.txt"]
    with pytest.raises(JogakError, match="Cannot write"):
        store.export(put_text(store, "a fox"), target / "below" / "a file.txt")


def test_home_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOGAK_HOME", str(tmp_path / "home"))
    assert Store().root == tmp_path / "home"
    monkeypatch.setenv("JOGAK_HOME", " ")
    assert Store().root.name == "jogak"


PLAN = toyfilm.ToyPlan(shots=(toyfilm.ToyShot(id="s1"), toyfilm.ToyShot(id="s2")))


def one_line_about(error: JogakError, *words: str) -> None:
    assert "\n" not in str(error)
    assert all(word in str(error) for word in words), str(error)


def test_a_file_too_large_for_the_limit_is_said_in_plain_words(tmp_path: Path) -> None:
    """`RLIMIT_FSIZE` refuses a write in the middle of a file, as a full disk or a quota does."""

    def limited() -> None:
        store = Store(tmp_path)
        with store.run("toy"):
            toyfilm.heavy(0)
            resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, resource.RLIM_INFINITY))
            with pytest.raises(StepError) as caught:
                toyfilm.heavy(1)
            assert caught.value.step == "heavy"
            one_line_about(caught.value, "is full", "jogak runs gc", "JOGAK_HOME")
            assert toyfilm.heavy(0)[1][0] == 0
            assert list(store.root.glob("tmp/*/*.bin")) == []

    assert in_child(limited) == 0
    with Store(tmp_path).run("toy"):
        assert toyfilm.heavy(1)[0].path.stat().st_size == 400_000


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of one megabyte, where this user may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("this user may not mount a tmpfs")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_said_in_plain_words_and_the_rest_is_kept(tiny_disk: Path) -> None:
    store = Store(tiny_disk / "store")
    with store.run("toy"):
        kept = toyfilm.heavy(0)
    with pytest.raises(JogakError) as caught, store.run("toy"):
        toyfilm.heavy_journey(9)
    one_line_about(caught.value, "is full", "jogak runs gc", "JOGAK_HOME")
    for ballast in range(3000):
        try:
            (tiny_disk / f"ballast{ballast}").write_bytes(bytes(4096))
        except OSError:
            break
    with pytest.raises(JogakError) as caught, store.run("toy"):
        toyfilm.heavy_journey(9)
    one_line_about(caught.value, "is full")
    for path in tiny_disk.glob("ballast*"):
        path.unlink()
    with store.run("toy") as run:
        assert toyfilm.heavy(0) == kept
        assert run.records[-1].hit


def test_a_folder_that_cannot_be_written_is_said_in_plain_words() -> None:
    """As a user without rights there, and where a file stands in the way."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o755)
        (place / "file").write_text("not a folder")
        (place / "locked").mkdir(mode=0o555)

        def as_nobody() -> None:
            if os.getuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            for root in (place / "locked" / "store", place / "file" / "store"):
                with pytest.raises(JogakError) as caught, Store(root).run("toy"):
                    toyfilm.make_film(PLAN, None)
                one_line_about(caught.value, str(root), "writable", "JOGAK_HOME")
                with pytest.raises(JogakError), Store(root).new_file(".txt"):
                    pass
                assert Store(root).runs() == []

        assert in_child(as_nobody) == 0


def test_the_store_is_imported_without_torch() -> None:
    code = """
        import sys, jogak.store, jogak.cli.runs
        heavy = {"torch", "numpy", "diffusers", "transformers", "openvino"} & set(sys.modules)
        assert not heavy, heavy
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)
