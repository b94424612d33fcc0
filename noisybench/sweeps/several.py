"""What sweeps with several runs at a time have in common, wherever the runs are carried out."""

from collections import Counter
from collections.abc import Sequence

from noisybench.config import first_stage
from noisybench.store import Row, Store
from noisybench.sweeps.display import Display
from noisybench.sweeps.sweep import Job


class Several:
    """The jobs of a sweep that wait, and what became of the others.

    retries: how often a run that failed is tried again.  failed, left: what `sweep.sweep` returns.  busy:
    the identities of runs that another process is training.
    """

    def __init__(self, store: Store, display: Display, retries: int = 0) -> None:
        self.store, self.display, self.retries = store, display, retries
        self.waiting: list[Job] = []
        self.tries: Counter[str] = Counter()
        self.displays: dict[str, Display] = {}
        self.failed: list[Row] = []
        self.left = 0
        self.busy: set[str] = set()

    def _next(self, running: Sequence[Job]) -> Job | None:
        """Take the first job that need not wait for the first stage of its run; None if there is none."""
        for job in list(self.waiting):
            stage = first_stage(job.config)
            if stage is not None and self.store.estimate(stage.identity) is None:
                if stage.identity in self.busy:
                    self.waiting.remove(job)
                    self.left += 1
                unfinished = {one.config.identity for one in [*self.waiting, *running]}
                if stage.identity in self.busy | unfinished:
                    continue
            self.waiting.remove(job)
            return job
        return None

    def _begun(self, job: Job) -> Display:
        """Count a try of a job, and return its display, which is the same at each."""
        identity = job.config.identity
        self.tries[identity] += 1
        if identity not in self.displays:
            self.displays[identity] = self.display.job()
        return self.displays[identity]

    def _leave(self, job: Job, display: Display) -> None:
        """Leave a run to the process that is training it."""
        self.busy.add(job.config.identity)
        self.left += 1
        display.end()

    def _fail(self, job: Job, row: Row) -> None:
        """Try a run that failed again, or count it as failed."""
        if self.tries[job.config.identity] <= self.retries:
            self.waiting.insert(0, job)
        else:
            self.failed.append(row)
