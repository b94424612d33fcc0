"""JobQueue: the jobs of a sweep that trains several runs at the same time, on this machine or on Ray."""

from collections import Counter
from collections.abc import Sequence

from noisybench.config import first_stage
from noisybench.store import Row, Store
from noisybench.sweeps.observer import RunObserver
from noisybench.sweeps.sweep import Job

# The exit code of a worker process whose run another process trains.
BUSY = 3


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
