"""DatasetBundle: a prepared data set on its way to another machine, written once there."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noisybench.datasets.dataset import N_DIGITS
from noisybench.datasets.home import META, folder_of, metadata_of, read_meta, replacing_folder
from noisybench.errors import DataError

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
        prepared = metadata_of(name)
        files = sorted(folder_of(prepared.name).iterdir())
        sizes = tuple((file.name, file.stat().st_size) for file in files)
        return cls(prepared.name, prepared.fingerprint, sizes)

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
        try:
            prepared = read_meta(self.name)
        except DataError:
            return False
        return prepared is not None and prepared.fingerprint == self.fingerprint

    def _is_complete(self, folder: Path) -> bool:
        files = [folder / META, *(folder / name for name, _ in self.sizes)]
        return all(file.is_file() for file in files) and all(
            (folder / name).stat().st_size == size for name, size in self.sizes
        )
