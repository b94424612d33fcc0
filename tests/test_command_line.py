"""What the command line says before anything is trained: help, completion, dry runs."""

import shlex
from pathlib import Path

import pytest
from commands import as_json, noisybench, succeed
from test_plugins import LOSS
from typer.testing import CliRunner

from noisybench.cli import app


@pytest.mark.parametrize("group", [(), ("runs",), ("data",)])
def test_the_list_of_commands_has_a_whole_sentence_for_each(
    group: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = succeed(*group, "--help").partition("Commands:")[2].strip().splitlines()
    assert len(lines) > 3 and all(line.endswith(".") and not line.endswith("...") for line in lines), lines


@pytest.mark.parametrize(
    "words, offered",
    [
        ("train --loss tr", {"trunc-lq"}),
        ("corrupt --noise uniform", {"uniform", "uniform-inclusive"}),
        ("train --optimiser n", {"nesterov"}),
        ("sweep smo", {"smoke"}),
        ("ev", {"evaluate"}),
    ],
)
def test_a_shell_completes_names(words: str, offered: set[str]) -> None:
    line = f"noisybench {words}"
    environment = {
        "_NOISYBENCH_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split()) - 1),
    }
    result = CliRunner(env=environment).invoke(app, [], prog_name="noisybench")
    assert set(result.stdout.split()) == offered


@pytest.mark.parametrize(
    "options",
    [
        ("--dataset", "cifar10", "--loss", "trunc-lq", "--epochs", "60"),
        ("--loss", "lq", "--q", "0.5", "--train-size", "400", "--milestones", ""),
        ("--loss", "FILE:half(weight=0.25)"),
        ("--keep", "MASK"),
    ],
)
def test_a_dry_run_of_train_prints_a_command_that_names_everything(
    options: tuple[str, ...], database: Path, tmp_path: Path
) -> None:
    code, mask = tmp_path / "own.py", tmp_path / "mask.npz"
    if "MASK" in options:
        run = as_json("train", "--epochs", 1, "--train-size", 400, "--quiet")
        succeed("prune", run["run"], "--k", 0.01, "--out", mask)
        database.unlink()
    code.write_text(LOSS)
    given = [text.replace("FILE", str(code)).replace("MASK", str(mask)) for text in options]
    first = as_json("train", *given, "--dry-run")
    words = shlex.split(first["command"])
    assert words[:2] == ["noisybench", "train"]
    assert as_json(*words[1:], "--dry-run") == first
    assert not database.exists()


def test_a_dry_run_of_train_shows_the_protocol_of_data_that_is_not_prepared(database: Path) -> None:
    done = noisybench("train", "--dataset", "cifar100", "--loss", "trunc-lq", "--dry-run")
    shown = dict(line.split(None, 1) for line in done.stdout.partition("\n\n")[0].splitlines())
    assert [shown[name] for name in ("epochs", "milestones", "lr", "prune-from")] == [
        "150",
        "80 120",
        "0.01",
        "80",
    ]
    assert "noisybench data add cifar100" in done.stderr and done.exit_code == 0


def test_a_dry_run_of_a_sweep_needs_no_prepared_data(database: Path) -> None:
    done = noisybench("sweep", "table1", "--where", "seed=0", "--dry-run")
    assert done.exit_code == 0 and "144 runs: 0 in the store, 144 to be trained." in done.stdout
    for name in ("cifar10", "cifar100", "fashion-mnist"):
        assert f"noisybench data add {name} " in done.stderr
    assert noisybench("sweep", "table1", "--where", "seed=0").exit_code == 2
