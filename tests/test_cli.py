"""The commands as a user gives them, end to end on the digits."""

import json
import re
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import SHORT, as_json, noisybench, succeed

from noisybench.config import declared_fields
from noisybench.labels.manifest import Manifest
from noisybench.store import Store


def commands() -> list[tuple[str, ...]]:
    """Every command, with the commands of the groups."""
    found: list[tuple[str, ...]] = []
    for line in succeed("--help").partition("Commands:")[2].splitlines():
        if words := line.split():
            inner = succeed(words[0], "--help").partition("Commands:")[2]
            subcommands = [match[1] for match in re.finditer(r"^  (\w+)  ", inner, re.MULTILINE)]
            found += [(words[0], name) for name in subcommands] or [(words[0],)]
    return found


def test_the_commands_are_those_of_the_readme() -> None:
    root = Path(__file__).parents[1]
    readme = "".join((root / name).read_text() for name in ("README.md", "noisybench/README.md"))
    told = re.findall(r"(?:`|\$ |^)noisybench ((?:runs |data )?[a-z]+)", readme, re.MULTILINE)
    assert {" ".join(command) for command in commands()} == set(told)


def test_every_command_and_option_has_help() -> None:
    for command in commands():
        text = succeed(*command, "--help")
        about, _, options = text.partition("\nOptions:\n")
        assert len(about.split("\n\n", 1)[1].strip()) > 20, command
        entries = re.split(r"\n  (?=-)", "\n" + options)[1:]
        assert len(entries) >= 1
        for entry in entries:
            assert re.search(r"(?:  |\n\s+)[A-Za-z(]\w+.*\w", entry), (command, entry)


def test_every_field_of_config_is_an_option_of_train() -> None:
    text = succeed("train", "--help")
    for name, declared in declared_fields().items():
        assert (f"--{name.replace('_', '-')} " in text) == (
            declared.option.cli or name in ("labels", "keep", "pretrained")
        )


def test_train_prints_one_object_and_stores_the_same(database: Path) -> None:
    run = as_json("train", "--loss", "lq", "--q", 0.5, *SHORT)
    assert set(run) == {
        *("run", "status", "best_epoch", "val_accuracy", "test_accuracy", "last_test_accuracy"),
        *("epochs", "n_train", "n_kept", "seconds"),
    }
    assert (run["status"], run["epochs"], run["n_train"], run["n_kept"]) == ("completed", 3, 360, 360)
    with sqlite3.connect(database) as connection:
        row = connection.execute("SELECT loss, test_accuracy, status FROM runs").fetchall()
        epochs = connection.execute("SELECT count(*), max(test_accuracy) FROM curves").fetchone()
    assert row == [("lq(q=0.5)", run["test_accuracy"], "completed")]
    assert epochs[0] == 3 and epochs[1] >= run["test_accuracy"]


def test_a_completed_run_is_shown_not_trained_again(database: Path) -> None:
    first = as_json("train", *SHORT)
    again = noisybench("train", *SHORT)
    assert "already" in again.stderr and first["run"] in again.stdout
    assert as_json("train", "--loss", "cce", *SHORT) == first, "the default loss is the same run"
    forced = as_json("train", "--force", *SHORT)
    assert forced["run"] == f"{first['run']}-2"
    assert {**forced, "run": 0, "seconds": 0} == {**first, "run": 0, "seconds": 0}


def test_labels_in_a_file_are_those_drawn_directly(tmp_path: Path, database: Path) -> None:
    file = tmp_path / "labels.npz"
    drawn = as_json("corrupt", "--rate", 0.3, "--seed", 5, "--out", file)
    from_file = as_json("train", "--labels", file, "--rate", "0.30", *SHORT)
    (row,) = Store.open(database).runs()
    assert (row["seed"], row["rate"], row["labels"]) == (5, 0.3, "")
    assert row["labels_sha256"] == drawn["sha256"]
    direct = as_json("train", "--rate", 0.3, "--seed", 5, *SHORT)
    assert direct == from_file, "it is the same run"


def test_a_file_of_labels_serves_other_seeds(tmp_path: Path, database: Path) -> None:
    file = tmp_path / "labels.npz"
    drawn = as_json("corrupt", "--seed", 5, "--out", file)
    as_json("train", "--labels", file, "--seed", 6, *SHORT)
    (row,) = Store.open(database).runs()
    assert row["seed"] == 6 and row["labels"] and row["labels_sha256"] == drawn["sha256"]


def test_labels_of_ones_own_are_trained_on(tmp_path: Path, database: Path) -> None:
    """Labels that no seed draws: another run, and one that its transition matrix tells apart."""
    file = tmp_path / "labels.npz"
    succeed("corrupt", "--out", file)
    manifest = Manifest.read(file)
    runs = []
    for changes in (
        {},
        {"noisy": (manifest.noisy + 1) % 10},
        {"transition": np.full((10, 10), 0.1)},
    ):
        file.write_bytes(replace(manifest, **changes).encode())
        runs.append(as_json("train", "--labels", file, "--loss", "forward-t", *SHORT))
    assert len({run["run"] for run in runs}) == 3


def test_a_file_of_labels_that_contradicts_an_option_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "labels.npz"
    succeed("corrupt", "--rate", 0.3, "--out", file)
    result = noisybench("train", "--labels", file, "--rate", 0.4, *SHORT)
    assert result.exit_code == 2 and "0.3" in result.stderr


def test_a_mask_is_for_the_labels_it_judged(tmp_path: Path, database: Path) -> None:
    mask = tmp_path / "mask.npz"
    run = as_json("train", "--loss", "lq", "--seed", 1, "--epochs", 8, "--quiet")
    pruned = as_json("prune", run["run"], "--k", 0.3, "--out", mask)
    kept = as_json("train", "--keep", mask, *SHORT[:2], "--quiet")
    assert kept["n_train"] == pruned["n_kept"], "without more it is the same seed, so the same split"
    result = noisybench("train", "--keep", mask, "--seed", 0, *SHORT)
    assert result.exit_code == 2 and run["run"] in result.stderr
    result = noisybench("train", "--keep", mask, "--rate", 0.1, *SHORT)
    assert result.exit_code == 2 and "0.4" in result.stderr


def test_prune_then_train_on_what_is_kept(trained: dict[str, Any], tmp_path: Path) -> None:
    mask = tmp_path / "mask.npz"
    pruned = as_json("prune", trained["run"], "--k", 0.4, "--out", mask)
    assert pruned["n_kept"] + pruned["n_dropped"] == trained["n_train"]
    assert pruned["precision"] > 0.8 and pruned["recall"] > 0.8, "on digits, lq tells wrong labels well"
    kept = as_json("train", "--keep", mask, *SHORT[:2], "--quiet")
    assert kept["n_train"] == kept["n_kept"] == pruned["n_kept"]
    assert noisybench("train", "--keep", mask, "--dataset", "cifar10").exit_code == 2


def test_evaluate_agrees_with_training_and_is_stored(trained: dict[str, Any], database: Path) -> None:
    measured = as_json("evaluate", trained["run"])
    assert measured["accuracy"] == trained["test_accuracy"]
    confusion = torch.tensor(measured["confusion"])
    assert confusion.sum() == measured["n"] == 500
    assert confusion.diag().sum() / 500 == pytest.approx(measured["accuracy"])
    per_class = (confusion.diag() / confusion.sum(dim=1)).tolist()
    assert measured["per_class"] == pytest.approx(per_class)
    as_json("evaluate", trained["run"], "--split", "train")
    stored = {row["split"]: row for row in Store.open(database).details("evaluations", trained["run"])}
    assert set(stored) == {"test", "train"} and stored["test"]["accuracy"] == measured["accuracy"]


def test_runs_list_show_delete(trained: dict[str, Any], database: Path) -> None:
    assert trained["run"] in succeed("runs", "list")
    assert [row["id"] for row in as_json("runs", "list")] == [trained["run"]]
    for conditions, found in (("loss=lq", 1), ("status=failed", 0), ("rate=0.4", 1)):
        assert len(as_json("runs", "list", "--where", conditions)) == found
    refused = noisybench("runs", "list", "--where", "status=failed")
    assert "(1 runs)" in refused.stdout and "Known values of status: completed" in refused.stderr
    assert noisybench("runs", "list", "--where", "colour=red").exit_code == 2
    shown = as_json("runs", "show", trained["run"][:4])
    assert len(shown["details"]["epochs"]) == 12
    text = succeed("runs", "show", trained["run"])
    assert "lq(q=0.7)" in text and "  12  loss" in text
    folder = Store.open(database).folder(trained["run"])
    assert folder.is_dir()
    assert noisybench("runs", "delete", trained["run"]).exit_code != 0, "without an answer it does nothing"
    succeed("runs", "delete", trained["run"], "--yes")
    assert as_json("runs", "list") == [] and not folder.exists()


def test_runs_list_shows_the_newest_first_and_no_more_than_asked(database: Path) -> None:
    for seed in range(3):
        succeed("train", *SHORT, "--seed", seed)
    assert [row["seed"] for row in as_json("runs", "list", "--limit", 2)] == [2, 1]
    assert [row["seed"] for row in as_json("runs", "list", "--where", "seed=0", "--where", "seed=2")] == [
        2,
        0,
    ]


def test_a_sweep_of_a_file_skips_what_is_there_and_prints_its_table(tmp_path: Path, database: Path) -> None:
    grid = tmp_path / "grid.yaml"
    grid.write_text(
        "about: a test\n"
        "set: {dataset: digits, train_size: 400, epochs: 2}\n"
        "grid:\n  - {noise: uniform, rate: [0.2, 0.4], loss: [cce, lq, mae], seed: [0, 1]}\n"
    )
    table = succeed("sweep", grid, "--where", "loss=lq", "--quiet")
    assert "lq(q=0.7)" in table and "cce" not in table and table.count("±") == 3
    before = {row["id"]: row["started"] for row in Store.open(database).runs()}
    assert len(before) == 4
    result = noisybench("sweep", grid)
    assert result.exit_code == 0 and "12 runs, 4 in the store already" in result.stderr
    after = {row["id"]: row["started"] for row in Store.open(database).runs()}
    assert len(after) == 12 and before.items() <= after.items()
    cells = json.loads(succeed("report", "--format", "json", "--where", "rate=0.2"))
    assert [(cell["loss"], cell["n"]) for cell in cells] == [("cce", 2), ("mae", 2), ("lq(q=0.7)", 2)]


def test_a_sweep_goes_on_after_a_run_that_fails_and_says_so(tmp_path: Path, database: Path) -> None:
    grid = tmp_path / "grid.yaml"
    grid.write_text(
        "set: {train_size: 400, epochs: 1}\ngrid:\n  - {lr: [1.0e+30, 0.1]}\n  - {loss: lq, lr: 0.1}\n"
    )
    result = noisybench("sweep", grid)
    assert result.exit_code == 1 and "1 of 3 runs failed" in result.stderr
    assert re.search(r"\[\d/3\] .* failed: The loss is no longer a finite number", result.stderr)
    assert sorted(row["status"] for row in Store.open(database).runs()) == [
        "completed",
        "completed",
        "failed",
    ]
    assert "failed" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (("--help",), ("numpy", "rich.console", "pandas", "sqlite_utils", "torch")),
        (("train", "--help"), ("numpy", "pandas", "sqlite_utils", "torch")),
        (("report",), ("torch", "sklearn")),
        (("runs", "list"), ("torch", "sklearn", "numpy", "pandas", "sqlite_utils")),
    ],
)
def test_answers_do_not_wait_for_what_they_do_not_need(
    trained: dict[str, Any], arguments: tuple[str, ...], heavy: tuple[str, ...]
) -> None:
    """How long they take is measured by `python -m benchmarks startup`."""
    code = f"""
import sys
from noisybench.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code
print([name for name in {heavy} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "[]\n", done.stderr


def test_list_has_every_loss_with_its_year_and_hyper_parameters() -> None:
    rows = {row["name"]: row for row in as_json("list", "losses", "--json")}
    assert rows["lq"]["year"] == 2018 and rows["lq"]["hyper_parameters"] == {"q": 0.7}
    assert rows["co-teaching"]["passes"] == 2 and rows["cce"]["year"] is None
    shown = noisybench("list", "losses").stdout
    assert all(name in shown for name in rows)
    assert {row["name"] for row in as_json("list", "models", "--json")} >= {"resnet34", "mlp"}


def test_the_store_that_the_environment_names_may_begin_with_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NOISYBENCH_DB", "~/runs.db")
    Store.open(tmp_path / "runs.db")
    assert as_json("runs", "list") == []
