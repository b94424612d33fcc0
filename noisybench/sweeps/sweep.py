"""A sweep: which runs of an experiment are to be trained, and the queue of them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from noisybench.config import Config, first_stage
from noisybench.errors import DataError, InvalidValue
from noisybench.inputs import Files, as_prepared
from noisybench.reporting.selection import select
from noisybench.store import Row, Store
from noisybench.sweeps.observer import RunObserver
from noisybench.sweeps.run import Job

# The exit code of a worker process whose run another process trains.
BUSY = 3


def planned(configs: Iterable[Config]) -> tuple[list[Config], list[str]]:
    """The configs with the data sets as they are prepared here, and why some data sets cannot be used: their
    configs stay as they are."""
    found, problems = [], []
    for config in configs:
        try:
            found.append(as_prepared(config))
        except DataError as error:
            found.append(config)
            problems.append(str(error))
    return found, list(dict.fromkeys(problems))


def with_seeds(configs: Iterable[Config], n: int) -> list[Config]:
    """The configs at the seeds 0 to n - 1, in place of those that they have."""
    unseeded = dict.fromkeys(replace(config, seed=0) for config in configs)
    return [replace(config, seed=seed) for seed in range(n) for config in unseeded]


def matching(configs: Sequence[Config], where: Sequence[str]) -> list[Config]:
    """The configs that meet the conditions, as `report` reads them.  Raises InputError if none does."""
    import pandas as pd

    table = pd.DataFrame([config.row() for config in configs])
    selected, unmatched = select(table, where)
    if selected.empty:
        raise InvalidValue(" ".join(unmatched) or f"No run meets all of {', '.join(where)}.")
    return [configs[number] for number in selected.index]


def plan(
    configs: Iterable[Config],
    store: Store,
    force: bool = False,
    files: Files = Files(),  # noqa: B008  (frozen)
) -> list[Job]:
    """The runs of `configs` that the store does not have (all with `force`), each after the first stage
    that it needs: if the store has no estimate of its transition matrix, that run is a job as well.
    files: those that configs name by hash."""
    jobs: dict[str, Job] = {}
    for config in configs:
        if not force and store.completed(config.identity) is not None:
            continue
        stage, inputs = first_stage(config), files.of(config)
        if stage is not None and store.estimate(stage.identity) is None:
            first = jobs.get(stage.identity, Job(stage, inputs=inputs))
            jobs[stage.identity] = replace(first, for_estimate=True)
        planned = jobs.get(config.identity, Job(config, inputs=inputs))
        jobs[config.identity] = replace(planned, again=force)
    return list(jobs.values())


class JobQueue:
    """The waiting jobs of a sweep, and the outcome of the others.

    retries: how often a failed run is tried again.  failed: the rows of failed runs.  skipped: the number of
    runs left out because another process trains them or their first stage.  busy: the identities of runs
    that another process trains.
    """

    def __init__(self, store: Store, observer: RunObserver, retries: int = 0) -> None:
        self.store, self.observer, self.retries = store, observer, retries
        self.waiting: list[Job] = []
        self.tries: Counter[str] = Counter()
        self.observers: dict[str, RunObserver] = {}
        self.failed: list[Row] = []
        self.skipped = 0
        self.busy: set[str] = set()

    def _next(self, running: Sequence[Job]) -> Job | None:
        """Take the first job that need not wait for its first stage; None if there is none."""
        for job in list(self.waiting):
            stage = first_stage(job.config)
            if stage is not None and self.store.estimate(stage.identity) is None:
                if stage.identity in self.busy:
                    self.waiting.remove(job)
                    self.skipped += 1
                unfinished = {other.config.identity for other in [*self.waiting, *running]}
                if stage.identity in self.busy | unfinished:
                    continue
            self.waiting.remove(job)
            return job
        return None

    def _start_try(self, job: Job) -> RunObserver:
        """Count a try of the job and return its observer, the same one at each try."""
        identity = job.config.identity
        self.tries[identity] += 1
        if identity not in self.observers:
            self.observers[identity] = self.observer.job()
        return self.observers[identity]

    def _skip(self, job: Job, observer: RunObserver) -> None:
        """Leave the run to the process that trains it."""
        self.busy.add(job.config.identity)
        self.skipped += 1
        observer.end()

    def _fail(self, job: Job, row: Row) -> None:
        """Queue a failed run again, or count it as failed when its tries are used up."""
        if self.tries[job.config.identity] <= self.retries:
            self.waiting.insert(0, job)
        else:
            self.failed.append(row)
