"""The process that trains one run of a sweep.  Importing this module imports all that a run needs."""

import os
import signal
import sys
from multiprocessing.connection import Connection
from pathlib import Path

import sklearn.neighbors  # noqa: F401  (wang2018 would import it in every process)
import torch

from noisybench.errors import NoisybenchError, RunBusy
from noisybench.store import Store
from noisybench.sweeps.observer import RunObserver
from noisybench.sweeps.run import Job, run
from noisybench.sweeps.signals import Stopped, stop_on_signals
from noisybench.sweeps.sweep import BUSY
from noisybench.training.device import choose_device

FAILED = 1  # exit code


class PipeObserver(RunObserver):
    """Sends the events of a run to the process that started it."""

    def __init__(self, sender: Connection) -> None:
        self.sender = sender

    def on(self, event: str, argument: object) -> None:
        try:
            self.sender.send((event, argument))
        except OSError:
            # The sweep is gone: the run ends as interrupted and can be continued.
            sys.exit(128 + signal.SIGHUP)


def work(job: Job, store: Path, device: str, threads: int, output: Path, sender: Connection) -> None:
    """Train the run of a job.  What the process prints goes to the file `output`.

    Exits with FAILED, or with BUSY if another process trains the run.
    """
    try:
        stop_on_signals()
        file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream in (1, 2):
            os.dup2(file, stream)
        torch.set_num_threads(threads)
        run(job, Store.open(store), choose_device(device), PipeObserver(sender))
    except RunBusy:
        sys.exit(BUSY)
    except NoisybenchError as error:
        print(error, file=sys.stderr)
        sys.exit(FAILED)
    except Stopped as stop:
        sys.exit(stop.exit_code)
