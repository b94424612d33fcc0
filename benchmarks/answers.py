"""How long a user waits for an answer that needs no training: help, and a report of 1,000 runs."""

import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks.timing import Goal, Row, alternate
from noisybench.config import Config, Provenance, Result
from noisybench.store import Store

RUNS = 1000
REPEATS = 7
GOALS = {"noisybench --help": 0.3, f"noisybench report, {RUNS:,} runs": 1.5}


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs.db"
        fill(path, RUNS)

        def cli(*arguments: str) -> Callable[[], object]:
            return python("from noisybench.cli import main; main()", *arguments)

        seconds = alternate(
            {
                "python -c 'import typer'": python("import typer"),
                "noisybench --help": cli("--help"),
                "python -c 'import pandas'": python("import pandas"),
                f"noisybench report, {RUNS:,} runs": cli("report", "--db", str(path)),
            },
            REPEATS,
        )
    goals = {name: Goal("seconds", value) for name, value in GOALS.items()}
    return [Row(name, times, goal=goals.get(name), kind="seconds") for name, times in seconds.items()]


def python(code: str, *arguments: str) -> Callable[[], object]:
    command = [sys.executable, "-c", code, *arguments]
    return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def fill(path: Path, runs: int) -> None:
    """A store of completed runs in the shape of Table 1, with made-up accuracies."""
    store = Store.open(path)
    made_up = random.Random(0)
    provenance = Provenance("cpu", "fp32", "0", "0", None, "", "nowhere", 1)
    result = Result(
        best_epoch=1,
        val_accuracy=0.5,
        test_accuracy=0.5,
        last_test_accuracy=0.5,
        n_train=45_000,
        n_kept=45_000,
        seconds=1.0,
    )
    grid = [
        Config.create(dataset=dataset, loss=loss, rate=rate)
        for dataset in ("fashion-mnist", "cifar10", "cifar100")
        for loss in ("cce", "mae", "lq", "trunc-lq", "forward-t")
        for rate in (0.2, 0.4, 0.6, 0.8)
    ]
    for number in range(runs):
        config = replace(grid[number % len(grid)], seed=number // len(grid))
        run = store.begin(config, provenance)
        store.complete(run, replace(result, test_accuracy=made_up.random()))
