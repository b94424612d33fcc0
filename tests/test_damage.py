"""Whatever becomes of the bytes of a store: a right answer or one message, and never a traceback."""

import random
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from commands import noisybench
from stores import EVALUATION, put
from test_store import CONFIG, HERE

from noisybench.errors import StoreError
from noisybench.store import Estimate, Store

COMMANDS = (
    ("runs", "list"),
    ("report",),
    ("runs", "export", "--table", "epochs"),
    ("runs", "show", CONFIG.identity[:12]),
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "runs.db"
    store = Store.open(path)
    for seed in range(3, 6):
        run = put(store, replace(CONFIG, seed=seed), epochs=20)
        store.add_transition(run, Estimate(run, [[0.5, 0.5], [0.25, 0.75]]), None)
        store.add_evaluation(run, "test", EVALUATION)
    store.conn.close()
    return path


def answers(path: Path, commands: tuple[tuple[str, ...], ...] = COMMANDS) -> list[str | None]:
    """What each command prints, None where it is refused in words."""
    found: list[str | None] = []
    for command in commands:
        result = noisybench(*command, "--db", path)
        assert result.exception is None or isinstance(result.exception, SystemExit), (command, result)
        assert result.exit_code in (0, 2) and "Traceback" not in result.output
        if result.exit_code == 2:
            assert result.stdout == "" and len(result.stderr) > 10
        found.append(result.stdout if result.exit_code == 0 else None)
    return found


@pytest.mark.parametrize("seed", range(4))
def test_random_damage(whole: Path, tmp_path: Path, seed: int) -> None:
    """Bits that flip, bytes that are others, and ends that are missing."""
    chance = random.Random(seed)
    content = whole.read_bytes()
    right = answers(whole)
    assert None not in right
    refused = 0
    for number in range(10):
        path = tmp_path / f"{number}.db"
        damaged = bytearray(content)
        kind = chance.choice(["bit", "bytes", "page", "cut"])
        at = chance.randrange(len(content))
        if kind == "bit":
            damaged[at] ^= 1 << chance.randrange(8)
        elif kind == "bytes":
            damaged[at : at + 16] = chance.randbytes(len(damaged[at : at + 16]))
        elif kind == "page":
            start = at // 4096 * 4096
            damaged[start : start + 4096] = bytes(4096)
        else:
            del damaged[at:]
        path.write_bytes(damaged)
        found = answers(path, (chance.choice(COMMANDS),))
        refused += found == [None]
        if kind in ("page", "cut"):
            # What is missing is noticed, whatever command is asked, or was nothing that is asked for.
            assert found == [None] or found[0] in right, (kind, at)
    assert refused


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20_000])


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:4096] + b"\xff" * (path.stat().st_size - 4096))


def text(path: Path) -> None:
    path.write_text("not a database " * 100)


def without_a_table(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(
        "PRAGMA writable_schema = 1; UPDATE sqlite_master SET rootpage = 99 WHERE name = 'runs'"
    )
    connection.close()


@pytest.mark.parametrize("damage", [cut, torn, text, without_a_table])
def test_every_command_names_a_damaged_file_and_what_to_do(
    whole: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    path = tmp_path / "runs.db"
    shutil.copy(whole, path)
    damage(path)
    before = path.read_bytes()
    run = CONFIG.identity[:12]
    commands = [
        *COMMANDS,
        ("runs", "delete", "--yes", run),
        ("evaluate", run),
        ("prune", run),
        ("train", "--epochs", "1"),
        ("sweep", "demo"),
        ("sweep", "demo", "--dry-run"),
        ("sweep", "demo", "--jobs", "2"),
    ]
    for command in commands:
        result = noisybench(*command, "--db", path)
        said = " ".join(result.stderr.split())
        assert result.exit_code == 2 and result.stdout == "", command
        assert "runs.db is damaged" in said and ".dump" in said and "Traceback" not in said, said
    assert path.read_bytes() == before


def advice(path: Path) -> str:
    """The command of the shell that the message about a store advises."""
    return noisybench("runs", "list", "--db", path).stderr.replace("\n", " ").split("`")[1]


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="the advice is for those who have sqlite3")
def test_the_advice_rescues_what_can_be_read(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "the runs.db"
    shutil.copy(whole, path)
    content = path.read_bytes()
    connection = sqlite3.connect(path)
    (page,) = connection.execute(
        "SELECT rootpage FROM sqlite_master WHERE name = 'idx_runs_identity_attempt'"
    ).fetchone()
    connection.close()
    path.write_bytes(content[: 4096 * (page - 1)] + b"\xff" * 4096 + content[4096 * page :])
    subprocess.run(advice(path), shell=True, check=True, cwd=tmp_path)
    rescued = Store.open(tmp_path / "recovered.db")
    assert rescued.runs() == Store.open(whole).runs()
    assert len(rescued.epochs()) == len(Store.open(whole).epochs())


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="the advice is for those who have sqlite3")
def test_the_advice_removes_a_row_that_is_wrong(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    shutil.copy(whole, path)
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE epochs SET lr = 'text' WHERE epoch = 7 AND rowid < 21")
    connection.close()
    subprocess.run(advice(path), shell=True, check=True, cwd=tmp_path)
    assert len(Store.open(path).epochs()) == len(Store.open(whole).epochs()) - 1


def test_a_locked_store_says_so(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("noisybench.store.tables.BUSY_TIMEOUT", 0.1)
    path = tmp_path / "runs.db"
    shutil.copy(whole, path)
    holder = sqlite3.connect(path)
    holder.execute("BEGIN IMMEDIATE")
    store = Store.open(path)
    with pytest.raises(StoreError, match="runs.db is locked: another process has been writing"):
        store.begin(replace(CONFIG, seed=9), HERE)
    assert answers(path) == answers(whole), "readers do not wait"
    holder.rollback()
    store.begin(replace(CONFIG, seed=9), HERE)
