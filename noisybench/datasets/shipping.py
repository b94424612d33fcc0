"""Prepared data sets on other machines: the files that they are, written once on each."""

import fcntl
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noisybench.datasets.home import META, N_DIGITS, folder_of, metadata_of, read_meta, replacing_folder
from noisybench.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Files = Mapping[str, NDArray[np.uint8]]


@dataclass(frozen=True)
class Shipment:
    """What is known of a data set before its files arrive: its name in the registry, the fingerprint of
    its content, and the names of its files with their sizes in bytes."""

    name: str
    fingerprint: str
    sizes: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, name: str) -> "Shipment":
        """That of the data set prepared here as `name`.  Raises DataError if it is not."""
        prepared = metadata_of(name)
        files = sorted(folder_of(prepared.name).iterdir())
        sizes = tuple((file.name, file.stat().st_size) for file in files)
        return cls(prepared.name, prepared.fingerprint, sizes)

    def files(self) -> "dict[str, NDArray[Any]]":
        """The bytes of its files here, as arrays, which travel without being copied in between."""
        import numpy as np

        folder = folder_of(self.name)
        return {name: np.fromfile(folder / name, dtype=np.uint8) for name, _ in self.sizes}

    def at_hand(self, cache: Path, fetch: "Callable[[], Files]") -> Path:
        """The folder of this machine that has the data set: that in its data home, if its content is this
        one, else one in `cache`, filled with what `fetch` returns unless it is there already.

        Of several processes that need it at once, one fetches it and the others wait.  Raises DataError.
        """
        if self._is_at_home():
            return folder_of(self.name)
        target = cache / f"{self.name}-{self.fingerprint[:N_DIGITS]}"
        try:
            cache.mkdir(parents=True, exist_ok=True)
            with _locked(cache / f".{target.name}.lock"):
                if not self._is_whole(target):
                    # What cleans up temporary folders may have taken some of the files.
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

    def _is_whole(self, folder: Path) -> bool:
        files = [folder / META, *(folder / name for name, _ in self.sizes)]
        return all(file.is_file() for file in files) and all(
            (folder / name).stat().st_size == size for name, size in self.sizes
        )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """A lock among the processes of this machine, which ends with the one that holds it."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
