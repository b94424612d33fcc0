"""Whatever stands in the place of an option: a result or a few lines, no traceback, nothing that a
terminal obeys, and no file left behind by a command that was refused."""

import os
import random
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from commands import noisybench, succeed
from typer.main import get_command

from noisybench.cli import app
from noisybench.diagnosis import plan
from noisybench.errors import RunFailed
from noisybench.sweeps.parallel import Parallel
from noisybench.training.loop import Training

VALUES = (
    *("", " ", "-", "--", "=", ",", ":", "[", "null", "true", "auto", "x", "*", "~", "~nobody/x", "%s"),
    *("nan", "inf", "-inf", "-1", "0", "1", "0.5", "1e999", "1e-400", "9" * 30, "9" * 5000, "0x10", "٣"),
    *("\x1b[2J\x1b]0;x\x07", "a\nb", "\udcff", "\u202eabc", "[red]x[/nosuch]", "ü" * 300, "x" * 100_000),
    *("lq(q=0.5", "lq(q=nan)", "lq(q=[[1]])", "lq(q=" + "(" * 5000, "mlp(hidden=65536)", "trunc-lq(k=1e999)"),
    *("digits@zz", "cifar10", "uniform(x=1)", "open-set(source=digits)", "a.py:b", "q=0..1"),
    *("q=1..0", "q=nan..inf", "seed=x", "seed=", "1/0", "0/1", "1/2", "1/99999999999", "cat>dog", "{1: 2}"),
    *(".", "..", "/", "images", "/dev/null", "/dev/full", "missing/x", "runs.db", "text.txt", "text.yaml"),
    *("text.npz", "text.py:x", "runs.db-runs", "/proc/self/mem", "/" + "x/" * 3000),
)  # fmt: skip

# What makes each command short, and gives it its arguments; {run} is a completed run.
BASES = {
    "check": ["lq"],
    "corrupt": ["--out", "labels.npz"],
    "data add": ["own", "--from", "images", "--workers", "1"],
    "data list": [],
    "data remove": ["own"],
    "data verify": ["digits"],
    "diagnose": ["digits", "--out", "diagnosis", "--quiet"],
    "evaluate": ["{run}"],
    "list": ["losses"],
    "prune": ["{run}", "--out", "mask.npz"],
    "report": [],
    "runs delete": ["{run}"],
    "runs export": [],
    "runs list": [],
    "runs merge": ["runs.db", "--into", "merged.db"],
    "runs show": ["{run}"],
    "sweep": ["demo", "--quiet"],
    "train": ["--quiet"],
    "tune": ["--loss", "lq", "--over", "q=0.1..0.9", "--quiet"],
}


def leaves(command: Any, name: str = "") -> Iterator[tuple[str, click.Command]]:
    for sub, child in getattr(command, "commands", {}).items():
        yield from leaves(child, f"{name} {sub}".strip())
    if not hasattr(command, "commands"):
        yield name, command


COMMANDS = dict(leaves(get_command(app)))


def test_every_command_is_tried() -> None:
    assert COMMANDS.keys() == BASES.keys()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with a store of one run, a folder of images, and files that are none of ours."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("whole")
    run = succeed("train", "--epochs", 1, "--train-size", 60, "--quiet", "--json", "--db", folder / "runs.db")
    sqlite3.connect(folder / "runs.db").execute("PRAGMA wal_checkpoint(TRUNCATE)").connection.close()
    for number in range(8):
        place = folder / "images" / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.frombytes("L", (8, 8), random.Random(number).randbytes(64)).save(place / f"{number}.png")
    for ending in ("txt", "yaml", "npz", "py"):
        (folder / f"text.{ending}").write_text("years: of work\n")
    return folder, run.partition('"run": "')[2].partition('"')[0]


@pytest.fixture
def here(whole: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The working directory is a copy of that folder, and nothing trains: a run fails in its first epoch."""
    shutil.copytree(whole[0], tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NOISYBENCH_DB", "runs.db")

    def fails(*arguments: Any) -> Any:
        raise RunFailed("Nothing is trained here.")

    monkeypatch.setattr(Training, "_epoch", fails)
    monkeypatch.setattr(Parallel, "sweep", fails)
    monkeypatch.setattr(plan, "seconds_per_epoch", lambda *arguments: 1.0)
    return whole[1]


def files() -> set[str]:
    """All files below the working directory, but for the shared memory and the log of a store."""
    return {
        os.path.join(place, name)
        for place, folders, names in os.walk(".")
        for name in [*folders, *names]
        if not name.endswith(("-shm", "-wal"))
    }


def problem(arguments: list[str]) -> str:
    """What is wrong with how a command line is answered, or ""."""
    before = files()
    result = noisybench(*arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return f"traceback: {result.exception!r:.300}"
    if result.exit_code not in (0, 1, 2):
        return f"exit code {result.exit_code}"
    if set(result.output) & set("\x1b\x07\u202e\r"):
        return f"control characters: {result.output!r:.300}"
    if result.exit_code == 2 and (result.stderr.count("\n") > 12 or len(result.stderr) > 3000):
        return f"{len(result.stderr)} characters: {result.stderr:.300}"
    if result.exit_code == 2 and result.stdout:
        return f"stdout of a refused command: {result.stdout:.300}"
    if result.exit_code == 2 and files() != before:
        return f"left behind: {files() ^ before}"
    return ""


def variants(name: str, run: str, chance: random.Random) -> Iterator[list[str]]:
    """Command lines in which one argument or option, or two of them, are hostile."""
    base = [argument.format(run=run) for argument in BASES[name]]
    parameters = [p for p in COMMANDS[name].params if p.name not in ("help", "install_completion")]
    while True:
        line = list(base)
        for parameter in chance.sample(parameters, min(len(parameters), chance.choice([1, 1, 2]))):
            value = chance.choice(VALUES)
            if isinstance(parameter, click.Argument) or parameter.param_type_name == "argument":
                line[0:1] = [value]
            elif getattr(parameter, "is_flag", False):
                line += [chance.choice(parameter.opts)]
            else:
                line += [parameter.opts[0], value]
        yield [*name.split(), *line]


@pytest.mark.slow
@pytest.mark.parametrize("name", BASES)
def test_hostile_values_in_the_place_of_any_option(name: str, here: str) -> None:
    found = []
    lines = variants(name, here, random.Random(name))
    for _ in range(int(os.environ.get("NOISYBENCH_FUZZ", "40"))):
        line = next(lines)
        if said := problem(line):
            found.append((line if len(str(line)) < 400 else str(line)[:400], said))
    assert not found, "\n\n".join(f"{line}\n{said}" for line, said in found)
