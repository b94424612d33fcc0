"""Where `noisybench sweep` trains its runs: on this machine, or on a Ray cluster."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from noisybench.cli.console import warn
from noisybench.cli.progress import progress
from noisybench.errors import InvalidValue

if TYPE_CHECKING:
    from noisybench.store import Row, Store
    from noisybench.sweeps.ray.requests import Resources
    from noisybench.sweeps.sweep import Job
    from noisybench.sweeps.watchdog import StallTimeout

# The rows of the failed runs, and the number of skipped runs.
Outcome = tuple[list["Row"], int]


def train_here(
    jobs: Sequence["Job"],
    store: "Store",
    devices: Sequence[str],
    n_jobs: int,
    retries: int,
    timeout: "StallTimeout",
    quiet: bool,
) -> Outcome:
    """Train the jobs on this machine, `n_jobs` at the same time, and show their progress."""
    from noisybench.sweeps.parallel import Parallel

    with progress(len(jobs), quiet) as observer:
        return Parallel(store, devices, n_jobs, observer, retries, timeout).sweep(jobs)


def train_on_ray(
    jobs: Sequence["Job"],
    open_store: Callable[[], "Store"],
    device: str,
    address: str | None,
    resources: "Resources",
    retries: int,
    quiet: bool,
) -> Outcome:
    """Train the jobs on a Ray cluster, and show their progress.

    open_store: called once the cluster answers.  address: see `connected`.
    """
    from noisybench.sweeps.ray.cluster import Cluster, Nodes
    from noisybench.sweeps.ray.connection import connected

    with connected(address) as started_here, progress(len(jobs), quiet) as observer:
        nodes = Nodes(device, resources)
        if missing := nodes.missing():
            if started_here:
                raise InvalidValue(missing)
            warn(f"{missing} The runs wait for a larger node.")
        cluster = Cluster(open_store(), nodes, observer, retries)
        failed, skipped = cluster.sweep(jobs)
    for found in cluster.contradictions:
        warn(f"{found.config}: {found.first} and {found.second} contradict each other: {found.differs}.")
    return failed, skipped
