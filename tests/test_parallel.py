"""Several runs at once, each in its own process: what one suffers, no other feels."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from test_resume import result
from test_store import EPOCH

from noisybench.config import Config
from noisybench.results import Epoch, Pruning
from noisybench.store import Store
from noisybench.sweeps.observer import RunObserver
from noisybench.sweeps.parallel import Parallel
from noisybench.sweeps.run import run
from noisybench.sweeps.sweep import plan

SMALL = {"train_size": 300, "epochs": 4, "lr": 0.1}
LONG = {"train_size": 1000, "epochs": 2000}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "runs.db")


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As each of several processes has."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def at_once(
    store: Store, configs: list[Config], n: int, observer: RunObserver | None = None, retries: int = 0
):  # type: ignore[no-untyped-def]
    parallel = Parallel(store, ["cpu"], n, observer or RunObserver(), retries)
    parallel.threads = 1
    return parallel.sweep(plan(configs, store))


@pytest.mark.slow
def test_runs_at_once_are_the_runs_one_after_the_other(
    store: Store, tmp_path: Path, one_thread: None
) -> None:
    losses = ("forward-that", "trunc-lq(q=0, k=0.12)", "mae")
    configs = [Config.create(loss=loss, seed=seed, **SMALL) for seed in (0, 1) for loss in losses]
    assert at_once(store, configs, n=3) == ([], 0)
    alone = Store.open(tmp_path / "alone.db")
    for job in plan(configs, alone):
        run(job, alone, torch.device("cpu"), RunObserver())
    assert len(store.runs()) == len(alone.runs()) == 8, "first stages are made, and once"
    for row in alone.runs():
        assert result(store, row["identity"]) == result(alone, row["identity"])
    assert len({row["pid"] for row in store.runs()}) == 8


class Kills(RunObserver):
    """Kills the process of a loss once it has told its second epoch, so many times."""

    def __init__(self, store: Store, loss: str, number: int, times: int = 1) -> None:
        self.store, self.loss, self.number, self.left = store, loss, number, times

    def job(self) -> RunObserver:
        return self

    def show(self, event: Epoch | Pruning) -> None:
        for row in self.store.runs():
            if self.left and row["loss"] == self.loss and row["status"] == "running" and event.epoch >= 2:
                os.kill(row["pid"], self.number)
                self.left -= 1


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_process_that_dies_takes_nothing_else_down(store: Store, number: signal.Signals) -> None:
    configs = [Config.create(loss=loss, **{**SMALL, "epochs": 60}) for loss in ("lq", "cce", "mae")]
    failed, left = at_once(store, configs, 2, Kills(store, "lq(q=0.7)", number))
    assert [row["loss"] for row in failed] == ["lq(q=0.7)"] and left == 0
    assert f"killed by {number.name}" in failed[0]["reason"] and failed[0]["status"] == "failed"
    status = {row["loss"]: row["status"] for row in store.runs()}
    assert status == {"lq(q=0.7)": "failed", "cce": "completed", "mae": "completed"}


@pytest.mark.slow
def test_a_run_that_is_tried_again_goes_on(store: Store, tmp_path: Path, one_thread: None) -> None:
    config = Config.create(loss="lq", **{**SMALL, "epochs": 60})
    assert at_once(store, [config], 1, Kills(store, config.loss, signal.SIGKILL, 2), retries=2) == ([], 0)
    alone = Store.open(tmp_path / "alone.db")
    for job in plan([config], alone):
        run(job, alone, torch.device("cpu"), RunObserver())
    assert result(store, config.identity) == result(alone, config.identity)


def test_what_a_failed_run_failed_of_is_told(store: Store) -> None:
    configs = [Config.create(loss=loss, **{**SMALL, "lr": 1e20}) for loss in ("cce", "forward-that")]
    failed, _ = at_once(store, configs, 2)
    reasons = {row["loss"]: row["reason"] for row in failed}
    assert "no longer a finite number" in reasons["cce"] and "has not completed" in reasons["forward-that"]


def test_each_event_of_a_run_reaches_the_process_of_the_sweep() -> None:
    from noisybench.sweeps.worker import PipeObserver

    receiver, sender = multiprocessing.Pipe(duplex=False)
    events: list[tuple[str, object]] = [
        ("start", Config.create()),
        ("resume", []),
        ("show", EPOCH),
        ("tell", "so"),
        ("end", "why"),
    ]
    for name, argument in events:
        getattr(PipeObserver(sender), name)(argument)
    assert [receiver.recv() for _ in events] == events


def command(store: Path, grid: Path, *options: str) -> subprocess.Popen[str]:
    code = "from noisybench.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, "sweep", str(grid), "--db", str(store), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(condition, seconds: float = 120) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not come about"
        time.sleep(0.1)


@pytest.mark.slow
def test_ctrl_c_stops_the_children_and_keeps_what_they_did(tmp_path: Path) -> None:
    grid, path = tmp_path / "grid.yaml", tmp_path / "runs.db"
    grid.write_text(f"set: {LONG}\ngrid: [{{loss: [cce, lq, mae]}}]")
    process = command(path, grid, "--jobs", "2")
    wait_for(lambda: path.exists() and len(Store.open(path).epochs()) > 10)
    pids = [row["pid"] for row in Store.open(path).runs()]
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to all of them
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130 and "To go on" in said
    rows = Store.open(path).runs()
    assert [row["status"] for row in rows] == ["interrupted"] * 2 and len(set(pids)) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert all((Store.open(path).folder(row["id"]) / "resume.pt").exists() for row in rows)


@pytest.mark.slow
def test_two_sweeps_of_one_grid_make_each_run_once(tmp_path: Path) -> None:
    grid, path = tmp_path / "grid.yaml", tmp_path / "runs.db"
    grid.write_text(f"set: {SMALL}\ngrid: [{{loss: [cce, forward-that, lq, mae], seed: [0, 1]}}]")
    both = [command(path, grid, "--jobs", "2", "--quiet") for _ in range(2)]
    for process in both:
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
    attempts = Counter(row["identity"] for row in Store.open(path).runs())
    assert len(attempts) == 8 and set(attempts.values()) == {1}
    left = command(path, grid, "--jobs", "2")
    assert left.communicate(timeout=300) and left.returncode == 0
    assert {row["status"] for row in Store.open(path).runs()} == {"completed"}
    assert threading.active_count() < 10
