"""Writing the state that a killed run goes on from, and giving a run a process of its own."""

import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.timing import Row, alternate, compare
from noisybench.config import Config
from noisybench.inputs import Inputs
from noisybench.store import Store
from noisybench.sweeps.observer import RunObserver
from noisybench.sweeps.parallel import Parallel
from noisybench.sweeps.run import Job, run, run_data
from noisybench.sweeps.sweep import plan
from noisybench.training.loop import Training
from noisybench.training.resume import Resume

# The 2 % that training.resume allows are of the whole time; it writes as seldom as that takes.
NETWORKS = ("mlp(hidden=256)", "resnet8", "resnet34")
SHORT = {"epochs": 1, "train_size": 200}
REPEATS = 3


def measure() -> list[Row]:
    # As each of several runs at once has.
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        return [*(writing(model, Path(name)) for model in NETWORKS), isolation(Path(name))]


def writing(model: str, folder: Path) -> Row:
    """One writing of the state of a network that has taken a step, with its optimiser's."""
    config = Config.create(model=model, **SHORT)
    data = run_data(config, Inputs())
    training = Training(config, data.dataset, data.split, data.corruption.transition, torch.device("cpu"))
    for _ in training.run():
        pass
    resume = Resume(folder / model, config.identity, training.precision, always=True)
    seconds = alternate({"write": lambda: resume.offer(training, 1)}, 2 * REPEATS)["write"]
    size = resume.path.stat().st_size
    return Row(f"writing the state of {model}", seconds, kind="seconds", unit="MB", count=size / 1e6)


def isolation(folder: Path) -> Row:
    """The shortest of runs, in a process of its own and in this one."""
    stores = {name: Store.open(folder / f"{name}.db") for name in ("apart", "here")}
    seeds = {name: iter(range(10**6)) for name in stores}
    cpu = torch.device("cpu")
    parallel = Parallel(stores["apart"], ["cpu"], 1, RunObserver())

    def jobs(name: str) -> list[Job]:
        config = replace(Config.create(**SHORT), seed=next(seeds[name]))
        return plan([config], stores[name])

    return compare(
        "a run of one short epoch in a process of its own (--jobs 1)",
        lambda: parallel.sweep(jobs("apart")),
        "the same in the process of the sweep",
        lambda: [run(job, stores["here"], cpu, RunObserver()) for job in jobs("here")],
        REPEATS,
        kind="cost",
    )
