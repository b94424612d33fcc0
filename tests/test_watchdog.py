"""A run that says nothing any more is killed; what goes on saying something is left alone."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
from commands import noisybench
from test_parallel import SMALL

from noisybench.config import Config
from noisybench.results import Epoch, Pruning
from noisybench.store import Store
from noisybench.sweeps.observer import RunObserver
from noisybench.sweeps.parallel import Parallel
from noisybench.sweeps.sweep import plan
from noisybench.sweeps.watchdog import FIRST_EPOCH, MINIMUM, SLOWEST_EPOCHS, StallTimer


def test_patience_is_measured_by_the_run_itself() -> None:
    timer = StallTimer()
    timer.advance(FIRST_EPOCH - 1)
    assert timer.left == 1
    timer.restart()
    assert timer.left == SLOWEST_EPOCHS * (FIRST_EPOCH - 1), "its first epoch took that long"
    quick = StallTimer()
    for seconds in (2.0, 3.0, 1.0):
        quick.advance(seconds)
        quick.restart()
    assert quick.slowest == 3 and quick.left == MINIMUM
    quick.advance(MINIMUM)
    assert quick.left == 0


def test_a_time_that_is_given_holds_from_the_beginning() -> None:
    timer = StallTimer(60)
    timer.advance(20)
    assert timer.left == 40
    timer.restart()
    assert timer.left == 60


class Stops(RunObserver):
    """Stops the process of a loss after its second epoch, so many times: it lives, and says nothing."""

    def __init__(self, store: Store, loss: str, times: int = 1) -> None:
        self.store, self.loss, self.times = store, loss, times
        self.resumed: list[int] = []

    def job(self) -> RunObserver:
        return self

    def resume(self, epochs: Sequence[Epoch]) -> None:
        self.resumed.append(len(epochs))

    def show(self, event: Epoch | Pruning) -> None:
        for row in self.store.runs():
            if not self.times or row["loss"] != self.loss or row["status"] != "running":
                continue
            if len(self.store.details("epochs", row["id"])) >= 2:
                os.kill(row["pid"], signal.SIGSTOP)
                self.times -= 1


@pytest.mark.slow
@pytest.mark.parametrize("retries", [0, 1])
def test_a_run_that_hangs_is_killed_while_another_goes_on(tmp_path: Path, retries: int) -> None:
    store = Store.open(tmp_path / "runs.db")
    configs = [Config.create(loss=loss, **{**SMALL, "epochs": 60}) for loss in ("lq", "cce", "mae")]
    observer = Stops(store, configs[0].loss)
    # Longer than a process takes to begin, on a machine that has other things to do.
    parallel = Parallel(store, ["cpu"], 2, observer, retries, timeout=20)
    parallel.threads = 1
    failed, left = parallel.sweep(plan(configs, store))
    assert left == 0 and parallel.workers == []
    status = {row["loss"]: row["status"] for row in store.runs()}
    if retries:
        assert failed == [] and set(status.values()) == {"completed"}
        assert len(observer.resumed) == 4 and max(observer.resumed) > 0, "it went on where it was"
        return
    assert status == {"lq(q=0.7)": "failed", "cce": "completed", "mae": "completed"}
    (row,) = failed
    assert row == store.find(row["id"])
    assert row["reason"].startswith("no epoch ended for 2") and "killed as hung" in row["reason"]
    with pytest.raises(ProcessLookupError):
        os.kill(row["pid"], 0)


def test_the_option_is_not_for_ray(database: Path) -> None:
    result = noisybench("sweep", "demo", "--stalled", 5, "--executor", "ray")
    assert result.exit_code == 2 and "--stalled cannot be combined with --executor ray" in result.stderr
    assert noisybench("sweep", "demo", "--stalled", 0, "--jobs", 1).exit_code == 2
