"""What can go wrong in a merge: it is said, and the target is what it was."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from commands import noisybench
from stores import content, put
from test_store import CONFIG

from noisybench.errors import StoreError
from noisybench.store import Store
from noisybench.store import merge as module
from noisybench.store.merge import merge
from noisybench.store.schema import VERSION


def make(path: Path, seeds: range = range(1)) -> Path:
    """A store that no process has open."""
    store = Store.open(path)
    for seed in seeds:
        put(store, replace(CONFIG, seed=seed), epochs=40)
    store.conn.close()
    return path


def absent(path: Path) -> None:
    path.unlink()


def text(path: Path) -> None:
    path.write_text("not a database " * 100)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20_000])


def torn(path: Path) -> None:
    """Every page but the first, where the tables are named."""
    path.write_bytes(path.read_bytes()[:4096] + b"\xff" * (path.stat().st_size - 4096))


def foreign(path: Path) -> None:
    path.unlink()
    sqlite3.connect(path).execute("CREATE TABLE bookmarks (url TEXT)").connection.close()


def execute(path: Path, sql: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(sql)
    connection.commit()
    connection.close()


def newer(path: Path) -> None:
    execute(path, f"PRAGMA user_version = {VERSION + 1}")


def unknown_column(path: Path) -> None:
    execute(path, "ALTER TABLE epochs ADD COLUMN entropy FLOAT")


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (absent, "There is no store"),
        (text, "not a database"),
        (empty, "not a store of noisybench"),
        (cut, "malformed"),
        (torn, "It is damaged"),
        (foreign, "not a store of noisybench"),
        (newer, "Upgrade noisybench"),
        (unknown_column, "entropy"),
    ],
)
def test_a_source_that_cannot_be_read_is_named_and_nothing_is_merged(
    tmp_path: Path, damage: Callable[[Path], None], expected: str
) -> None:
    good, bad, into = make(tmp_path / "good.db"), make(tmp_path / "bad.db"), tmp_path / "all.db"
    damage(bad)
    left = bad.read_bytes() if bad.exists() else None
    result = noisybench("runs", "merge", good, bad, "--into", into)
    assert result.exit_code == 2 and expected in result.stderr and "bad.db" in result.stderr
    assert result.stdout == "" and not into.exists()
    assert left == (bad.read_bytes() if bad.exists() else None)


def test_a_source_that_is_the_target_is_refused(tmp_path: Path) -> None:
    into = make(tmp_path / "all.db")
    (tmp_path / "link.db").symlink_to(into)
    before = content(into)
    for name in ("all.db", "link.db", "../" + tmp_path.name + "/all.db"):
        result = noisybench("runs", "merge", tmp_path / name, "--into", into)
        assert result.exit_code == 2 and "the store to merge into" in result.stderr
    assert content(into) == before


@pytest.mark.parametrize("damage", [text, foreign, newer])
def test_a_target_that_is_no_store_is_left_as_it_is(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    good, into = make(tmp_path / "good.db"), make(tmp_path / "all.db")
    shutil.rmtree(Store(into, None).networks)
    damage(into)
    before = into.read_bytes()
    assert noisybench("runs", "merge", good, "--into", into).exit_code == 2
    assert into.read_bytes() == before and not (tmp_path / "all.db-runs").exists()


def test_a_source_in_a_folder_that_cannot_be_written_is_read(tmp_path: Path) -> None:
    """As another user does, or from a medium: nothing appears beside it."""
    (tmp_path / "theirs").mkdir()
    source = make(tmp_path / "theirs" / "a.db")
    before = sorted((tmp_path / "theirs").rglob("*"))
    merge([source], tmp_path / "all.db")
    assert sorted((tmp_path / "theirs").rglob("*")) == before


# Where a process may die: while the networks are copied, while they are moved, when the rows are written
# but not yet for good.
DEATHS = {
    "copying": "merge._link = dying(merge._link)",
    "moving": "merge.Path.replace = dying(merge.Path.replace)",
    "writing": "Store.insert = dying(Store.insert)",
}
DYING = """
import os, signal, sys
from pathlib import Path
from noisybench.store import Store, merge

def dying(function, calls=[]):
    def once_more(*arguments):
        calls.append(1)
        if len(calls) > 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments)
    return once_more

{death}
merge.merge([Path(sys.argv[1])], Path(sys.argv[2]))
"""


@pytest.mark.parametrize("death", DEATHS)
def test_a_merge_that_is_killed_leaves_the_target_as_it_was_and_can_be_made_again(
    tmp_path: Path, death: str
) -> None:
    source = make(tmp_path / "a.db", range(4))
    into, whole = make(tmp_path / "all.db", range(3, 5)), make(tmp_path / "whole.db", range(3, 5))
    before = content(into)
    command = [sys.executable, "-c", DYING.format(death=DEATHS[death]), str(source), str(into)]
    assert subprocess.run(command).returncode == -signal.SIGKILL
    after = content(into)
    assert {**after, "files": before["files"]} == before and before["files"].items() <= after["files"].items()
    merge([source], into)
    merge([source], whole)
    assert content(into) == content(whole) and len(content(into)["files"]) == 5
    assert sorted(os.listdir(tmp_path / "all.db-runs")) == sorted(os.listdir(tmp_path / "whole.db-runs"))


def test_a_full_disk_leaves_the_target_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, into = make(tmp_path / "a.db", range(3)), make(tmp_path / "all.db", range(4, 5))
    before = content(into)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_link", full)
    with pytest.raises(StoreError, match="No space left"):
        merge([source], into)
    assert content(into) == before


def test_a_target_that_changes_meanwhile_is_not_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, into = make(tmp_path / "a.db"), tmp_path / "all.db"
    link = module._link

    def while_another_writes(file: str, to: str) -> None:
        put(Store.open(into), replace(CONFIG, seed=0), accuracy=0.25)
        link(file, to)

    monkeypatch.setattr(module, "_link", while_another_writes)
    with pytest.raises(StoreError, match="changed by another process"):
        merge([source], into)
    assert [row["test_accuracy"] for row in Store.open(into).runs()] == [0.25]
    monkeypatch.undo()
    merge([source], into)
    assert len(Store.open(into).runs()) == 2


def test_a_network_is_copied_where_it_cannot_be_linked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make(tmp_path / "a.db")

    def another_file_system(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    merge([source], tmp_path / "linked.db")
    monkeypatch.setattr(os, "link", another_file_system)
    merge([source], tmp_path / "copied.db")
    assert content(tmp_path / "copied.db") == content(tmp_path / "linked.db") == content(source)
    links = [next(tmp_path.glob(f"{name}.db-runs/*/best.pt")).stat().st_nlink for name in ("a", "copied")]
    assert links == [2, 1]
