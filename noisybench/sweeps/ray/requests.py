"""What a node of a Ray cluster is asked to do, and what it answers."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from noisybench.store.run_bundle import RunBundle
from noisybench.sweeps.ray.datasets import DatasetBundle
from noisybench.sweeps.sweep import Job


@dataclass(frozen=True)
class Resources:
    """What a run reserves on a node.  gpus: None means 1 if the cluster has GPUs, unless the
    device is cpu."""

    cpus: int = 1
    gpus: float | None = None


@dataclass(frozen=True)
class RunRequest:
    """A run to train.

    sweep: names the store that the run is for; each store has its own folder on a node.  stage: the completed
    first stage of the run, if it needs one.  threads: of torch on the CPU.
    """

    job: Job
    sweep: str
    stage: RunBundle | None
    data: tuple[DatasetBundle, ...]
    device: str
    threads: int


@dataclass(frozen=True)
class RunResponse:
    """How a run ended.  bundle: the run's rows and files, if it has a row; failure: why it failed; busy:
    another process on that node trains it."""

    bundle: RunBundle | None = None
    failure: str = ""
    busy: bool = False


def scratch() -> Path:
    """The folder for data and unfinished runs on this machine's own disk: $NOISYBENCH_SCRATCH, or a folder
    among its temporary files."""
    named = os.environ.get("NOISYBENCH_SCRATCH")
    user = os.getuid() if hasattr(os, "getuid") else ""
    return Path(named).expanduser() if named else Path(tempfile.gettempdir(), f"noisybench-{user}")


def run_folder(sweep: str, identity: str) -> Path:
    """Where a node keeps a run until the sweep has its result."""
    return scratch() / "runs" / sweep / identity
