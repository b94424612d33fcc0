"""Where `noisybench sweep` has its runs carried out: here, or on a Ray cluster."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from noisybench.cli.console import warn
from noisybench.errors import InvalidValue

if TYPE_CHECKING:
    from noisybench.store import Row, Store
    from noisybench.sweeps.errand import Needs
    from noisybench.sweeps.hung import Patience
    from noisybench.sweeps.sweep import Job

# The rows of the runs that failed, and how many were left out.
Outcome = tuple[list["Row"], int]


@dataclass(frozen=True)
class Here:
    """This machine.  at_once: how many runs, each in a process of its own."""

    device: str
    precision: str
    at_once: int
    retries: int
    patience: "Patience"

    def carry_out(self, jobs: Sequence["Job"], store: "Store", quiet: bool) -> Outcome:
        """Train with a progress display."""
        from noisybench.cli.progress import progress
        from noisybench.sweeps.parallel import Parallel
        from noisybench.training.device import several

        with progress(len(jobs), quiet) as display:
            devices = several(self.device)
            parallel = Parallel(
                store, devices, self.at_once, display, self.retries, self.patience, self.precision
            )
            return parallel.sweep(jobs)


@dataclass(frozen=True)
class OnRay:
    """A Ray cluster.  address: of its head; None for the one that Ray's own settings name, or one here."""

    device: str
    precision: str
    address: str | None
    needs: "Needs"
    retries: int

    def carry_out(self, jobs: Sequence["Job"], store: "Store", quiet: bool) -> Outcome:
        """Train with a progress display."""
        from noisybench.cli.progress import progress
        from noisybench.sweeps.cluster import Cluster
        from noisybench.sweeps.connection import connected

        with connected(self.address) as cluster_is_ours, progress(len(jobs), quiet) as display:
            cluster = Cluster(store, self.device, self.needs, display, self.retries, self.precision)
            if lack := cluster.lacks():
                if cluster_is_ours:
                    raise InvalidValue(lack)
                warn(f"{lack} The runs wait for one that has.")
            failed, left = cluster.sweep(jobs)
        for one in cluster.contradictions:
            warn(f"{one.config}: {one.first} and {one.second} contradict each other: {one.differs}.")
        return failed, left
