"""Signals that ask a process to stop.  Its runs end as interrupted and keep the state to go on from."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# Ctrl-C; `kill`, and Slurm at its time limit; a terminal that closes; Slurm's warning (--signal=USR1@120).
STOPPING = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name)
]


class Stopped(KeyboardInterrupt):
    """A signal asked this process to stop."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.exit_code = 128 + number


# The signal that stopped this process; empty before.
received: list[Stopped] = []


def stop_on_signals() -> None:
    """Raise Stopped in the main thread at the first of STOPPING, and let them through if they are blocked.

    A signal that this process was told to ignore, as SIGHUP by nohup, stays ignored.
    """
    for number in STOPPING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)


def _stop(number: int, frame: FrameType | None) -> None:
    # A further signal must not keep a run from storing how it ended: a terminal and a sweep both send one.
    for other in STOPPING:
        signal.signal(other, signal.SIG_IGN)
    # A second Ctrl-C does not wait.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    received.append(Stopped(number))
    raise received[0]


@contextmanager
def blocked() -> Iterator[None]:
    """In this context, block STOPPING here and in processes that are started; those keep them blocked."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
