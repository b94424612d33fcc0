"""Where `noisybench sweep` trains its runs: on this machine, or on a Ray cluster."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from noisybench.cli.console import warn
from noisybench.errors import InvalidValue

if TYPE_CHECKING:
    from noisybench.store import Row, Store
    from noisybench.sweeps.ray.requests import Resources
    from noisybench.sweeps.sweep import Job
    from noisybench.sweeps.watchdog import StallTimeout

# The rows of the failed runs, and the number of skipped runs.
Outcome = tuple[list["Row"], int]


@dataclass(frozen=True)
class Local:
    """This machine.  n_jobs: how many runs train at the same time, each in a process of its own."""

    device: str
    n_jobs: int
    retries: int
    timeout: "StallTimeout"

    def execute(self, jobs: Sequence["Job"], store: "Store", quiet: bool) -> Outcome:
        """Train the jobs and show their progress."""
        from noisybench.cli.progress import progress
        from noisybench.sweeps.parallel import Parallel
        from noisybench.training.device import several

        with progress(len(jobs), quiet) as observer:
            devices = several(self.device)
            parallel = Parallel(store, devices, self.n_jobs, observer, self.retries, self.timeout)
            return parallel.sweep(jobs)


@dataclass(frozen=True)
class OnRay:
    """A Ray cluster.  address: of its head; None for the one that Ray's settings name, or a new one here."""

    device: str
    address: str | None
    resources: "Resources"
    retries: int

    def execute(self, jobs: Sequence["Job"], store: "Store", quiet: bool) -> Outcome:
        """Train the jobs and show their progress."""
        from noisybench.cli.progress import progress
        from noisybench.sweeps.ray.cluster import Cluster
        from noisybench.sweeps.ray.connection import connected

        with connected(self.address) as started_here, progress(len(jobs), quiet) as observer:
            cluster = Cluster(store, self.device, self.resources, observer, self.retries)
            if missing := cluster.missing():
                if started_here:
                    raise InvalidValue(missing)
                warn(f"{missing} The runs wait for a larger node.")
            failed, skipped = cluster.sweep(jobs)
        for found in cluster.contradictions:
            warn(f"{found.config}: {found.first} and {found.second} contradict each other: {found.differs}.")
        return failed, skipped
