"""What storing and showing an epoch costs beside the training of it, in a run of the demo."""

import os
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console

from benchmarks.timing import Goal, Row, alternate
from noisybench.cli.live import Bars, Live
from noisybench.results import Epoch
from noisybench.store import Store
from noisybench.sweeps.grid import load
from noisybench.sweeps.observer import RunObserver
from noisybench.sweeps.run import Job, run

GOAL = 0.005
REPEATS = 21


def measure() -> list[Row]:
    # As each of several runs at once has.
    torch.set_num_threads(1)
    config = next(each for each in load("demo").configs if each.loss == "lq(q=0.7)")
    with (
        tempfile.TemporaryDirectory() as folder,
        open(os.devnull, "w") as nowhere,
        Bars(Console(file=nowhere, force_terminal=True)) as bars,
    ):
        store = Store.open(Path(folder) / "runs.db")
        row = run(Job(config), store, torch.device("cpu"), RunObserver())
        epochs = [Epoch(**e) for e in store._events("epochs", row["id"])]
        display = Live(bars, 2)
        display.start(config)
        numbers = iter(range(1000, 10**6))

        def log() -> None:
            event = replace(epochs[-1], epoch=next(numbers))
            store.add(row["id"], event)
            display.show(event)

        logged = alternate({"log": log}, REPEATS)["log"]
    trained = statistics.median(epoch.seconds for epoch in epochs)
    goal = Goal("cost", GOAL)
    beside = [trained] * len(logged)
    return [Row("storing and showing an epoch", logged, "an epoch of the demo", beside, goal, "cost")]
