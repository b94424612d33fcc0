"""Errors and finished runs are shown before torch is imported, which takes seconds, and leave no store."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from commands import SHORT, as_json, noisybench, succeed

from noisybench.config import Config, ineffective
from noisybench.sweeps.grid import load, packaged

CODE = """
import sys
class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print("torch is imported", file=sys.stderr)
            sys.stderr.flush()
            import os; os._exit(99)
sys.meta_path.insert(0, NoTorch())
from noisybench.cli import main
main()
"""


def without_torch(*arguments: object) -> "subprocess.CompletedProcess[str]":
    """A command in a process that ends with 99 where it imports torch."""
    command = [sys.executable, "-c", CODE, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    "arguments, word",
    [
        (("train", "--device", "nonsense"), "device"),
        (("train", "--device", "mps"), "mps"),
        (("train", "--precision", "double"), "precision"),
        (("train", "--train-size", "99999"), "1297"),
        (("train", "--prune-from", "3"), "does not prune"),
        (("train", "--keep", "MASK"), "mask"),
        (("sweep", "demo", "--device", "nonsense"), "device"),
        (("sweep", "demo", "--precision", "double"), "precision"),
        (("evaluate", "abc", "--device", "nonsense"), "device"),
        (("prune", "abc", "--device", "nonsense"), "device"),
    ],
)
@pytest.mark.skipif(sys.platform == "darwin", reason="a Mac has mps")
def test_a_wrong_option_is_refused_before_torch_is_imported(
    arguments: tuple[str, ...], word: str, database: Path, tmp_path: Path
) -> None:
    if "MASK" in arguments:
        mask = tmp_path / "mask.npz"
        run = as_json("train", "--epochs", 1, "--train-size", 400, "--quiet")
        succeed("prune", run["run"], "--k", 0.01, "--out", mask)
        arguments = ("train", "--keep", str(mask), "--seed", "5", "--db", str(tmp_path / "other.db"))
    done = without_torch(*arguments)
    assert done.returncode == 2 and word in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not (tmp_path / "other.db").exists() and ("--keep" in arguments or not database.exists())


@pytest.mark.parametrize("option", [("--train-size", 99999), ("--trials", 0), ("--device", "cuda:99")])
def test_a_refused_search_leaves_no_store(option: tuple[str, object], database: Path) -> None:
    done = noisybench("tune", "--loss", "lq", "--over", "q=0.3..1.0", *option)
    assert done.exit_code == 2 and not database.exists()


def test_marks_that_cannot_be_read_are_refused_before_a_network_is_trained(tmp_path: Path) -> None:
    options = ("--noise", "uniform", "--rate", 0.3, "--out", tmp_path / "diagnosis")
    done = noisybench("diagnose", "digits", *options, "--marks", tmp_path / "none.json")
    assert done.exit_code == 2 and not (tmp_path / "diagnosis").exists()


def test_a_finished_run_is_shown_without_torch(database: Path, tmp_path: Path) -> None:
    run = as_json("train", *SHORT)
    done = without_torch("train", *SHORT)
    assert done.returncode == 0 and run["run"] in done.stdout
    grid = tmp_path / "grid.yaml"
    grid.write_text("set: {epochs: 3, train_size: 400}\ngrid: [{loss: cce}]")
    done = without_torch("sweep", grid)
    assert done.returncode == 0 and "1 in the store already" in done.stderr


@pytest.mark.parametrize(
    "given",
    [
        {"loss": "lq", "prune_every": "2"},
        {"optimiser": "adam", "momentum": 0.5},
        {"loss": "cce", "prune_from": [1, 2]},
    ],
)
def test_a_setting_without_effect_is_refused(given: dict[str, Any], tmp_path: Path, database: Path) -> None:
    first = {name: value[0] if isinstance(value, list) else value for name, value in given.items()}
    assert "no effect" in ineffective(Config.create(**first), given)
    options = [word for name, value in first.items() for word in (f"--{name.replace('_', '-')}", value)]
    assert noisybench("train", *options, "--dry-run").exit_code == 2
    path = tmp_path / "grid.yaml"
    path.write_text(f"grid: [{given}]")
    assert noisybench("sweep", path, "--dry-run").exit_code == 2


def test_a_setting_that_some_runs_use_may_be_shared(tmp_path: Path) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text("set: {prune_from: 2}\ngrid: [{loss: cce}, {loss: trunc-lq}]")
    assert len(load(str(path)).configs) == 2
    path.write_text("set: {prune_from: 2}\ngrid: [{loss: cce}, {loss: lq}]")
    assert noisybench("sweep", path, "--dry-run").exit_code == 2
    assert all(load(name).configs for name in packaged())
