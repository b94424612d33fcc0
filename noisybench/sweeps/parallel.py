"""A sweep on one machine that trains several runs at the same time, each in a process of its own.

A run that crashes or is killed does not affect the others.  The processes are forked from a server that has
imported torch but not used it, so that each starts in a moment and with a state of its own.
"""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path

from noisybench.config import Config
from noisybench.errors import StoreUnwritable
from noisybench.files import temporary_folder
from noisybench.store import Row, Store
from noisybench.sweeps.estimate import in_words
from noisybench.sweeps.observer import RunObserver
from noisybench.sweeps.resources import next_device, threads_per_job
from noisybench.sweeps.run import Job
from noisybench.sweeps.signals import blocked
from noisybench.sweeps.sweep import BUSY, JobQueue
from noisybench.sweeps.watchdog import StallTimer

WORKER = "noisybench.sweeps.worker"

# Seconds that a process has to store that it was interrupted.
GRACE = 20
LAST_LINES = 5

# The longest wait for an event, in seconds.  A wait that takes SLEPT seconds longer than it should means
# that the machine was asleep, and the runs with it.
LONGEST_WAIT, SLEPT = 60.0, 5.0


@dataclass
class Worker:
    """A job in its process."""

    job: Job
    process: BaseProcess
    receiver: Connection
    observer: RunObserver
    output: Path
    device: str
    timer: StallTimer
    trains: bool = False
    closed: bool = False
    ended: bool = False
    hung: str = ""

    def receive(self) -> None:
        """Pass the events that the run has sent on to the observer."""
        try:
            while self.receiver.poll():
                method, argument = self.receiver.recv()
                getattr(self.observer, method)(argument)
                self.ended = method == "end"
                if method == "show":
                    self.trains = True
                    self.timer.restart()
        except (EOFError, OSError):
            self.closed = True

    def kill_if_hung(self) -> None:
        """Kill the process if the run has ended no epoch for too long.  It may not even take a signal."""
        if self.timer.left <= 0 and not self.hung:
            self.hung = f"no epoch ended for {in_words(self.timer.seconds)}, so the run was killed as hung"
            self.process.kill()


class Parallel(JobQueue):
    """A sweep that trains `n_jobs` runs at the same time.

    devices: the runs are spread over them.  threads: of each process on the CPU.  retries: how often a failed
    run is tried again.  timeout: seconds without an epoch after which a run counts as hung; None for the
    default.  measures: whether a GPU gets a further run only when those on it are measured to leave room.
    """

    def __init__(
        self,
        store: Store,
        devices: Sequence[str],
        n_jobs: int,
        observer: RunObserver,
        retries: int = 0,
        timeout: float | None = None,
        measures: bool = False,
    ) -> None:
        super().__init__(store, observer, retries)
        self.devices, self.n_jobs, self.timeout, self.measures = devices, n_jobs, timeout, measures
        self.threads = threads_per_job(n_jobs)
        self.context = context()
        self.workers: list[Worker] = []

    def sweep(self, jobs: Sequence[Job]) -> tuple[list[Row], int]:
        """Train the jobs; return the rows of the failed runs and the number of skipped ones.

        An interrupted sweep interrupts its runs, which keep their state.
        """
        self.waiting = list(jobs)
        with temporary_folder() as folder:
            try:
                self._wait_for_server()
                while self.waiting or self.workers:
                    self._fill(Path(folder))
                    self._attend()
            finally:
                self._stop()
        return self.failed, self.skipped

    def _wait_for_server(self) -> None:
        """Return once the fork server has imported what a run needs.  Unlike the start of a run, this may be
        interrupted: the process that is asked for does nothing."""
        if self.waiting:
            start_importing()
            first = self.context.Process(target=_do_nothing)
            first.start()
            first.join()

    def _fill(self, folder: Path) -> None:
        """Start jobs until `n_jobs` are running or none can start."""
        while len(self.workers) < self.n_jobs:
            running = [(worker.device, worker.trains) for worker in self.workers]
            device = next_device(self.devices, running, self.measures)
            job = None if device is None else self._next([worker.job for worker in self.workers])
            if job is None or device is None:
                return
            self._launch(job, device, folder)

    def _launch(self, job: Job, device: str, folder: Path) -> None:
        identity = job.config.identity
        if self.tries[identity] > 1:
            # An error on a GPU may come from a captured step, or from compiled code.
            job = replace(job, gpu=replace(job.gpu, capture="off", compile="off"))
        output = folder / f"{identity}-{self.tries[identity]}.txt"
        receiver, sender = self.context.Pipe(duplex=False)
        arguments = (job, self.store.path, device, self.threads, output, sender)
        process = self.context.Process(target=_work, args=arguments, daemon=True)
        # `_stop` must know every process that starts.
        with blocked():
            process.start()
            sender.close()
            observer, timer = self._start_try(job), StallTimer(self.timeout)
            self.workers.append(Worker(job, process, receiver, observer, output, device, timer))

    def _attend(self) -> None:
        """Wait until a run reports something, ends, or counts as hung."""
        receivers = [worker.receiver for worker in self.workers if not worker.closed]
        start = time.monotonic()
        limits = [max(0.1, worker.timer.left) for worker in self.workers if not worker.hung]
        limit = min([LONGEST_WAIT, *limits])
        ready = wait([*receivers, *(worker.process.sentinel for worker in self.workers)], limit)
        passed = min(time.monotonic() - start, limit + SLEPT)
        for worker in list(self.workers):
            worker.timer.advance(passed)
            worker.receive()
            if worker.process.sentinel in ready:
                worker.process.join()
                worker.receive()
                worker.receiver.close()
                self.workers.remove(worker)
                self._ended(worker)
            else:
                worker.kill_if_hung()

    def _ended(self, worker: Worker) -> None:
        code = worker.process.exitcode
        if code == BUSY:
            self._skip(worker.job, worker.observer)
        elif code != 0:
            self._fail(worker.job, self._failed_row(worker.job.config, worker))

    def _failed_row(self, config: Config, worker: Worker) -> Row:
        """The row of a failed run.  Stores the reason if the run itself could not."""
        printed = worker.output.read_text(errors="replace").splitlines() if worker.output.exists() else []
        last = " | ".join(line.strip() for line in printed[-LAST_LINES:] if line.strip())
        how = worker.hung or _how_ended(worker.process.exitcode)
        reason = f"{how}{f'; its last output: {last}' if last else ''}"
        rows = self.store.attempts(config.identity)
        if not rows or rows[0]["status"] == "completed" or rows[0]["pid"] != worker.process.pid:
            # The process ended before its run began.
            worker.observer.start(config)
            worker.observer.end(f"failed: {reason}")
            return {"id": config.identity[:12], "loss": config.loss, "seed": config.seed, "reason": reason}
        if not worker.ended:
            worker.observer.end(f"failed: {reason}")
        elif rows[0]["status"] != "running":
            return rows[0]
        # Another process may have found the run dead meanwhile, but knows less about the cause.
        with suppress(StoreUnwritable):
            self.store.end(rows[0]["id"], "failed", reason)
            return self.store.find(rows[0]["id"])
        return {**rows[0], "status": "failed", "reason": reason}

    def _stop(self) -> None:
        """Terminate the remaining processes; kill those that do not end in time."""
        for worker in self.workers:
            worker.process.terminate()
        for worker in self.workers:
            worker.process.join(GRACE)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()


@cache
def context() -> SpawnContext | ForkServerContext:
    """How processes are started."""
    if os.name == "nt":
        return multiprocessing.get_context("spawn")
    made = multiprocessing.get_context("forkserver")
    # An optimiser imports torch._dynamo, which takes 2 s in each process.  Importing it asks for no GPU:
    # after a fork, a process cannot use those that were asked for before.
    made.set_forkserver_preload([WORKER, "torch._dynamo"])
    return made


def start_importing() -> None:
    """Start the fork server, which imports what runs need while this process goes on.

    It has the module path of this process.  Otherwise it would look in the working directory first, where
    another copy of noisybench may lie.  It never stops by a signal, but ends with this process: it reports
    how the others end.
    """
    if context().get_start_method() != "forkserver":
        return
    ours = {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
    before = {name: os.environ.pop(name, None) for name in ours}
    os.environ |= ours
    # Its start would unblock signals.
    resource_tracker.ensure_running()
    try:
        with blocked():
            forkserver.ensure_running()
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _do_nothing() -> None:
    """A process of `_wait_for_server`."""


def _work(*arguments: object) -> None:
    """The worker, imported in its own process only, because it imports torch."""
    from noisybench.sweeps.worker import work

    work(*arguments)  # type: ignore[arg-type]


def _how_ended(code: int | None) -> str:
    """How a process ended, in words."""
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        memory = ", perhaps because memory ran out" if -code == signal.SIGKILL else ""
        return f"its process was killed by {name}{memory}"
    return f"its process ended with code {code}"
