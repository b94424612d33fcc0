"""One run on a node of a cluster: with the data of that node, in a store of its own there, and back.

Importing this imports all that a run needs.
"""

import os
import pickle
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sklearn.neighbors  # noqa: F401  (wang2018 would import it during its run)
import torch

from noisybench.config import Config, Epoch, Pruning
from noisybench.errors import NoisybenchError, RunBusy
from noisybench.store import Store
from noisybench.store.merge import merge
from noisybench.store.parcel import Parcel
from noisybench.sweeps.display import Display
from noisybench.sweeps.errand import Answer, Errand, folder_of, scratch
from noisybench.sweeps.run import run
from noisybench.sweeps.sweep import forced
from noisybench.training.device import choose_device

# Seconds to wait for a process that is still training the run, as that of a sweep that was just killed.
PATIENCE = 60

Post = Callable[[bytes, bool], None]


class Posting(Display):
    """Sends what a run tells as the name of a method and its argument; the end of the run must arrive
    before the answer does."""

    def __init__(self, post: Post) -> None:
        self.post = post

    def start(self, config: Config) -> None:
        self.post(pickle.dumps(("start", config)), False)

    def resume(self, epochs: Sequence[Epoch]) -> None:
        self.post(pickle.dumps(("resume", epochs)), False)

    def show(self, event: Epoch | Pruning) -> None:
        self.post(pickle.dumps(("show", event)), False)

    def end(self, failure: str = "") -> None:
        self.post(pickle.dumps(("end", failure)), True)


def work(content: bytes, fetch: Callable[[int], Mapping[str, Any]], post: Post) -> Answer:
    """Carry out the pickled errand.

    fetch: returns the files of the n-th data set of the errand.  A run that was killed here goes on, and
    one that completed here, but was not brought back, is brought back.
    """
    errand: Errand = pickle.loads(content)
    identity = errand.job.config.identity
    folder = folder_of(errand.sweep, identity)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        places = [
            one.at_hand(scratch() / "data", lambda n=n: fetch(n))  # type: ignore[misc]
            for n, one in enumerate(errand.data)
        ]
        torch.set_num_threads(errand.threads)
        with _home(
            folder / "home", {one.name: place for one, place in zip(errand.data, places, strict=True)}
        ):
            return _carry_out(errand, folder, Posting(post))
    except NoisybenchError as error:
        return Answer(failure=str(error))
    except OSError as error:
        return Answer(failure=f"{folder} cannot be used: {error.strerror or error}")


def _carry_out(errand: Errand, folder: Path, display: Display) -> Answer:
    """The run in the folder's store."""
    path, job = folder / "runs.db", errand.job
    store = Store.open(path)
    try:
        if errand.stage is not None:
            with tempfile.TemporaryDirectory(dir=folder) as temporary:
                merge([errand.stage.unpack(Path(temporary, "stage.db"))], path)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                row = run(
                    job.config,
                    store,
                    choose_device(errand.device),
                    display,
                    force=forced(job, store),
                    precision=errand.precision,
                )
                return Answer(Parcel.of(store, row["id"]))
            except RunBusy:
                if time.monotonic() > deadline:
                    return Answer(busy=True)
                time.sleep(1)
    except NoisybenchError as error:
        return _failed(store, job.config, str(error))
    except Exception as error:  # of any kind: the run says so in the store, and other runs go on
        return _failed(store, job.config, f"{type(error).__name__}: {error}")
    finally:
        store.conn.close()


def _failed(store: Store, config: Config, failure: str) -> Answer:
    newest = store.attempts(config.identity)[:1]
    # A run that failed before it began has no row, or that of an earlier time.
    rows = [row for row in newest if row["status"] == "failed"]
    return Answer(Parcel.of(store, rows[0]["id"]) if rows else None, failure)


@contextmanager
def _home(folder: Path, places: Mapping[str, Path]) -> Iterator[None]:
    """A data home of links to these folders, while the run lasts."""
    (folder / "datasets").mkdir(parents=True, exist_ok=True)
    for name, place in places.items():
        link = folder / "datasets" / name
        link.unlink(missing_ok=True)
        link.symlink_to(place.absolute(), target_is_directory=True)
    before = os.environ.get("NOISYBENCH_HOME")
    os.environ["NOISYBENCH_HOME"] = str(folder)
    try:
        yield
    finally:
        os.environ.pop("NOISYBENCH_HOME")
        if before is not None:
            os.environ["NOISYBENCH_HOME"] = before
