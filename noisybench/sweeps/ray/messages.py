"""What is sent between the driver and the nodes of a Ray cluster: runs to train, data sets, and results."""

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noisybench.datasets.dataset import N_DIGITS
from noisybench.datasets.home import META, folder_of, prepared, read_meta, replacing_folder
from noisybench.errors import DataError
from noisybench.store.run_bundle import RunBundle
from noisybench.sweeps.run import Job

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Files = Mapping[str, NDArray[np.uint8]]


@dataclass(frozen=True)
class DatasetBundle:
    """A prepared data set without its content: its name in the registry, the fingerprint of its content, and
    the names of its files with their sizes in bytes."""

    name: str
    fingerprint: str
    sizes: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, name: str) -> "DatasetBundle":
        """The bundle of the data set prepared here as `name`.  Raises DataError if there is none."""
        found = prepared(name)
        files = sorted(found.folder.iterdir())
        sizes = tuple((file.name, file.stat().st_size) for file in files)
        return cls(found.name, found.fingerprint, sizes)

    def files(self) -> "dict[str, NDArray[Any]]":
        """The bytes of the files as arrays, which Ray sends without copying them."""
        import numpy as np

        folder = folder_of(self.name)
        return {name: np.fromfile(folder / name, dtype=np.uint8) for name, _ in self.sizes}

    def local_folder(self, cache: Path, fetch: "Callable[[], Files]") -> Path:
        """A folder of this machine that has the data set.

        This is the folder in its data home if the content is the same, else one in `cache`, which is filled
        with what `fetch` returns unless it is complete already.  Of several processes, one fetches and the
        others wait.  Raises DataError.
        """
        from filelock import FileLock

        if self._is_at_home():
            return folder_of(self.name)
        target = cache / f"{self.name}-{self.fingerprint[:N_DIGITS]}"
        try:
            cache.mkdir(parents=True, exist_ok=True)
            with FileLock(cache / f".{target.name}.lock"):
                if not self._is_complete(target):
                    # What cleans up temporary folders may have removed some of the files.
                    shutil.rmtree(target, ignore_errors=True)
                    with replacing_folder(target, replace=False) as folder:
                        for name, content in fetch().items():
                            content.tofile(folder / name)
        except OSError as error:
            raise DataError(f"{target} cannot be written: {error.strerror or error}.") from None
        return target

    def _is_at_home(self) -> bool:
        with suppress(DataError):
            found = read_meta(self.name)
            return found is not None and found.fingerprint == self.fingerprint
        return False

    def _is_complete(self, folder: Path) -> bool:
        files = [folder / META, *(folder / name for name, _ in self.sizes)]
        return all(file.is_file() for file in files) and all(
            (folder / name).stat().st_size == size for name, size in self.sizes
        )


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
