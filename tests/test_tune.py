"""The search for the setting of highest noisy-validation accuracy."""

import json
import shlex
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from commands import as_json, noisybench, succeed
from hypothesis import given
from hypothesis import strategies as st
from test_parallel import wait_for
from test_store import EPOCH, HERE, RESULT

from noisybench.config import Config
from noisybench.errors import InvalidValue, UnknownName
from noisybench.inputs import as_prepared
from noisybench.store import Store
from noisybench.sweeps.observer import RunObserver
from noisybench.sweeps.run import Job
from noisybench.sweeps.search import STOPPED, Search
from noisybench.sweeps.shards import Shard
from noisybench.sweeps.space import Space

SHORT = ("--epochs", 3, "--train-size", 300, "--quiet")
LQ = {"loss": "lq", "epochs": 6}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "runs.db")


def search(store: Store, space: Space, trials: int = 10, seeds: range = range(1), **others: Any) -> Search:
    return Search(
        space, trials, seeds, store=store, devices=["cpu"], n_jobs=1, observer=RunObserver(), **others
    )


def completed(store: Store, config: Config, accuracies: list[float]) -> str:
    """A run in the store of these noisy-validation accuracies by epoch."""
    run = store.begin(as_prepared(config), HERE)
    for number, value in enumerate(accuracies, 1):
        store.add(run, replace(EPOCH, epoch=number, val_accuracy=value))
    store.complete(run, replace(RESULT, val_accuracy=max(accuracies)))
    return run


@pytest.mark.parametrize(
    ("over", "words"),
    [
        (["qq=0..1"], "Did you mean 'q'"),
        (["q=0.3..1.5"], "from 0 to 1"),
        (["q=0.7..0.3"], "empty"),
        (["q=0.7..0.7"], "empty"),
        (["k=0.1..0.3"], "belongs to: loss trunc-lq"),
        (["lr=0..1:log"], "above 0"),
        (["q=0.3.."], "LOW..HIGH"),
        (["q"], "LOW..HIGH"),
        (["q="], "LOW..HIGH"),
        (["q=low..high"], "a number"),
        (["optimiser=sgd..adam"], "optimiser=A,B,C"),
        (["optimiser=sgd,adm"], "one of sgd"),
        (["milestones=1,2"], "one value"),
        (["rate=0.1..0.3"], "--rate"),
        (["source=cifar10,cifar100"], "--source"),
        (["loss=cce,lq"], "given twice"),
        (["q=0.1..0.3", "q=0.5,0.6"], "given twice"),
        ([], "--over"),
        (["optimiser=sgd,adam", "k=0.1..0.3"], "Setting: optimiser=sgd, k=0.1"),
    ],
)
def test_a_wrong_space_is_answered_in_words(over: list[str], words: str) -> None:
    with pytest.raises((InvalidValue, UnknownName), match=words):
        Space.read(LQ, over)


@given(data=st.data())
def test_a_setting_is_found_again_in_its_run(data: st.DataObject) -> None:
    over = [
        "q=0.3..1.0",
        "lr=0.0001..10:log",
        "batch-size=16..256:log",
        "optimiser=sgd,nesterov",
        "epochs=5,9",
    ]
    space = Space.read({"loss": "lq", "model": "mlp"}, over)
    setting = {
        axis.name: data.draw(st.sampled_from(axis.choices))
        if axis.choices
        else axis.rounded(data.draw(st.integers(axis.low, axis.high)))
        if isinstance(axis.low, int)
        else axis.rounded(data.draw(st.floats(axis.low, axis.high)))
        for axis in space.axes
    }
    seed = data.draw(st.integers(0, 9))
    config = space.config(setting, seed)
    assert space.setting(config) == setting and config.seed == seed
    assert config == as_prepared(Config.create(loss="lq", model="mlp", seed=seed, **setting))
    for other in ({"momentum": 0.5}, {"lr": 20.0}, {"loss": "cce"}, {"loss": "lq(q=0.1)"}):
        assert space.setting(replace(config, **other)) is None


def test_losses_are_values_too() -> None:
    space = Space.read({}, ["loss=cce, lq, trunc-lq(q=0.5, k=0.3)"])
    assert space.axes[0].choices == ("cce", "lq(q=0.7)", "trunc-lq(q=0.5, k=0.3)")


def test_the_trials_are_told_with_the_command_of_the_best(database: Path) -> None:
    store = Store.open(database)
    for q, value in ((0.2, 0.5), (0.4, 0.7), (0.6, 0.6)):
        completed(store, Config.create(**LQ, q=q, lr=0.1), [value])
    command = ("tune", "--loss", "lq", "--epochs", 6, "--lr", 0.1, "--over", "q=0..1.0", "--trials", 3, "-q")
    found = as_json(*command)
    assert [trial["setting"]["q"] for trial in found["trials"]] == [0.4, 0.6, 0.2]
    assert found["command"] == "noisybench train --loss lq --epochs 6 --lr 0.1 --q 0.4"
    shown = succeed(*command, "--figure", database.with_suffix(".svg"))
    assert "70.00" in shown and found["command"] in shown and database.with_suffix(".svg").stat().st_size
    assert noisybench(*command[:-2], "3", "--db", database.with_name("none") / "a.db").exit_code == 2


@pytest.mark.slow
def test_trials_are_ordinary_runs_and_the_same_command_goes_on(database: Path) -> None:
    succeed("train", "--loss", "lq", "--q", 0.5, *SHORT)
    command = ("tune", "--loss", "lq", "--over", "q=0.4,0.5,0.9", "--over", "lr=0.01,0.1", *SHORT)
    found = as_json(*command, "--trials", 3)
    assert len(found["trials"]) == len(Store.open(database).runs()) == 3
    settings = [trial["setting"] for trial in found["trials"]]
    assert {"q": 0.5, "lr": 0.01} in settings, "the run that there was"
    accuracies = [trial["val_accuracy"] for trial in found["trials"]]
    assert accuracies == sorted(accuracies, reverse=True)
    assert "already" in noisybench(*shlex.split(found["command"])[1:], "--quiet").stderr
    again = as_json(*command, "--trials", 3)
    assert again == found
    more = as_json(*command, "--trials", 50)
    assert len(more["trials"]) == 6, "all that there are"


def test_the_next_setting_follows_from_the_runs_in_the_store(store: Store) -> None:
    """Whoever made them, and in which process: a search that is continued asks for the same one."""
    space = Space.read(LQ, ["q=0.0..1.0"])
    for tenth in range(12):
        q = tenth / 12
        completed(store, Config.create(**LQ, q=round(q, 3)), [1 - (q - 0.25) ** 2])
    first, again = (search(store, space, 13).next_setting() for _ in range(2))
    assert first == again
    assert search(store, space, 12).next_setting() is None
    assert search(store, space, 13, shard=Shard(2, 3)).next_setting() != first


def test_the_search_comes_near_the_best(store: Store) -> None:
    space = Space.read(LQ, ["q=0.0..1.0", "lr=0.0001..1:log"])
    for _ in range(40):
        setting = search(store, space, 40).next_setting()
        assert setting is not None
        value = 1 - (float(setting["q"] or 0) - 0.25) ** 2
        completed(store, space.config(setting, 0), [value])
    trials = sorted(search(store, space).trials, key=lambda trial: trial.accuracy)
    assert abs(float(trials[-1].setting["q"] or 0) - 0.25) < 0.05
    shares = search(store, space).importances()
    assert list(shares) == ["q", "lr"] and sum(shares.values()) == pytest.approx(1)


def test_a_trial_needs_all_its_seeds(store: Store) -> None:
    space = Space.read(LQ, ["q=0.0..1.0"])
    for seed, value in ((0, 0.5), (1, 0.7)):
        completed(store, Config.create(**LQ, q=0.3, seed=seed), [value])
    completed(store, Config.create(**LQ, q=0.6), [0.9])
    whole, half = search(store, space, seeds=range(2)).trials
    assert whole.state == "completed" and whole.accuracy == pytest.approx(0.6)
    assert half.state == "open"


def test_only_a_run_worse_than_the_median_is_stopped(store: Store) -> None:
    space = Space.read(LQ, ["q=0.0..1.0"])
    for number in range(5):
        completed(store, Config.create(**LQ, q=number / 10), [0.1 * number + 0.01 * e for e in range(6)])
    searching = search(store, space)
    curves = {0.9: [0.9, 0.9, 0.3, 0.2], 0.8: [0.1], 0.7: [0.1, 0.1, 0.1], 0.6: [0.1, 0.25, 0.3]}
    for q, curve in curves.items():
        job = Job(as_prepared(Config.create(**LQ, q=q)))
        searching.offer(job, dict(enumerate(curve, 1)))
    stopped = {space.config({"q": q}, 0).identity: epoch for q, epoch in ((0.7, 3),)}
    assert searching.stopped == stopped, "not before a third of the epochs, and by the best epoch so far"


@pytest.mark.slow
def test_a_stopped_run_is_in_no_table_and_can_be_trained(database: Path) -> None:
    succeed("sweep", grid(database.parent), "--quiet")
    common = ("--loss", "lq", "--epochs", 30, "--train-size", 600, "--quiet")
    found = as_json("tune", *common, "--over", "lr=0.000001,0.05,0.06,0.07,0.08,0.1", "--trials", 6)
    (worst,) = [trial for trial in found["trials"] if trial["state"] == "stopped"]
    assert worst["setting"] == {"lr": 1e-6} and worst["val_accuracy"] is None
    store = Store.open(database)
    row = store.find(worst["runs"][0])
    assert row["status"] == "interrupted" and row["reason"].startswith(STOPPED)
    assert 10 <= len(store.details("epochs", row["id"])) < 30
    table = json.loads(succeed("report", "--format", "json"))
    assert next(cell for cell in table if cell["lr"] == 1e-6)["n"] == 0
    assert as_json("train", *common, "--lr", 1e-6)["run"] == row["id"]
    assert Store.open(database).find(row["id"])["status"] == "completed"


def grid(folder: Path) -> Path:
    path = folder / "grid.yaml"
    path.write_text(
        "set: {epochs: 30, train_size: 600, loss: lq}\ngrid: [{lr: [0.05, 0.06, 0.07, 0.08, 0.1]}]"
    )
    return path


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_search_that_was_killed_goes_on(tmp_path: Path, number: signal.Signals) -> None:
    """To the very trials of an undisturbed one, where one run is trained at a time."""
    code = "from noisybench.cli import main; main()"
    options = ["--loss", "lq", "--over", "q=0.3..1.0", "--epochs", "12", "--train-size", "300", "--jobs", "1"]

    def command(db: Path) -> list[str]:
        arguments = [*options, "--trials", "3", "--json", "--quiet", "--db", str(db)]
        return [sys.executable, "-c", code, "tune", *arguments]

    disturbed, alone = tmp_path / "disturbed.db", tmp_path / "alone.db"
    process = subprocess.Popen(command(disturbed), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: disturbed.exists() and len(Store.read(disturbed).runs()) >= 2, 300)
        process.send_signal(number)
    finally:
        _, said = process.communicate(timeout=300)
    assert number == signal.SIGKILL or "To go on, give the same command again: noisybench tune" in said
    rows = Store.open(disturbed).runs()
    assert len(rows) < 3 or any(row["status"] != "completed" for row in rows), "it came too late"
    found = [
        json.loads(subprocess.run(command(db), capture_output=True, text=True, check=True).stdout)
        for db in (disturbed, alone)
    ]
    assert found[0] == found[1] and len(found[0]["trials"]) == 3


@pytest.mark.slow
def test_parts_of_a_search_are_one_after_their_merge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NOISYBENCH_DB")
    command = ("tune", "--loss", "lq", "--over", "q=0.3..1.0", "--trials", 3, *SHORT, "--jobs", 2)
    for part in ("1/2", "2/2"):
        succeed(*command, "--shard", part)
    stores = sorted(tmp_path.glob("*-of-2.db"))
    succeed("runs", "merge", *stores, "--into", "noisybench.db")
    assert len(as_json(*command)["trials"]) == 3 == len(Store.open(Path("noisybench.db")).runs())


def test_a_figure_is_drawn_of_every_kind_of_axis() -> None:
    from noisybench.reporting.plotting import draw_search

    values = {"q": [0.3, 0.5], "lr": [0.001, 0.1], "loss": ["cce", "lq(q=0.7)"], "batch_size": [16, 32]}
    for importances in ({}, {"q": 0.7, "lr": 0.2, "loss": 0.1, "batch_size": 0.0}):
        drawn = [draw_search(importances, values, [50.0, 60.0], ["lr"], ".svg") for _ in range(2)]
        assert drawn[0] == drawn[1] and all(name.encode() in drawn[0] for name in values)
    assert noisybench("tune", "--over", "lr=0.1,0.2", "--figure", "a.txt").exit_code == 2


@pytest.mark.slow
def test_choosing_by_noisy_validation_costs_little(database: Path) -> None:
    """Against a choice by the test set, of which a user knows nothing: at most 3 points, with 2 seeds."""
    succeed(
        "tune",
        "--loss",
        "trunc-lq",
        "--over",
        "q=0.3..1.0",
        "--over",
        "k=0..0.7",
        "--trials",
        10,
        "--seeds",
        2,
        "-q",
    )
    audit = {
        row["rule"]: row for row in json.loads(succeed("report", "--audit", "settings", "--format", "json"))
    }
    assert audit["test"]["settings"] >= 5 and audit["test"]["n"] == 2
    assert 0 <= audit["test"]["leak"] <= 3
