"""The data home: prepared data sets as NumPy arrays, which later runs load at once.

    <home>/datasets/<name>/meta.json                 what was prepared, and from where
    <home>/datasets/<name>/{train,test}_{images,labels,index}.npy

A folder is built beside its place and renamed into it, so it is there complete or not at all.  What
needs only meta.json does not import NumPy.
"""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noisybench.datasets.dataset import Dataset, Part, fingerprint
from noisybench.errors import DataError
from noisybench.registry import DATASETS, DatasetInfo, Entry

if TYPE_CHECKING:
    from numpy.typing import NDArray

META = "meta.json"
FORMAT = 1
N_DIGITS = 12  # of the fingerprint, in the name of a data set that is not canonical
PARTS = ("train", "test")
FIELDS = ("images", "labels", "index")


@dataclass(frozen=True)
class Prepared:
    """What meta.json says of a prepared data set: its name in the registry, the fingerprint of its
    content, the number of images and where they came from."""

    name: str
    fingerprint: str
    n_train: int
    n_test: int
    source: str

    @property
    def canonical(self) -> bool:
        """Whether the content is the published one, to the last pixel and label."""
        return bool(self.fingerprint == DATASETS[self.name].metadata.fingerprint)

    @property
    def identity(self) -> str:
        """The name, with "@" and the start of the fingerprint if the content is not canonical."""
        return self.name if self.canonical else f"{self.name}@{self.fingerprint[:N_DIGITS]}"


def data_home() -> Path:
    """The folder of all prepared data: $NOISYBENCH_HOME, or the user's data folder."""
    import platformdirs

    return Path(os.environ.get("NOISYBENCH_HOME") or platformdirs.user_data_dir("noisybench")).expanduser()


def folder_of(name: str) -> Path:
    """Where the data set `name` lies once it is prepared."""
    return data_home() / "datasets" / name


def load(name: str) -> Dataset:
    """The prepared data set `name`; "cifar10@0123456789ab" insists on that content.

    Images are mapped from disk and read as they are used; writing to them changes no file.  Raises
    UnknownName, or DataError if it is not prepared, not the content asked for, or damaged.
    """
    prepared = metadata_of(name)
    info = DATASETS[prepared.name].metadata
    arrays = {}
    for part, n in zip(PARTS, (prepared.n_train, prepared.n_test), strict=True):
        for field in FIELDS:
            shape, dtype = ((n, *info.shape), "uint8") if field == "images" else ((n,), "int64")
            arrays[f"{part}_{field}"] = _load_array(prepared.name, f"{part}_{field}", shape, dtype)
    for part in PARTS:
        labels = arrays[f"{part}_labels"]
        if labels.min() < 0 or labels.max() >= len(info.classes):
            raise _damaged(prepared.name, f"{part}_labels.npy holds a label that is no class")
    return Dataset(
        name=prepared.identity,
        classes=info.classes,
        fingerprint=prepared.fingerprint,
        canonical=prepared.canonical,
        **arrays,
    )


def identify(name: str) -> str:
    """The name that says which content is prepared: "cifar10", or "cifar10@..." if not canonical.

    Reads only the metadata.  Raises UnknownName or DataError, as `load` does.
    """
    return metadata_of(name).identity


def add(name: str, source: Path | None = None) -> Prepared:
    """Prepare the data set `name` from the files at `source`, or download it if that is None.

    Replaces what was prepared before.  Raises UnknownName, or DataError if the files are not what
    they claim or the data home cannot be written; what was prepared before is then untouched.
    """
    return _prepare(DATASETS[name], source, replace=True)


def verify(name: str) -> Prepared:
    """Recompute the fingerprint of a prepared data set from its images and labels.

    Raises DataError if they are not those that were prepared, or not in canonical order.
    """
    dataset = load(name)
    prepared = metadata_of(name)
    for part in (dataset.train, dataset.test):
        keys = part.keys()
        if keys != sorted(keys):
            raise _damaged(prepared.name, "its images are not in canonical order")
    found = fingerprint(dataset.classes, dataset.shape, dataset.train, dataset.test)
    if found != prepared.fingerprint:
        raise _damaged(
            prepared.name, f"its fingerprint is {found[:N_DIGITS]}…, not {prepared.fingerprint[:N_DIGITS]}…"
        )
    return prepared


def listing() -> list[dict[str, Any]]:
    """A row for each known data set: what it is and, if it is prepared, what was found on disk.

    Counts are those of the canonical set if it is not prepared; `bytes` is the size on disk; `problem`
    says what is wrong with a damaged one.
    """
    return [_row(entry) for entry in DATASETS]


def _row(entry: Entry[DatasetInfo]) -> dict[str, Any]:
    problem = prepared = None
    folder = folder_of(entry.name)
    try:
        prepared = read_meta(entry.name)
    except DataError as error:
        problem = str(error)
    n_train, n_test = (prepared.n_train, prepared.n_test) if prepared else entry.metadata.counts
    return {
        "name": entry.name,
        "description": entry.help,
        "prepared": prepared is not None,
        "canonical": prepared.canonical if prepared else None,
        "identity": prepared.identity if prepared else None,
        "fingerprint": prepared.fingerprint if prepared else None,
        "n_train": n_train,
        "n_test": n_test,
        "shape": entry.metadata.shape,
        "classes": entry.metadata.classes,
        "embedded": entry.metadata.embedded,
        "bytes": sum(file.stat().st_size for file in folder.iterdir()) if prepared else 0,
        "source": prepared.source if prepared else None,
        "path": str(folder),
        "problem": problem,
    }


def metadata_of(name: str) -> Prepared:
    """The metadata of what is prepared, which is what `name` asks for; what is embedded is prepared now."""
    stem, at, wanted = name.partition("@")
    entry = DATASETS[stem]
    prepared = read_meta(stem)
    if prepared is None and entry.metadata.embedded:
        prepared = _prepare(entry, None, replace=False)
    if prepared is None:
        raise DataError(
            f"The data set {stem} is not prepared. Run: noisybench data add {stem}"
            f" (or, without internet, noisybench data add {stem} --from PATH)"
        )
    if at and wanted != prepared.fingerprint[:N_DIGITS]:
        raise DataError(
            f"{name} is asked for, but the content prepared as {stem} is"
            f" {stem}@{prepared.fingerprint[:N_DIGITS]}. Prepare the other with: noisybench data add {stem}"
        )
    return prepared


def read_meta(name: str) -> Prepared | None:
    """The metadata of the prepared data set, or None if there is none."""
    try:
        meta = json.loads((folder_of(name) / META).read_bytes())
        if meta.pop("format") != FORMAT:
            raise _damaged(name, "another version of noisybench prepared it")
        return Prepared(**meta)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(name, f"{META} cannot be read: {error}") from None


def _load_array(name: str, file: str, shape: tuple[int, ...], dtype: str) -> "NDArray[Any]":
    import numpy as np

    try:
        # "c": torch warns of arrays that cannot be written, and these can, in memory only.
        mapped = np.load(folder_of(name) / f"{file}.npy", mmap_mode="c", allow_pickle=False)
    except Exception as error:  # NumPy's reader raises errors of any kind on damaged data
        raise _damaged(name, f"{file}.npy cannot be read: {error}") from None
    if mapped.shape != shape or mapped.dtype != dtype:
        raise _damaged(name, f"{file}.npy has the wrong shape or type")
    return np.asarray(mapped)


def _damaged(name: str, what: str) -> DataError:
    return DataError(f"The data set {name} in {folder_of(name)} is damaged: {what}. Add it again.")


def _prepare(entry: Entry[DatasetInfo], source: Path | None, replace: bool) -> Prepared:
    """Read the source and write the arrays.  Without `replace`, one that another process finished
    in the meantime is left alone."""
    train, test = DATASETS.bind(entry.name)(source, **vars(entry.metadata))
    prepared = Prepared(
        name=entry.name,
        fingerprint=fingerprint(entry.metadata.classes, entry.metadata.shape, train, test),
        n_train=len(train.labels),
        n_test=len(test.labels),
        source=_source_in_words(entry, source),
    )
    try:
        with replacing_folder(folder_of(entry.name), replace) as folder:
            _write(folder, prepared, train.in_canonical_order(), test.in_canonical_order())
    except OSError as error:
        raise DataError(f"{folder_of(entry.name)} cannot be written: {error.strerror or error}.") from None
    return prepared


def _source_in_words(entry: Entry[DatasetInfo], source: Path | None) -> str:
    if source is not None:
        return str(source.resolve())
    return "scikit-learn" if entry.metadata.embedded else "torchvision"


def _write(folder: Path, prepared: Prepared, train: Part, test: Part) -> None:
    import numpy as np

    for name, part in zip(PARTS, (train, test), strict=True):
        for field in FIELDS:
            np.save(folder / f"{name}_{field}.npy", getattr(part, field), allow_pickle=False)
    (folder / META).write_text(json.dumps({"format": FORMAT, **asdict(prepared)}, indent=2) + "\n")


@contextmanager
def replacing_folder(target: Path, replace: bool) -> Iterator[Path]:
    """A folder to fill, which takes the place of `target` when the block ends without an error."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as work:
        new, old = Path(work, "new"), Path(work, "old")
        new.mkdir()
        yield new
        try:
            if replace and target.exists():
                target.rename(old)
            new.rename(target)
        except BaseException as error:
            if old.exists() and not target.exists():
                old.rename(target)
            lost_race = isinstance(error, OSError) and not replace and (target / META).exists()
            if not lost_race:
                raise
