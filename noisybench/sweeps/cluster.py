"""Several runs at once on a Ray cluster, brought back into the store here.

Each run is one task of Ray, which finds it a place and starts it again elsewhere if that is lost.  While it
is out, the run is claimed in the store by this process.  It is trained in a store of its own on the disk of
the node, and comes back as a whole, once.
"""

import hashlib
import os
import pickle
import socket
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import noisybench
from noisybench.config import Config, Epoch, Provenance, first_stage
from noisybench.datasets.shipping import Shipment
from noisybench.errors import InvalidValue, RunBusy, RunCompleted
from noisybench.store import Row, Store
from noisybench.store.attempts import Contradiction
from noisybench.store.merge import merge
from noisybench.store.parcel import Parcel
from noisybench.store.processes import began
from noisybench.sweeps import remote
from noisybench.sweeps.display import Display
from noisybench.sweeps.errand import Answer, Errand, Needs, data_of
from noisybench.sweeps.several import Several
from noisybench.sweeps.sweep import Job, forced

# How often Ray starts a run again whose worker or node was lost.
LOST = 5
# Seconds between two looks at what the runs have told; to say in a store that a run was interrupted; and
# to remove folders on the nodes.
PERIOD, GRACE, CLEANING = 0.25, 15, 15


@dataclass
class Out:
    """A job on the cluster, and the id of its claim in the store."""

    job: Job
    claim: str
    display: Display
    started: bool = False
    starts: int = 0


class Cluster(Several):
    """A sweep on the Ray cluster that this process is connected to.

    device: as its runs choose it on their nodes.  retries: how often a run that failed is tried again.
    contradictions: what came back, but cannot be right beside what the store has.
    """

    def __init__(
        self,
        store: Store,
        device: str,
        needs: Needs,
        display: Display,
        retries: int = 0,
        precision: str = "auto",
    ) -> None:
        super().__init__(store, display, retries)
        import ray

        self.ray = ray
        there = ray.cluster_resources().get("GPU", 0) > 0
        self.cpus, self.precision = needs.cpus, precision
        self.gpus = float(there and device != "cpu") if needs.gpus is None else needs.gpus
        # A run without a share of a GPU must not take one that others share.
        self.device = "cpu" if there and device == "auto" and not self.gpus else device
        self.out: dict[Any, Out] = {}
        self.data: dict[str, tuple[Shipment, Any]] = {}
        self.cleaned: list[Any] = []
        self.scattered: list[str] = []
        self.contradictions: list[Contradiction] = []
        # The nodes keep the runs of different stores apart.
        name = f"{socket.gethostname()}:{store.path.resolve()}"
        self.name = hashlib.sha256(name.encode()).hexdigest()[:12]

    def lacks(self) -> str:
        """In words, that no node is large enough for a run; empty if one is."""
        if self._places():
            return ""
        gpus = f" and {self.gpus:g} GPUs" if self.gpus else ""
        have = [
            f"{node['Resources'].get('CPU', 0):g} CPUs and {node['Resources'].get('GPU', 0):g} GPUs"
            for node in self._nodes()
        ]
        return f"A run is to have {self.cpus} CPUs{gpus}, but no node has: {'; '.join(sorted(set(have)))}."

    def sweep(self, jobs: Sequence[Job]) -> tuple[list[Row], int]:
        """Carry out the jobs; return the rows of the runs that failed, and how many were left out, as
        `sweep.sweep` does.  When it is interrupted, so are the runs, which keep their state where they are.
        Raises InvalidValue if a node cannot be used."""
        self.waiting = list(jobs)
        place = str(Path(noisybench.__file__).parents[1])
        self.task = self.ray.remote(remote.task(noisybench.__version__, place)).options(
            num_cpus=self.cpus, num_gpus=self.gpus, max_retries=LOST
        )
        self.cleaning = self.ray.remote(remote.cleaning(place))
        here = self._on(self.ray.get_runtime_context().get_node_id())
        box = self.ray.remote(remote.mailbox())
        self.mailbox = box.options(
            num_cpus=0, max_restarts=-1, max_task_retries=-1, scheduling_strategy=here
        ).remote()
        try:
            while self.waiting or self.out:
                self._start()
                self._attend()
        finally:
            self._stop()
        return self.failed, self.left

    def _start(self) -> None:
        """Hand out jobs: as many as the cluster can carry out, and as many again, so that nobody waits for
        this process, and a cluster that can grow sees that it should."""
        most = 2 * max(1, self._places()) if self.waiting else 0
        while len(self.out) < most:
            job = self._next([one.job for one in self.out.values()])
            if job is None:
                return
            self._launch(job)

    def _launch(self, job: Job) -> None:
        config = job.config
        display = self._begun(job)
        shipments = [self._ship(name) for name in data_of(config)]
        try:
            claim = self.store.begin(config, _claim(), again=forced(job, self.store))
        except RunBusy:
            self._leave(job, display)
            return
        except RunCompleted:
            display.end()  # by another process meanwhile
            return
        data = tuple(shipment for shipment, _ in shipments)
        errand = Errand(job, self.name, self._stage(config), data, self.device, self.precision, self.cpus)
        files = [reference for _, reference in shipments]
        task = self.task.remote(config.identity, pickle.dumps(errand), files, self.mailbox)
        self.out[task] = Out(job, claim, display)

    def _stage(self, config: Config) -> Parcel | None:
        """The first stage of a run, without its network: what the run needs is its estimate."""
        stage = first_stage(config)
        estimate = None if stage is None else self.store.estimate(stage.identity)
        return None if estimate is None else Parcel.of(self.store, estimate.run, files=False)

    def _ship(self, name: str) -> tuple[Shipment, Any]:
        """A data set, and where each node can fetch its files once: they are put there once."""
        if name not in self.data:
            shipment = Shipment.of(name)
            self.data[name] = shipment, self.ray.put(shipment.files())
        return self.data[name]

    def _attend(self) -> None:
        """Pass on what the runs have told, and take in those that have ended."""
        if not self.out:
            return
        ended, _ = self.ray.wait(list(self.out), num_returns=len(self.out), timeout=0)
        if not ended:
            ended, _ = self.ray.wait(list(self.out), num_returns=1, timeout=PERIOD)
        self._hear()
        for task in ended:
            self._ended(task, self.out[task])
            del self.out[task]

    def _ended(self, task: Any, one: Out) -> None:
        try:
            node, answer = self.ray.get(task)
        except self.ray.exceptions.RayTaskError as error:
            self._lose(one, f"{error.cause or error}")
        except self.ray.exceptions.RayError as error:
            first = str(error).strip().partition("\n")[0]
            self._lose(one, f"its worker was lost, and so were {LOST} after it: {first}")
        else:
            if isinstance(answer, str):
                raise InvalidValue(answer)
            self._take(one, answer, node)

    def _hear(self) -> None:
        """Pass on what the runs have told since."""
        by_identity = {one.job.config.identity: one for one in self.out.values()}
        for identity, letter in self.ray.get(self.mailbox.empty.remote()):
            one = by_identity.get(identity)
            if one is None:
                continue
            method, argument = pickle.loads(letter)
            if method == "start":
                if one.started:
                    one.display.end("its worker was lost; Ray has started it again")
                one.starts += 1
            one.started = method != "end"
            getattr(one.display, method)(argument)

    def _take(self, one: Out, answer: Answer, node: str) -> None:
        """Bring back a run that has ended, in the place of its claim."""
        identity = one.job.config.identity
        if answer.busy:
            self._unclaim(one, "interrupted", "another process is training it")
            self._leave(one.job, one.display)
            return
        if answer.parcel is not None:
            host = answer.parcel.rows["runs"][0]["host"]
            with tempfile.TemporaryDirectory(prefix="noisybench-") as folder:
                path = answer.parcel.unpack(Path(folder, f"{host}.db"))
                self.contradictions += merge([path], self.store.path, claims=[one.claim]).contradictions
        if answer.failure:
            self._lose(one, answer.failure)
        elif answer.parcel is not None and not one.starts:
            # It had completed there before, for a process that was killed before it came back.
            one.display.start(one.job.config)
            last = answer.parcel.rows["epochs"][-1]
            one.display.show(Epoch(**{name: last[name] for name in last if name != "run"}))
            one.display.end()
        if not answer.failure or self.tries[identity] > self.retries:
            self._clean(node, [identity])
            if one.starts > 1 or self.tries[identity] > 1:
                self.scattered.append(identity)

    def _lose(self, one: Out, reason: str) -> None:
        """Mark a run as failed, unless what was brought back says so."""
        self._unclaim(one, "failed", reason)
        if not one.starts:
            one.display.start(one.job.config)
        if one.started or not one.starts:
            one.display.end(f"failed: {reason}")
        self._fail(one.job, self.store.attempts(one.job.config.identity)[0])

    def _unclaim(self, one: Out, status: str, reason: str) -> None:
        """Say of the claim how it ended, unless a run has come in its place."""
        rows = self.store.attempts(one.job.config.identity)
        if any(row["id"] == one.claim and row["status"] == "running" for row in rows):
            self.store.end(one.claim, status, reason)

    def _clean(self, node: str, identities: list[str]) -> None:
        """Have a node remove what it keeps of runs that are here now."""
        there = self.cleaning.options(num_cpus=0, max_retries=0, scheduling_strategy=self._on(node))
        self.cleaned.append(there.remote(self.name, identities))

    def _stop(self) -> None:
        """End what is still out, softly first."""
        for task, one in self.out.items():
            with suppress(self.ray.exceptions.RayError):
                self.ray.cancel(task)
            self._unclaim(one, "interrupted", "the sweep was interrupted")
        if self.out:
            self.ray.wait(list(self.out), num_returns=len(self.out), timeout=GRACE)
        if self.scattered:
            # What was begun on one node and completed on another has left its state on the first.
            for node in self._nodes():
                self._clean(node["NodeID"], self.scattered)
        if self.cleaned:
            self.ray.wait(self.cleaned, num_returns=len(self.cleaned), timeout=CLEANING)

    def _places(self) -> int:
        """How many runs the cluster can carry out at once, were it empty."""
        places = 0
        for node in self._nodes():
            has = node["Resources"]
            here = int(has.get("CPU", 0) // self.cpus)
            if self.gpus:
                # A fraction of a GPU is of one GPU.
                per = int(1 / self.gpus) if self.gpus < 1 else 1 / self.gpus
                here = min(here, int(int(has.get("GPU", 0)) * per))
            places += here
        return places

    def _nodes(self) -> list[dict[str, Any]]:
        return [node for node in self.ray.nodes() if node["Alive"]]

    def _on(self, node: str) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return NodeAffinitySchedulingStrategy(node_id=node, soft=False)


def _claim() -> Provenance:
    """What the store says of a run while it is on the cluster: that this process answers for it."""
    return Provenance(
        device="Ray",
        precision="",
        noisybench=noisybench.__version__,
        torch="",
        commit=None,
        labels_sha256="",
        host=socket.gethostname(),
        pid=os.getpid(),
        began=began(os.getpid()),
    )
