"""What goes wrong for a user: one message, the right exit code, and a store that stays of use."""

import json
import resource
from pathlib import Path
from typing import Any

import pytest
from commands import SHORT, noisybench, process, succeed

from noisybench.store import Store


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("grid: [{losss: lq}]", "losss"),
        ("grid: [{loss: lqq}]", "lqq"),
        ("grid: [{rate: 2}]", "rate"),
        ("grids: []", "grid"),
        ("grid: 3", "grid"),
        ("grid: [", "YAML"),
        ("grid: [{labels: abc}]", "abc"),
        ("grid: [{1: 2}]", "1"),
        ("grid: [{loss: []}]", "empty"),
        ("table: open\ngrid: [{loss: lq}]", "open"),
    ],
)
def test_a_wrong_experiment_file_is_named_with_what_is_wrong(
    tmp_path: Path, content: str, expected: str
) -> None:
    grid = tmp_path / "grid.yaml"
    grid.write_text(content)
    result = noisybench("sweep", grid)
    assert result.exit_code == 2 and "grid.yaml" in result.stderr and expected in result.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("train", "--loss", "lqq"), "Did you mean 'lq'?"),
        (("train", "--loss", "lq(q=2)"), "from 0 to 1"),
        (("train", "--loss", "cce", "--q", "0.4"), "loss lq"),
        (("train", "--rate", "1"), "below 1"),
        (("train", "--rate", "half"), "a number"),
        (("train", "--epochs", "0"), "at least 1"),
        (("train", "--dataset", "cifar10"), "noisybench data add cifar10"),
        (("train", "--train-size", "5000"), "1297"),
        (("train", "--milestones", "9,3"), "increasing"),
        (("train", "--device", "tpu"), "auto, cpu"),
        (("train", "--labels", "none.npz"), "none.npz"),
        (("train", "--db", "none/runs.db"), "none"),
        (("report", "--db", "none.db"), "none.db"),
        (("report", "--table", "closedset"), "Did you mean 'closed-set'?"),
        (("report", "--format", "pdf"), "markdown"),
        (("sweep", "dmo"), "Did you mean 'demo'?"),
        (("trian",), "train"),
        (("corrupt", "--out", "none/labels.npz"), "none"),
        (("corrupt", "--noise", "class-dependent", "--map", "1>77", "--out", "x.npz"), "77"),
    ],
)
def test_wrong_input_exits_2_with_one_message(
    arguments: tuple[str, ...], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = noisybench(*arguments)
    assert result.exit_code == 2 and expected in result.stderr and result.stdout == ""
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_run_is_said_to_be_unknown(trained: dict[str, Any]) -> None:
    for command in (("prune",), ("evaluate",), ("runs", "show"), ("runs", "delete", "--yes")):
        result = noisybench(*command, "zzz")
        assert result.exit_code == 2 and trained["run"] in result.stderr


def test_noise_that_cannot_be_tolerated_warns(database: Path) -> None:
    assert "Warning" in noisybench("train", "--rate", 0.9, *SHORT).stderr
    assert "Warning" not in noisybench("train", "--rate", 0.89, *SHORT).stderr


def test_a_loss_that_turns_nan_fails_the_run(database: Path) -> None:
    result = noisybench("train", "--lr", "1e30", "--json", *SHORT)
    assert result.exit_code == 1 and json.loads(result.stdout)["status"] == "failed"
    assert "learning rate" in result.stderr
    (row,) = Store.open(database).runs()
    assert row["status"] == "failed" and "finite" in row["reason"]
    assert "failed" in succeed("report")


def test_a_network_that_a_batch_does_not_suit_fails_the_run(database: Path) -> None:
    """Batch norm of a single pixel of a single image."""
    values = ("--model", "resnet18(width=8)", "--train-size", 2, "--validation", 0.5, "--epochs", 1)
    result = noisybench("train", *values)
    assert result.exit_code == 1 and "more than 1 value per channel" in result.stderr
    assert "failed" in succeed("runs", "list")


def test_progress_without_a_terminal_is_plain_lines(database: Path) -> None:
    result = noisybench("train", "--loss", "trunc-lq(k=0.01)", "--prune-from", 1, *SHORT[:4])
    lines = result.stderr.splitlines()
    assert [line.split()[1] for line in lines if "epoch" in line.split()[0]] == ["1/3", "2/3", "3/3"]
    assert any("pruned: kept" in line for line in lines) and "\x1b" not in result.stderr


@pytest.mark.slow
def test_a_network_that_finds_no_room_fails_the_run_and_leaves_a_store(database: Path) -> None:
    """As on a full disk: files may not grow beyond what the store needs."""

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (250_000, 250_000))

    child = process("train", *SHORT, preexec_fn=small_files)
    _, errors = child.communicate(timeout=120)
    assert child.returncode == 2 and "cannot be written" in errors and "Traceback" not in errors
    (row,) = Store.open(database).runs()
    assert row["status"] == "failed" and "cannot be written" in row["reason"]
    assert not list(Store.open(database).folder(row["id"]).iterdir())


@pytest.mark.slow
def test_a_store_that_finds_no_room_says_so(tmp_path: Path, database: Path) -> None:
    def tiny_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, 9_000))

    child = process("train", *SHORT, preexec_fn=tiny_files)
    _, errors = child.communicate(timeout=120)
    assert child.returncode == 2 and str(database) in errors and "Traceback" not in errors
