"""What the README says is so: its commands run, its code runs, its tree is the tree."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import noisybench
from noisybench import datasets

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
GUIDE = (ROOT / "noisybench" / "README.md").read_text()
ALL = README + GUIDE


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", ALL, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    lines = [line.removeprefix("$ ") for block in blocks("console") for line in block.splitlines()]
    return [line for line in lines if line.startswith("noisybench ")]


@pytest.mark.slow
def test_the_commands_run_in_their_order(tmp_path: Path) -> None:
    environment = {**os.environ, "NOISYBENCH_DB": str(tmp_path / "runs.db")}
    code = "from noisybench.cli import main; main()"

    def run(command: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code, *shlex.split(command)[1:]],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, (command, done.stderr)
        return done.stdout

    assert len(commands()) >= 9
    for command in commands():
        if "RUN" in command:
            newest = json.loads(run("noisybench runs list --json"))[0]["id"]
            command = command.replace("RUN", newest)
        shown, written = run(command), re.search(r"--out (\S+)", command)
        assert shown or (written and (tmp_path / written[1]).stat().st_size), command


@pytest.mark.slow
def test_photos_are_diagnosed_corrected_and_trained(tmp_path: Path) -> None:
    """The block for a user's own images, of two classes; a person marks the first label as wrong."""
    from PIL import Image

    digits = datasets.load("digits")
    for name, digit in (("one", 1), ("zero", 0)):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for row in np.flatnonzero(digits.train_labels == digit)[:60]:
            Image.fromarray(digits.train_images[row, 0]).save(folder / f"{row}.png")
    (tmp_path / "marks.csv").write_text("row,given,mark,label\n0,one,wrong,zero\n")
    (block,) = (block for block in blocks("sh") if "diagnose photos" in block)
    environment = {name: value for name, value in os.environ.items() if name != "NOISYBENCH_DB"}
    code = "from noisybench.cli import main; main()"
    for line in block.splitlines():
        command = [sys.executable, "-c", code, *shlex.split(line, comments=True)[1:]]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, (line, done.stderr)
    assert (tmp_path / "found" / "page.html").stat().st_size
    assert (tmp_path / "found" / "labels.csv").read_text().splitlines()[1].endswith(",zero")
    assert "photos" in done.stdout and "lq" in done.stdout


@pytest.mark.parametrize("code", blocks("python"))
def test_the_python_runs(code: str) -> None:
    exec(code, {})


def test_the_experiment_is_one(tmp_path: Path) -> None:
    from noisybench.sweeps.grid import read

    (text,) = blocks("yaml")
    (tmp_path / "my.yaml").write_text(text)
    assert len(read(tmp_path / "my.yaml").configs) == 2 * 3 * 3


def test_the_tree_is_the_tree() -> None:
    told = set(re.findall(r"^      ([\w./]+)  ", README, re.MULTILINE))
    package = Path(noisybench.__file__).parent
    there = {
        path.name + ("/" if path.is_dir() else "")
        for path in package.iterdir()
        if not path.name.startswith("__") and path.suffix not in (".typed", ".md")
    }
    assert told == there


def test_the_picture_is_of_the_demo() -> None:
    """Its rows and columns; its numbers are those of one machine."""
    from noisybench.sweeps.grid import load

    configs = load("demo").configs
    picture = blocks("text")[0]
    assert all(config.loss in picture and f"η = {config.rate:g}" in picture for config in configs)
    (first, *_) = configs
    assert f"{first.dataset}: {first.model}, {first.epochs} epochs, all images" in picture
    assert "n = 3" in picture and len({config.seed for config in configs}) == 3


def test_the_first_hour_is_short() -> None:
    assert len(README.encode()) <= 10_000


def test_the_losses_are_all_told() -> None:
    from noisybench import losses
    from noisybench.registry import DATASETS, METHODS, MODELS, NOISES

    for registry in (METHODS, NOISES, MODELS, DATASETS):
        for entry in registry:
            # Other tests of this process may have files and own data sets.
            is_ours = entry.origin is None and registry.is_registered(entry.name)
            assert not is_ours or f"`{entry.name}" in ALL, entry.name
    for name in losses.__all__:
        assert not name.endswith("Loss") or name in ALL, name
