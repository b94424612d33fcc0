"""Several runs at once on one machine, each in a process of its own.

A run that crashes or is killed takes nothing else down.  Processes are forked from one that has imported
torch and done nothing with it, so that each starts in a moment and with a state of its own.
"""

import multiprocessing
import os
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path

from noisybench.config import Config
from noisybench.store import Row, Store
from noisybench.sweeps.display import Display
from noisybench.sweeps.several import Several
from noisybench.sweeps.sweep import Job

WORKER = "noisybench.sweeps.worker"
FAILED, BUSY = 1, 3  # as in the worker, which imports torch

# Seconds that a process has to say in the store that it was interrupted.
GRACE = 20
LAST_LINES = 5


# Bytes of memory that a process is reckoned to take: torch, a data set, and the training of a large network.
SHARE = 4 * 2**30


def jobs_for(runs: int, devices: Sequence[str]) -> int:
    """How many of so many runs to carry out at once on these devices, where nobody says.

    On a CPU, one for each core, as far as memory goes: small networks are trained faster side by side than
    on several cores, one after the other.  Else one for each device.  runs: those of the whole experiment,
    whatever is left or asked for of it: a sweep that was stopped, a part of one and a shard have the same
    threads, and the same bits.
    """
    if devices != ["cpu"]:
        return max(1, min(runs, len(devices)))
    return max(1, min(runs, _cores(), _memory() // SHARE))


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory() -> int:
    """The bytes of memory that this machine has, or SHARE where it does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return SHARE


@dataclass
class Running:
    """A job in its process."""

    job: Job
    process: BaseProcess
    receiver: Connection
    display: Display
    output: Path
    device: str
    silent: bool = False

    def hear(self) -> None:
        """Pass on what the run has told since."""
        try:
            while self.receiver.poll():
                method, argument = self.receiver.recv()
                getattr(self.display, method)(argument)
        except (EOFError, OSError):
            self.silent = True


class Parallel(Several):
    """A sweep with several jobs at a time.

    devices: where the runs are carried out, in turn.  threads: of each process on the CPU.  retries: how
    often a run that failed is tried again.
    """

    def __init__(
        self, store: Store, devices: Sequence[str], n: int, display: Display, retries: int = 0
    ) -> None:
        super().__init__(store, display, retries)
        self.devices, self.n = devices, n
        self.threads = max(1, _cores() // n)
        self.context: SpawnContext | ForkServerContext
        if os.name == "nt":
            self.context = multiprocessing.get_context("spawn")
        else:
            self.context = multiprocessing.get_context("forkserver")
            self.context.set_forkserver_preload([WORKER])
            _start_server()
        self.running: list[Running] = []

    def sweep(self, jobs: Sequence[Job]) -> tuple[list[Row], int]:
        """Carry out the jobs; return the rows of the runs that failed, and how many were left out, as
        `sweep.sweep` does.  When it is interrupted, so are the runs, which keep their state."""
        self.waiting = list(jobs)
        with tempfile.TemporaryDirectory(prefix="noisybench-") as folder:
            try:
                while self.waiting or self.running:
                    self._start(Path(folder))
                    self._attend()
            finally:
                self._stop()
        return self.failed, self.left

    def _start(self, folder: Path) -> None:
        """Fill the free places with jobs that need not wait for another."""
        while len(self.running) < self.n:
            job = self._next(one.job for one in self.running)
            if job is None:
                return
            self._launch(job, folder)

    def _launch(self, job: Job, folder: Path) -> None:
        identity = job.config.identity
        taken = Counter(one.device for one in self.running)
        device = min(self.devices, key=lambda name: taken[name])
        output = folder / f"{identity}-{self.tries[identity]}.txt"
        receiver, sender = self.context.Pipe(duplex=False)
        arguments = (job, self.store.path, device, self.threads, output, sender)
        process = self.context.Process(target=_work, args=arguments, daemon=True)
        process.start()
        sender.close()
        self.running.append(Running(job, process, receiver, self._begun(job), output, device))

    def _attend(self) -> None:
        """Wait until a run tells something or ends."""
        telling = [one.receiver for one in self.running if not one.silent]
        ready = wait([*telling, *(one.process.sentinel for one in self.running)])
        for one in list(self.running):
            one.hear()
            if one.process.sentinel in ready:
                one.process.join()
                one.hear()
                one.receiver.close()
                self.running.remove(one)
                self._ended(one)

    def _ended(self, one: Running) -> None:
        code, config = one.process.exitcode, one.job.config
        if code == 0:
            return
        if code == BUSY:
            self._leave(one.job, one.display)
            return
        self._fail(one.job, self._row(config, one))

    def _row(self, config: Config, one: Running) -> Row:
        """The row of a run that failed; the reason is told there if the run itself no longer could."""
        lines = one.output.read_text(errors="replace").splitlines() if one.output.exists() else []
        last = " | ".join(line.strip() for line in lines[-LAST_LINES:] if line.strip())
        reason = f"{_how(one.process.exitcode)}{f'; it last said: {last}' if last else ''}"
        rows = self.store.attempts(config.identity)
        if not rows or rows[0]["status"] == "completed" or rows[0]["pid"] != one.process.pid:
            # It ended before its run began.
            one.display.start(config)
            one.display.end(f"failed: {reason}")
            return {"id": config.identity[:12], "loss": config.loss, "seed": config.seed, "reason": reason}
        if rows[0]["status"] == "running":
            self.store.end(rows[0]["id"], "failed", reason)
            one.display.end(f"failed: {reason}")
        return self.store.find(rows[0]["id"])

    def _stop(self) -> None:
        """End the processes that are left, softly first."""
        for one in self.running:
            one.process.terminate()
        for one in self.running:
            one.process.join(GRACE)
            if one.process.is_alive():
                one.process.kill()
                one.process.join()


def _start_server() -> None:
    """Start the process that the others are forked from, with the modules that this one has.

    It would look for them in the working directory first, where another copy of noisybench may lie.
    """
    ours = {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
    before = {name: os.environ.pop(name, None) for name in ours}
    os.environ |= ours
    try:
        forkserver.ensure_running()
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _work(*arguments: object) -> None:
    """The worker, imported where it runs: it imports torch."""
    from noisybench.sweeps.worker import work

    work(*arguments)  # type: ignore[arg-type]


def _how(code: int | None) -> str:
    """How a process ended, in words."""
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        memory = ", as a system does that is out of memory" if -code == signal.SIGKILL else ""
        return f"its process was killed by {name}{memory}"
    return f"its process ended with code {code}"
