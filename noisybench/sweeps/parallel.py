"""Several runs at once on one machine, each in a process of its own.

A run that crashes or is killed takes nothing else down.  Processes are forked from one that has imported
torch and done nothing with it, so that each starts in a moment and with a state of its own.
"""

import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path

from noisybench.config import Config
from noisybench.errors import StoreUnwritable
from noisybench.store import Row, Store
from noisybench.sweeps.at_once import threads_of
from noisybench.sweeps.display import Display
from noisybench.sweeps.estimate import in_words
from noisybench.sweeps.hung import Patience, Silence
from noisybench.sweeps.several import Several
from noisybench.sweeps.sweep import Job

WORKER = "noisybench.sweeps.worker"
BUSY = 3  # the exit code of a process whose run another one is training

# Seconds that a process has to say in the store that it was interrupted.
GRACE = 20
LAST_LINES = 5

# Seconds after which we look again whether a run says nothing any more, at the latest, and by which
# waiting may take longer than it should: what is beyond that we were asleep, and the runs with us.
LOOK, LATE = 60.0, 5.0


@dataclass
class Running:
    """A job in its process."""

    job: Job
    process: BaseProcess
    receiver: Connection
    display: Display
    output: Path
    device: str
    silence: Silence
    closed: bool = False
    ended: bool = False
    hung: str = ""

    def hear(self) -> None:
        """Pass on what the run has told since."""
        try:
            while self.receiver.poll():
                method, argument = self.receiver.recv()
                getattr(self.display, method)(argument)
                self.ended = method == "end"
                if method == "show":
                    self.silence.ends()
        except (EOFError, OSError):
            self.closed = True

    def kill_if_hung(self) -> None:
        """Kill the process if the run has told no epoch for too long.  It may not even take a signal."""
        if self.silence.left <= 0 and not self.hung:
            self.hung = f"no epoch ended for {in_words(self.silence.seconds)}: taken for hung and killed"
            self.process.kill()


class Parallel(Several):
    """A sweep with several jobs at a time.

    devices: where the runs are carried out, in turn.  threads: of each process on the CPU.  retries: how
    often a run that failed is tried again.  patience: with a run that says nothing.
    """

    def __init__(
        self,
        store: Store,
        devices: Sequence[str],
        n: int,
        display: Display,
        retries: int = 0,
        patience: Patience = Patience(),  # noqa: B008  (frozen)
        precision: str = "auto",
    ) -> None:
        super().__init__(store, display, retries)
        self.devices, self.n, self.patience, self.precision = devices, n, patience, precision
        self.threads = threads_of(n)
        self.context: SpawnContext | ForkServerContext
        if os.name == "nt":
            self.context = multiprocessing.get_context("spawn")
        else:
            self.context = multiprocessing.get_context("forkserver")
            # An optimiser imports the second, for 2 s in each process.  It may ask for GPUs, which a process
            # cannot use after a fork if they were asked for before.
            self.context.set_forkserver_preload(
                [WORKER, *(["torch._dynamo"] if set(devices) == {"cpu"} else [])]
            )
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
            job = self._next([one.job for one in self.running])
            if job is None:
                return
            self._launch(job, folder)

    def _launch(self, job: Job, folder: Path) -> None:
        identity = job.config.identity
        taken = Counter(one.device for one in self.running)
        device = min(self.devices, key=lambda name: taken[name])
        output = folder / f"{identity}-{self.tries[identity]}.txt"
        receiver, sender = self.context.Pipe(duplex=False)
        arguments = (job, self.store.path, device, self.precision, self.threads, output, sender)
        process = self.context.Process(target=_work, args=arguments, daemon=True)
        process.start()
        sender.close()
        silence = Silence(self.patience)
        self.running.append(Running(job, process, receiver, self._begun(job), output, device, silence))

    def _attend(self) -> None:
        """Wait until a run tells something or ends, or has said nothing for too long."""
        telling = [one.receiver for one in self.running if not one.closed]
        start = time.monotonic()
        limit = min([LOOK, *(max(0.1, one.silence.left) for one in self.running if not one.hung)])
        ready = wait([*telling, *(one.process.sentinel for one in self.running)], limit)
        passed = min(time.monotonic() - start, limit + LATE)
        for one in list(self.running):
            one.silence.lasts(passed)
            one.hear()
            if one.process.sentinel in ready:
                one.process.join()
                one.hear()
                one.receiver.close()
                self.running.remove(one)
                self._ended(one)
            else:
                one.kill_if_hung()

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
        reason = f"{one.hung or _how(one.process.exitcode)}{f'; it last said: {last}' if last else ''}"
        rows = self.store.attempts(config.identity)
        if not rows or rows[0]["status"] == "completed" or rows[0]["pid"] != one.process.pid:
            # It ended before its run began.
            one.display.start(config)
            one.display.end(f"failed: {reason}")
            return {"id": config.identity[:12], "loss": config.loss, "seed": config.seed, "reason": reason}
        if not one.ended:
            one.display.end(f"failed: {reason}")
        elif rows[0]["status"] != "running":
            return rows[0]
        # If another process has found it dead meanwhile, that knows less of how it came.
        with suppress(StoreUnwritable):  # the sweep can say it all the same
            self.store.end(rows[0]["id"], "failed", reason)
            return self.store.find(rows[0]["id"])
        return {**rows[0], "status": "failed", "reason": reason}

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
