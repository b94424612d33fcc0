"""One run on a node of a Ray cluster: trained in a store of its own there, and sent back.

Importing this module imports all that a run needs.
"""

import os
import pickle
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sklearn.neighbors  # noqa: F401  (wang2018 would import it during its run)
import torch

from noisybench.config import Config
from noisybench.errors import NoisybenchError, RunBusy
from noisybench.store import Store
from noisybench.store.merge import merge
from noisybench.store.run_bundle import RunBundle
from noisybench.sweeps.observer import RunObserver
from noisybench.sweeps.ray.messages import RunRequest, RunResponse, run_folder, scratch
from noisybench.sweeps.run import run
from noisybench.training.device import choose_device

# Seconds to wait for a process that still trains the run, such as that of a sweep that was just killed.
BUSY_TIMEOUT = 60

Post = Callable[[bytes, bool], None]


class RayObserver(RunObserver):
    """Posts the events of a run.  The end of the run must arrive before the response does."""

    def __init__(self, post: Post) -> None:
        self.post = post

    def on(self, event: str, argument: object) -> None:
        self.post(pickle.dumps((event, argument)), event == "end")


def work(content: bytes, fetch: Callable[[int], Mapping[str, Any]], post: Post) -> RunResponse:
    """Train the run of a pickled `RunRequest`.

    fetch: returns the files of the request's n-th data set.  A run that was killed on this node is
    continued; one that completed here, but was not sent back, is sent back.
    """
    request: RunRequest = pickle.loads(content)
    identity = request.job.config.identity
    folder = run_folder(request.sweep, identity)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        datasets = {
            bundle.name: bundle.local_folder(scratch() / "data", lambda n=n: fetch(n))  # type: ignore[misc]
            for n, bundle in enumerate(request.data)
        }
        torch.set_num_threads(request.threads)
        # The data home below ends with the run; compiled code is kept.
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(scratch() / "compiled"))
        with _data_home(folder / "home", datasets):
            return _train(request, folder, RayObserver(post))
    except NoisybenchError as error:
        return RunResponse(failure=str(error))
    except OSError as error:
        return RunResponse(failure=f"{folder} cannot be used: {error.strerror or error}")


def _train(request: RunRequest, folder: Path, observer: RunObserver) -> RunResponse:
    """Train the run in the folder's store."""
    path, job = folder / "runs.db", request.job
    store = Store.open(path)
    try:
        if request.stage is not None:
            with tempfile.TemporaryDirectory(dir=folder) as temporary:
                merge([request.stage.unpack(Path(temporary))], path)
        deadline = time.monotonic() + BUSY_TIMEOUT
        while True:
            try:
                row = run(job, store, choose_device(request.device), observer)
                return RunResponse(RunBundle.of(store, row["id"]))
            except RunBusy:
                if time.monotonic() > deadline:
                    return RunResponse(busy=True)
                time.sleep(1)
    except NoisybenchError as error:
        return _failed(store, job.config, str(error))
    except Exception as error:  # of any kind: the store records it, and other runs go on
        return _failed(store, job.config, f"{type(error).__name__}: {error}")
    finally:
        store.conn.close()


def _failed(store: Store, config: Config, failure: str) -> RunResponse:
    newest = store.attempts(config.identity)[:1]
    # A run that failed before it began has no row, or the row of an earlier attempt.
    rows = [row for row in newest if row["status"] == "failed"]
    return RunResponse(RunBundle.of(store, rows[0]["id"]) if rows else None, failure)


@contextmanager
def _data_home(home: Path, datasets: Mapping[str, Path]) -> Iterator[None]:
    """Use a data home of links to these folders, by name of the data set."""
    (home / "datasets").mkdir(parents=True, exist_ok=True)
    for name, folder in datasets.items():
        link = home / "datasets" / name
        link.unlink(missing_ok=True)
        link.symlink_to(folder.absolute(), target_is_directory=True)
    before = os.environ.get("NOISYBENCH_HOME")
    os.environ["NOISYBENCH_HOME"] = str(home)
    try:
        yield
    finally:
        os.environ.pop("NOISYBENCH_HOME")
        if before is not None:
            os.environ["NOISYBENCH_HOME"] = before
