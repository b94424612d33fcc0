"""Sweeps of small runs: how many a second with so many at once, against one after the other."""

import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from benchmarks.timing import Row, against
from noisybench import datasets
from noisybench.config import Config
from noisybench.errors import DataError
from noisybench.store import Store
from noisybench.sweeps.observer import RunObserver
from noisybench.sweeps.parallel import Parallel
from noisybench.sweeps.ray.cluster import Cluster
from noisybench.sweeps.ray.connection import Nodes, connected
from noisybench.sweeps.resources import cores, threads_per_job
from noisybench.sweeps.run import run
from noisybench.sweeps.sweep import plan

REPEATS = 2
# Of each, so many runs a sweep.
RUNS = 4
KINDS: Mapping[str, Mapping[str, Any]] = {
    "digits, mlp": {"dataset": "digits", "model": "mlp(hidden=256)", "epochs": 20},
    "cifar10, resnet8": {"dataset": "cifar10", "epochs": 1, "train_size": 1000, "model": "resnet8"},
}


def measure() -> list[Row]:
    with ExitStack() as stack:
        if has_ray := find_spec("ray") is not None:
            stack.enter_context(connected(None))
        return [
            row
            for kind, settings in KINDS.items()
            if is_prepared(settings["dataset"])
            for row in of(kind, settings, has_ray)
        ]


def is_prepared(dataset: str) -> bool:
    try:
        datasets.load(dataset)
    except DataError:
        return False
    return True


def of(kind: str, settings: Mapping[str, Any], has_ray: bool) -> list[Row]:
    """Real sweeps into new stores; on all cores together the alternative, one after the other."""
    numbers = [n for n in (2**power for power in range(10)) if n <= cores()]
    configs = [Config.create(**settings, seed=seed) for seed in range(RUNS)]

    def store(folder: str) -> Store:
        return Store.open(Path(folder) / "runs.db")

    def one_by_one() -> None:
        with tempfile.TemporaryDirectory() as folder:
            for job in plan(configs, store(folder)):
                run(job, store(folder), torch.device("cpu"), RunObserver())

    def at_once(n: int) -> Callable[[], None]:
        def act() -> None:
            with tempfile.TemporaryDirectory() as folder:
                Parallel(store(folder), ["cpu"], n, RunObserver()).sweep(plan(configs, store(folder)))

        return act

    def on_ray() -> None:
        with tempfile.TemporaryDirectory() as folder:
            Cluster(store(folder), Nodes("cpu"), RunObserver()).sweep(plan(configs, store(folder)))

    ways = {f"{kind}: {n} at once, {threads_per_job(n)} threads each": at_once(n) for n in numbers}
    if has_ray:
        ways[f"{kind}: a Ray of this machine, 1 thread each"] = on_ray
    return against(
        f"one after the other, {cores()} threads", one_by_one, ways, REPEATS, count=RUNS, unit="runs"
    )
