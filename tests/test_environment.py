"""An environment that is not as it should be: one line that names the variable to set."""

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from commands import noisybench
from PIL import Image

from noisybench.store import Store

CODE = "from noisybench.cli import main; main()"


@pytest.mark.parametrize("command", ["train", "corrupt --out -", "data list"])
@pytest.mark.parametrize("home", ["file", "file/below", "/proc/nothing", "x" * 300])
def test_a_home_that_is_no_folder(
    command: str, home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: Path
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("NOISYBENCH_HOME", home if home.startswith("/") else str(tmp_path / home))
    result = noisybench(*command.split())
    if result.exit_code == 0:  # nothing had to be read or written
        assert command == "data list"
        return
    assert result.exit_code == 2 and "NOISYBENCH_HOME" in result.stderr, result.output
    assert result.stderr.count("\n") == 1 and not database.exists()


def test_without_a_home_folder(monkeypatch: pytest.MonkeyPatch, database: Path) -> None:
    """As in a container whose user has no name."""

    def unknown(path: str) -> str:
        return path

    monkeypatch.delenv("NOISYBENCH_HOME")
    for name in ("HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", unknown)
    result = noisybench("train", "--epochs", 1)
    assert result.exit_code == 2 and "NOISYBENCH_HOME" in result.stderr and not database.exists()


@pytest.mark.parametrize("command", ["sweep demo", "train", "data add cifar10"])
def test_without_a_temporary_folder(command: str, monkeypatch: pytest.MonkeyPatch, database: Path) -> None:
    def none(*arguments: Any) -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    result = noisybench(*command.split())
    assert result.exit_code == 2 and "TMPDIR" in result.stderr, result.output
    assert result.stderr.count("\n") == 1 and not database.exists()
    # As where all disks are full.
    Store.open(database)
    assert "no runs" in noisybench("report").stdout


@pytest.mark.slow
@pytest.mark.parametrize("locale", [{"LANG": "C", "LC_ALL": ""}, {"PYTHONIOENCODING": "ascii"}])
def test_names_that_the_terminal_cannot_write(tmp_path: Path, locale: dict[str, str]) -> None:
    for number in range(40):
        place = tmp_path / "images" / ("Füße", "猫")[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 6 * number).save(place / f"{number}é.png")
    environment = {**os.environ, **locale, "NOISYBENCH_HOME": str(tmp_path / "home"), "NOISYBENCH_DB": "x.db"}
    run = ("--epochs", "1", "--batch-size", "8", "--quiet")
    for command in (
        ("data", "add", "own", "--from", "images"),
        ("data", "list"),
        ("data", "list", "--json"),
        ("train", "--dataset", "own", *run),
        ("runs", "list"),
        ("report",),
        ("report", "--format", "html", "--out", "page.html"),
        ("corrupt", "--dataset", "own", "--rate", "0.3", "--out", "x.npz"),
        ("train", "--dataset", "Füße"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", CODE, *command], cwd=tmp_path, env=environment, capture_output=True
        )
        assert b"Traceback" not in done.stderr, done.stderr
        assert done.returncode == (2 if "Füße" in command else 0), (command, done.stdout, done.stderr)
