"""The file of --out: written where it may be, and never over what somebody may miss."""

import csv
import io
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import noisybench, succeed
from PIL import Image
from stores import put
from typer.main import get_command

from noisybench.cli import app
from noisybench.datasets.home import data_home
from noisybench.store import Store

Write = Callable[..., Any]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a run and its network, and a folder of images of which one is broken."""
    folder = tmp_path_factory.mktemp("whole")
    for loss in ("cce", "lq"):
        values = ("--loss", loss, "--epochs", 1, "--train-size", 60, "--quiet")
        succeed("train", *values, "--db", folder / "runs.db")
    sqlite3.connect(folder / "runs.db").execute("PRAGMA wal_checkpoint(TRUNCATE)").connection.close()
    for part in ("train", "test"):
        for label in "ab":
            (folder / "images" / part / label).mkdir(parents=True)
            for number in range(2):
                pixels = np.random.default_rng([part == "test", ord(label), number]).integers(
                    0, 256, (8, 8, 3)
                )
                Image.fromarray(pixels.astype("uint8")).save(
                    folder / "images" / part / label / f"{number}.png"
                )
    (folder / "images" / "train" / "a" / "broken.png").write_bytes(b"")
    return folder


@pytest.fixture
def here(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NOISYBENCH_DB", "runs.db")
    yield tmp_path
    assert not list(tmp_path.rglob("*.part"))


def corrupt(out: object, *more: object) -> Any:
    return noisybench("corrupt", "--out", out, *more)


def prune(out: object, *more: object) -> Any:
    return noisybench("prune", Store.read(Path("runs.db")).runs()[0]["id"], "--out", out, *more)


def export(out: object, *more: object) -> Any:
    return noisybench("runs", "export", "--out", out, *more)


def report(out: object, *more: object) -> Any:
    return noisybench("report", "--out", out, *more)


def figure(out: object, *more: object) -> Any:
    return noisybench("report", "--figure", "fig1", "--out", out, *more)


def problems(out: object, *more: object) -> Any:
    return noisybench(
        "data",
        "add",
        "mine",
        "--from",
        "images",
        "--on-error",
        "skip",
        "--workers",
        1,
        "--problems",
        out,
        *more,
    )


# Each command that writes a file which the user names, and a name for it.
WRITERS: dict[Write, str] = {
    corrupt: "labels.npz",
    prune: "mask.npz",
    export: "runs.csv",
    report: "table.txt",
    figure: "figure.svg",
    problems: "problems.csv",
}
ALL = pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)


def test_no_command_writes_files_that_are_not_tried_here() -> None:
    def options(command: Any, name: str) -> Iterator[str]:
        for parameter in command.params:
            if {"--out", "--problems", "--output"} & set(parameter.opts):
                yield name
        for sub, child in getattr(command, "commands", {}).items():
            yield from options(child, f"{name} {sub}".strip())

    # diagnose writes into a folder: see test_diagnosis_command.py.
    found = sorted(options(get_command(app), ""))
    assert found == ["corrupt", "data add", "diagnose", "prune", "report", "runs export"]
    users = [
        path.name
        for path in (Path(sys.modules["noisybench.cli"].__file__ or "").parent).glob("*.py")
        if any(word in path.read_text() for word in ("write_bytes(", "write_text(", "replacing"))
    ]
    assert users == ["console.py"], "files of users are written by console.write"


@ALL
def test_a_file_of_its_own_kind_is_replaced_and_another_is_not(here: Path, write: Write) -> None:
    name = WRITERS[write]
    for _ in range(2):
        result = write(name)
        assert result.exit_code == 0, result.output
    wanted = Path(name).read_bytes()
    for content in (
        b"years of work\n" * 9,
        b"PK\x03\x04\x14\0\x08\0\x08\0" + bytes(99),
        b"%PDF-1.5\n%\xd0\xd4\xc5\xd8",
    ):
        Path(name).write_bytes(content)
        result = write(name)
        assert result.exit_code == 2 and "--overwrite" in result.stderr
        assert Path(name).read_bytes() == content
    assert write(name, "--overwrite").exit_code == 0 and Path(name).read_bytes() == wanted
    Path(name).write_bytes(b"")
    assert write(name).exit_code == 0, "there is nothing to lose in an empty file"


def test_a_search_says_before_it_trains_that_its_figure_cannot_be_written(here: Path) -> None:
    rows = Store.read(Path("runs.db")).runs()
    Path("link.pdf").symlink_to("runs.db")
    Path("folder.pdf").mkdir()
    for name in ("link.pdf", "folder.pdf", "missing/x.pdf", data_home() / "x.pdf", "runs.db-runs/x.pdf"):
        result = noisybench("tune", "--loss", "lq", "--over", "q=0.1..0.9", "--figure", name)
        assert result.exit_code == 2 and result.stderr.count("\n") == 1, result.output
        assert str(name) in result.stderr
    assert Store.read(Path("runs.db")).runs() == rows


def test_labels_and_masks_are_not_of_one_kind(here: Path) -> None:
    assert corrupt("labels.npz").exit_code == prune("mask.npz").exit_code == 0
    for write, name in ((corrupt, "mask.npz"), (prune, "labels.npz")):
        before = Path(name).read_bytes()
        assert write(name).exit_code == 2 and Path(name).read_bytes() == before


@ALL
def test_a_store_and_what_belongs_to_it_are_never_touched(here: Path, write: Write) -> None:
    suffix = Path(WRITERS[write]).suffix
    store = Path("runs.db")
    run = next(Path("runs.db-runs").iterdir())
    names = [store]
    if write not in (figure, export):
        names += [Path("runs.db-wal"), Path("runs.db-shm"), run / "best.pt", Path("runs.db-runs/new")]
    named = Path(f"other{suffix}")
    shutil.copy(store, named)
    Path(f"link{suffix}").symlink_to(store)
    os.link(store, f"hard{suffix}")
    names += [named, Path(f"link{suffix}"), Path(f"hard{suffix}"), run / f"x{suffix}"]
    rows, kept = Store.read(store).runs(), {path: path.read_bytes() for path in run.iterdir()}
    for name in names:
        result = write(name, "--overwrite")
        assert result.exit_code == 2, name
        if name.suffix == suffix:
            assert "store of runs" in result.stderr, name
    for path in (store, named, Path(f"link{suffix}"), Path(f"hard{suffix}")):
        assert Store.read(path).runs() == rows
    assert {path: path.read_bytes() for path in run.iterdir()} == kept


def test_a_store_that_is_still_in_its_log_is_one(here: Path) -> None:
    store = Store.open(Path("new.npz"))
    put(store)
    assert corrupt("new.npz", "--overwrite").exit_code == 2 and len(store.runs()) == 1


@ALL
def test_a_database_of_another_program_is_refused_without_overwrite(here: Path, write: Write) -> None:
    name = f"other{Path(WRITERS[write]).suffix}"
    with sqlite3.connect(name) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()
    assert write(name).exit_code == 2 and sqlite3.connect(name).execute("SELECT * FROM bookmarks")


@ALL
def test_prepared_data_is_never_touched(here: Path, write: Write) -> None:
    (data_home() / "datasets").mkdir(parents=True, exist_ok=True)
    before = sorted(data_home().rglob("*"))
    Path("link").symlink_to(data_home(), target_is_directory=True)
    for place in (data_home() / "datasets", Path("link")):
        result = write(place / WRITERS[write], "--overwrite")
        assert result.exit_code == 2 and "prepared data" in result.stderr
    assert [path for path in sorted(data_home().rglob("*")) if "mine" not in str(path)] == [
        path for path in before if "mine" not in str(path)
    ]


def test_an_input_of_the_command_is_never_replaced(here: Path) -> None:
    Path("map.yaml").write_text("{1: 7}")
    Path("link.npz").symlink_to("map.yaml")
    for name in ("map.yaml", "./map.yaml", "link.npz", here / "map.yaml"):
        result = corrupt(name, "--noise", "class-dependent", "--map", "map.yaml", "--overwrite")
        assert result.exit_code == 2 and "input" in result.stderr
    assert Path("map.yaml").read_text() == "{1: 7}"
    table = "path,label,split\nimages/train/a/0.png,a,train\n"
    Path("mine.csv").write_text(table)
    assert noisybench("data", "add", "mine", "--from", "mine.csv", "--problems", "mine.csv").exit_code == 2
    assert Path("mine.csv").read_text() == table


@ALL
def test_a_pipe_is_written_to_and_stays_one(here: Path, write: Write) -> None:
    name = WRITERS[write]
    os.mkfifo(name)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(Path(name).read_bytes()))
    reader.start()
    assert write(name).exit_code == 0
    reader.join(10)
    assert stat.S_ISFIFO(os.stat(name).st_mode)
    assert write(f"plain-{name}").exit_code == 0
    assert got == [Path(f"plain-{name}").read_bytes()] and len(got[0]) > 20


@ALL
def test_devices_and_links_to_them_stay_what_they_are(here: Path, write: Write) -> None:
    """With links, as a test that fails must not replace /dev/null."""
    suffix = Path(WRITERS[write]).suffix
    null, full = Path(f"null{suffix}"), Path(f"full{suffix}")
    null.symlink_to("/dev/null")
    full.symlink_to("/dev/full")
    assert write(null).exit_code == 0 and null.is_symlink()
    result = write(full)
    assert result.exit_code == 2 and "No space left on device" in result.stderr
    assert full.is_symlink() and Path("/dev/null").is_char_device() and Path("/dev/full").is_char_device()


@ALL
def test_a_link_to_a_file_stays_a_link(here: Path, write: Write) -> None:
    name = WRITERS[write]
    Path("there").mkdir()
    Path(name).symlink_to(f"there/{name}")
    for _ in range(2):
        assert write(name).exit_code == 0
    assert Path(name).is_symlink() and Path("there", name).stat().st_size > 20


@pytest.mark.parametrize("write", [w for w in WRITERS if w not in (figure, export)], ids=lambda w: w.__name__)
def test_a_folder_and_an_empty_name_are_refused_in_words(here: Path, write: Write) -> None:
    before = sorted(here.rglob("*"))
    for name in ("", ".", "images", "/"):
        result = write(name)
        assert result.exit_code == 2 and "folder" in result.stderr, result.output
    assert sorted(
        path for path in here.rglob("*") if "-shm" not in path.name and "-wal" not in path.name
    ) == [path for path in before if "-shm" not in path.name and "-wal" not in path.name]


def test_a_dash_is_stdout(here: Path) -> None:
    assert export("-").stdout == succeed("runs", "export")
    assert report("-", "--format", "csv").stdout == succeed("report", "--format", "csv")
    problem = problems("-")
    assert "broken.png" in next(csv.DictReader(io.StringIO(problem.stdout)))["path"]
    for write in (corrupt, prune):
        assert write("labels.npz", "--overwrite").exit_code == 0
        result = write("-")
        assert result.exit_code == 0 and result.stdout_bytes == Path("labels.npz").read_bytes()
        result = write("-", "--json")
        assert result.exit_code == 2 and "--json" in result.stderr
    assert not Path("-").exists()


@pytest.mark.slow
def test_stdout_that_is_a_file_or_full(here: Path) -> None:
    code = "from noisybench.cli import main; main()"
    command = [sys.executable, "-c", code, "corrupt", "--out"]
    for out in ("-", "/dev/stdout"):
        with open("labels.npz", "wb") as file:
            assert subprocess.run([*command, out], stdout=file).returncode == 0
        assert Path("labels.npz").read_bytes().startswith(b"PK")
    with open("/dev/full", "wb") as file:
        done = subprocess.run([*command, "-"], stdout=file, stderr=subprocess.PIPE, text=True)
    assert done.returncode != 0 and "No space left" in done.stderr and "Traceback" not in done.stderr


def test_what_a_terminal_would_obey_is_escaped(here: Path) -> None:
    result = noisybench("train", "--loss", "\x1b]0;owned\x07lq", "--db", "x\x9b31m.db")
    assert result.exit_code == 2 and "\x1b" not in result.stderr and "\\x1b]0;owned" in result.stderr
    store = Store.open(Path("runs.db"))
    run = put(store, status="failed")
    with store.conn:
        for name in ("reason", "host", "device", "dataset", "noise", "model"):
            store.conn.execute(f"UPDATE runs SET {name} = ? WHERE id = ?", ["\x1b[2J\u202e[red]x[/red]", run])
    for command in (("runs", "list"), ("runs", "show", run), ("report",), ("report", "--format", "markdown")):
        shown = noisybench(*command)
        assert shown.exit_code == 0, (command, shown.output)
        assert not {"\x1b", "\u202e"} & set(shown.output), command
    assert "[red]x[/red]" in succeed("runs", "list").replace("\n", "")
