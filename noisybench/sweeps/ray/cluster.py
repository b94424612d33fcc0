"""A sweep on a Ray cluster, whose runs come back into the store of this machine.

Each run is one Ray task.  Ray finds a node for it, and starts it again elsewhere if the node is lost.
Meanwhile this process holds the run's claim in the store.  The run is trained in a store of its own on the
node's disk, and comes back whole, once.
"""

import hashlib
import pickle
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import noisybench
from noisybench.config import Config, first_stage
from noisybench.errors import InvalidValue, RunBusy, RunCompleted
from noisybench.files import temporary_folder
from noisybench.inputs import datasets_of
from noisybench.results import Epoch, Provenance
from noisybench.store import Row, Store
from noisybench.store.host import this_process
from noisybench.store.merge import Contradiction, merge
from noisybench.store.run_bundle import RunBundle
from noisybench.sweeps.observer import RunObserver
from noisybench.sweeps.ray import remote
from noisybench.sweeps.ray.connection import Nodes
from noisybench.sweeps.ray.messages import DatasetBundle, RunRequest, RunResponse
from noisybench.sweeps.run import Job, forced
from noisybench.sweeps.sweep import JobQueue

# How often Ray starts a run again whose worker or node was lost.
MAX_RETRIES = 5
# Seconds: between two looks at the messages of the runs; for runs to store that they were interrupted; for
# the nodes to remove folders.
POLL, GRACE, CLEANING = 0.25, 15, 15


@dataclass
class Submitted:
    """A job on the cluster, and the id of its claim in the store."""

    job: Job
    claim: str
    observer: RunObserver
    started: bool = False
    starts: int = 0


class Cluster(JobQueue):
    """A sweep on the nodes of a Ray cluster.

    retries: how often a failed run is tried again.  contradictions: runs that came back and contradict
    completed runs of the store.
    """

    def __init__(self, store: Store, nodes: Nodes, observer: RunObserver, retries: int = 0) -> None:
        super().__init__(store, observer, retries)
        self.ray, self.nodes = nodes.ray, nodes
        self.submitted: dict[Any, Submitted] = {}
        self.data: dict[str, tuple[DatasetBundle, Any]] = {}
        self.cleaning: list[Any] = []
        self.scattered: list[str] = []
        self.contradictions: list[Contradiction] = []
        # The nodes keep the runs of different stores apart.
        name = f"{socket.gethostname()}:{store.path.resolve()}"
        self.name = hashlib.sha256(name.encode()).hexdigest()[:12]

    def sweep(self, jobs: Sequence[Job]) -> tuple[list[Row], int]:
        """Train the jobs; return the rows of the failed runs and the number of skipped ones.

        An interrupted sweep interrupts its runs, which keep their state on their nodes.
        Raises InvalidValue if a node cannot be used.
        """
        self.waiting = list(jobs)
        place = str(Path(noisybench.__file__).parents[1])
        # Given here, and not to `options`, num_gpus makes Ray end a worker after each run: a process that
        # stayed would hold GPU memory, and a CUDA error would fail every later run in it.
        remote_run = self.ray.remote(
            num_cpus=self.nodes.cpus, num_gpus=self.nodes.gpus, max_retries=MAX_RETRIES
        )
        self.train = remote_run(remote.training_task(noisybench.__version__, place))
        self.clean = self.ray.remote(remote.cleaning_task(place))
        here = self.nodes.only(self.ray.get_runtime_context().get_node_id())
        actor = self.ray.remote(remote.mailbox())
        self.mailbox = actor.options(
            num_cpus=0, max_restarts=-1, max_task_retries=-1, scheduling_strategy=here
        ).remote()
        try:
            while self.waiting or self.submitted:
                self._fill()
                self._attend()
        finally:
            self._stop()
        return self.failed, self.skipped

    def _fill(self) -> None:
        """Submit jobs: as many as the cluster can train at the same time, and as many again, so that no node
        waits for this process, and a cluster that can grow sees that it should."""
        wanted = 2 * max(1, self.nodes.capacity()) if self.waiting else 0
        while len(self.submitted) < wanted:
            job = self._next([submitted.job for submitted in self.submitted.values()])
            if job is None:
                return
            self._submit(job)

    def _submit(self, job: Job) -> None:
        config = job.config
        observer = self._start_try(job)
        data = [self._bundle(name) for name in datasets_of(config)]
        try:
            claim = self.store.begin(config, _claim(), again=forced(job, self.store))
        except RunBusy:
            self._skip(job, observer)
            return
        except RunCompleted:
            observer.end()  # by another process meanwhile
            return
        request = RunRequest(
            job=job,
            sweep=self.name,
            stage=self._stage(config),
            data=tuple(bundle for bundle, _ in data),
            device=self.nodes.device,
            threads=self.nodes.cpus,
        )
        files = [reference for _, reference in data]
        task = self.train.remote(config.identity, pickle.dumps(request), files, self.mailbox)
        self.submitted[task] = Submitted(job, claim, observer)

    def _stage(self, config: Config) -> RunBundle | None:
        """The first stage of a run without its network: the run needs only its estimate."""
        stage = first_stage(config)
        estimate = None if stage is None else self.store.estimate(stage.identity)
        return None if estimate is None else RunBundle.of(self.store, estimate.run, files=False)

    def _bundle(self, name: str) -> tuple[DatasetBundle, Any]:
        """A data set and Ray's reference to its files, which are put into Ray's object store once."""
        if name not in self.data:
            bundle = DatasetBundle.of(name)
            self.data[name] = bundle, self.ray.put(bundle.files())
        return self.data[name]

    def _attend(self) -> None:
        """Pass on the messages of the runs, and take in the runs that have ended."""
        if not self.submitted:
            return
        n = len(self.submitted)
        ended, _ = self.ray.wait(list(self.submitted), num_returns=n, timeout=0)
        if not ended:
            ended, _ = self.ray.wait(list(self.submitted), num_returns=1, timeout=POLL)
        self._receive()
        for task in ended:
            self._ended(task, self.submitted[task])
            del self.submitted[task]

    def _ended(self, task: Any, submitted: Submitted) -> None:
        try:
            node, response = self.ray.get(task)
        except self.ray.exceptions.RayTaskError as error:
            self._lose(submitted, f"{error.cause or error}")
        except self.ray.exceptions.RayError as error:
            first = str(error).strip().partition("\n")[0]
            self._lose(submitted, f"its worker was lost, and so were {MAX_RETRIES} after it: {first}")
        else:
            if isinstance(response, str):
                raise InvalidValue(response)
            self._take(submitted, response, node)

    def _receive(self) -> None:
        """Pass the messages of the runs on to their observers."""
        by_identity = {submitted.job.config.identity: submitted for submitted in self.submitted.values()}
        for identity, message in self.ray.get(self.mailbox.empty.remote()):
            submitted = by_identity.get(identity)
            if submitted is None:
                continue
            method, argument = pickle.loads(message)
            if method == "start":
                if submitted.started:
                    submitted.observer.end("its worker was lost; Ray has started it again")
                submitted.starts += 1
            submitted.started = method != "end"
            getattr(submitted.observer, method)(argument)

    def _take(self, submitted: Submitted, response: RunResponse, node: str) -> None:
        """Put a run that has ended into the store, in place of its claim."""
        identity = submitted.job.config.identity
        if response.busy:
            self._unclaim(submitted, "interrupted", "another process is training it")
            self._skip(submitted.job, submitted.observer)
            return
        if response.bundle is not None:
            with temporary_folder() as folder:
                path = response.bundle.unpack(Path(folder))
                merged = merge([path], self.store.path, claims=[submitted.claim])
                self.contradictions += merged.contradictions
        if response.failure:
            self._lose(submitted, response.failure)
        elif response.bundle is not None and not submitted.starts:
            # The run had completed there before, for a sweep that was killed before it came back.
            submitted.observer.start(submitted.job.config)
            last = response.bundle.rows["epochs"][-1]
            submitted.observer.show(Epoch(**{name: last[name] for name in last if name != "run"}))
            submitted.observer.end()
        if not response.failure or self.tries[identity] > self.retries:
            self._clean(node, [identity])
            if submitted.starts > 1 or self.tries[identity] > 1:
                self.scattered.append(identity)

    def _lose(self, submitted: Submitted, reason: str) -> None:
        """Mark a run as failed, unless the row that came back says so already."""
        self._unclaim(submitted, "failed", reason)
        if not submitted.starts:
            submitted.observer.start(submitted.job.config)
        if submitted.started or not submitted.starts:
            submitted.observer.end(f"failed: {reason}")
        self._fail(submitted.job, self.store.attempts(submitted.job.config.identity)[0])

    def _unclaim(self, submitted: Submitted, status: str, reason: str) -> None:
        """Store how a claim ended, unless a run has taken its place."""
        rows = self.store.attempts(submitted.job.config.identity)
        if any(row["id"] == submitted.claim and row["status"] == "running" for row in rows):
            self.store.end(submitted.claim, status, reason)

    def _clean(self, node: str, identities: list[str]) -> None:
        """Remove the folders of these runs from a node."""
        on_node = self.clean.options(num_cpus=0, max_retries=0, scheduling_strategy=self.nodes.only(node))
        self.cleaning.append(on_node.remote(self.name, identities))

    def _stop(self) -> None:
        """Cancel the remaining runs and clean up on the nodes."""
        for task, submitted in self.submitted.items():
            with suppress(self.ray.exceptions.RayError):
                self.ray.cancel(task)
            self._unclaim(submitted, "interrupted", "the sweep was interrupted")
        if self.submitted:
            self.ray.wait(list(self.submitted), num_returns=len(self.submitted), timeout=GRACE)
        if self.scattered:
            # Runs that began on one node and completed on another have left their state on the first.
            for node in self.nodes.alive():
                self._clean(node["NodeID"], self.scattered)
        if self.cleaning:
            self.ray.wait(self.cleaning, num_returns=len(self.cleaning), timeout=CLEANING)


def _claim() -> Provenance:
    """The provenance of a run while it is on the cluster: this process is responsible for it."""
    return Provenance(
        device="Ray",
        computed_in="",
        noisybench=noisybench.__version__,
        torch="",
        commit=None,
        labels_sha256="",
        **this_process(),
    )
