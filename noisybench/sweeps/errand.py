"""What a node of a cluster is asked for, and what it answers."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from noisybench.config import Config
from noisybench.datasets.shipping import Shipment
from noisybench.registry import NOISES
from noisybench.store.parcel import Parcel
from noisybench.sweeps.sweep import Job


@dataclass(frozen=True)
class Needs:
    """What a run takes of a node.  gpus: None for one where the cluster has any, unless the device is the
    CPU."""

    cpus: int = 1
    gpus: float | None = None


@dataclass(frozen=True)
class Errand:
    """A run to carry out.

    sweep: names the store that the run is for, so that runs of others have folders of their own.  stage:
    the first stage of the run, if it has one that has completed.  threads: of torch on the CPU.
    """

    job: Job
    sweep: str
    stage: Parcel | None
    data: tuple[Shipment, ...]
    device: str
    precision: str
    threads: int


@dataclass(frozen=True)
class Answer:
    """How it ended.  parcel: the run, if it came so far as to have a row; failure: what it failed of;
    busy: another process is training it on that node."""

    parcel: Parcel | None = None
    failure: str = ""
    busy: bool = False


def data_of(config: Config) -> list[str]:
    """The data sets that a run needs."""
    noise = NOISES.bind(config.noise)
    return [config.dataset, *([noise.arguments["source"]] if noise.entry.metadata.open_set else [])]


def scratch() -> Path:
    """The folder for data and unfinished runs on this machine's own disk: $NOISYBENCH_SCRATCH, or one
    among its temporary files."""
    named = os.environ.get("NOISYBENCH_SCRATCH")
    user = os.getuid() if hasattr(os, "getuid") else ""
    return Path(named).expanduser() if named else Path(tempfile.gettempdir(), f"noisybench-{user}")


def folder_of(sweep: str, identity: str) -> Path:
    """Where this node keeps a run until it is brought back."""
    return scratch() / "runs" / sweep / identity
