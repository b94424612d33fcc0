"""The data home: prepared data sets as NumPy arrays, which later runs load at once.

    <home>/datasets/<name>/meta.json                 what was prepared, and from where
    <home>/datasets/<name>/{train,test}_{images,labels,index}.npy

A folder is built beside its place and renamed into it, so it is there complete or not at all.  What
needs only meta.json does not import NumPy.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noisybench.datasets.dataset import (
    N_DIGITS,
    UNKNOWN,
    Dataset,
    DatasetName,
    by,
    extra_content,
    fingerprint,
)
from noisybench.errors import DataError, InvalidValue
from noisybench.registry import DATASETS, DatasetInfo, Entry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from noisybench.datasets.own import Progress
    from noisybench.datasets.scan import OwnOptions

META = "meta.json"
FORMAT = 1
PARTS = ("train", "test")
FIELDS = ("images", "labels", "index")


@dataclass(frozen=True)
class Prepared:
    """What meta.json says of a prepared data set: its name in the registry, the fingerprint of its
    content, the number of images and where they came from.

    own: of a user's own images, what the code says of other data sets: classes, shape, protocol,
    n_validation, and has_truth: whether true labels are known.
    """

    name: str
    fingerprint: str
    n_train: int
    n_test: int
    source: str
    own: dict[str, Any] | None = None

    @property
    def info(self) -> DatasetInfo:
        """What is known of the data set: as registered or, of own images, as it was prepared."""
        if self.own is None:
            return DATASETS[self.name].metadata
        protocol = {**self.own["protocol"], "milestones": tuple(self.own["protocol"]["milestones"])}
        height, width, channels = self.own["shape"]
        return DatasetInfo(
            classes=tuple(self.own["classes"]),
            flips={},
            shape=(height, width, channels),
            counts=(self.n_train, self.n_test),
            fingerprint="",
            protocol=protocol,
            n_validation=self.own["n_validation"],
        )

    @property
    def canonical(self) -> bool:
        """Whether the content is the published one, to the last pixel and label."""
        return bool(self.fingerprint == self.info.fingerprint)

    @property
    def identity(self) -> str:
        """The name, with "@" and the start of the fingerprint if the content is not canonical."""
        return str(DatasetName(self.name, None if self.canonical else self.fingerprint[:N_DIGITS]))

    @property
    def folder(self) -> Path:
        """Where its arrays lie."""
        return folder_of(self.name)


def data_home() -> Path:
    """The folder of all prepared data: $NOISYBENCH_HOME, or the user's data folder."""
    import platformdirs

    try:
        given = os.environ.get("NOISYBENCH_HOME") or platformdirs.user_data_dir("noisybench")
        home = Path(given).expanduser()
    except (RuntimeError, KeyError):  # neither HOME nor the list of users says where it is
        home = Path("~")
    if str(home).startswith("~"):
        raise DataError(
            "The folder of prepared data is unknown, as there is no home folder. Set the environment variable"
            " NOISYBENCH_HOME to a folder."
        )
    there = next((place for place in (home, *home.parents) if os.path.exists(place)), None)
    if there is not None and not there.is_dir():
        raise DataError(
            f"The folder of prepared data is {home}, but {there} is no folder. Set the environment variable"
            " NOISYBENCH_HOME to a folder."
        )
    return home


def folder_of(name: str) -> Path:
    """Where the data set `name` lies once it is prepared."""
    return data_home() / "datasets" / name


def load(name: str) -> Dataset:
    """The prepared data set `name`; "cifar10@0123456789ab" insists on that content.

    Images are mapped from disk and read as they are used; writing to them changes no file.  Raises
    UnknownName, or DataError if it is not prepared, not the content asked for, or damaged.
    """
    found = prepared(name)
    info = found.info
    files: dict[str, tuple[tuple[int, ...], str]] = {}
    for part, n in zip(PARTS, (found.n_train, found.n_test), strict=True):
        files[f"{part}_images"] = (n, *info.shape), "uint8"
        files |= {f"{part}_{field}": ((n,), "int64") for field in ("labels", "index")}
    if found.own is not None:
        files["train_paths"] = (found.n_train,), "S"
        if found.own["has_truth"]:
            files["train_truth"] = (found.n_train,), "int64"
        if found.own["n_validation"]:
            files["train_validation"] = (found.n_train,), "bool"
    arrays = {file: _load_array(found.name, file, *form) for file, form in files.items()}
    for file, least in (("train_labels", 0), ("test_labels", 0), ("train_truth", UNKNOWN)):
        labels = arrays.get(file)
        if labels is not None and (labels.min() < least or labels.max() >= len(info.classes)):
            raise _damaged(found.name, f"{file}.npy holds a label that is no class")
    return Dataset(
        name=found.identity,
        classes=info.classes,
        fingerprint=found.fingerprint,
        canonical=found.canonical,
        **arrays,
    )


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
    dataset, meta = load(name), prepared(name)
    train, test = dataset.train.keys(), dataset.test.keys()
    if train != sorted(train) or test != sorted(test):
        raise _damaged(meta.name, "its images are not in canonical order")
    extra = extra_content(dataset.train_truth, dataset.train_validation)
    found = fingerprint(dataset.classes, dataset.shape, train, test, extra)
    if found != meta.fingerprint:
        raise _damaged(
            meta.name, f"its fingerprint is {found[:N_DIGITS]}…, not {meta.fingerprint[:N_DIGITS]}…"
        )
    return meta


def listing() -> list[dict[str, Any]]:
    """A row for each known data set: what it is and, if it is prepared, what was found on disk.

    Counts are those of the canonical set if it is not prepared; `bytes` is the size on disk; `problem`
    says what is wrong with a damaged one.
    """
    known = {entry.name: entry for entry in DATASETS}
    # Of own images that are damaged, only the problem is known.
    unknown = DatasetInfo((), {}, (0, 0, 0), (0, 0), "", {})
    others = (_row(own_entry(name, unknown)) for name in _own_names() if name not in known)
    return [*map(_row, known.values()), *(row for row in others if row["problem"])]


def remove(name: str) -> None:
    """Delete what is prepared as `name`.  Raises UnknownName or DataError."""
    folder = prepared(name).folder
    try:
        # Out of sight at once; a link is not followed.
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as work:
            folder.rename(Path(work, "old"))
            shutil.rmtree(Path(work, "old"))
    except OSError as error:
        raise DataError(f"{folder} cannot be removed: {error.strerror or error}.") from None


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
        "own": not DATASETS.is_registered(entry.name),
        "bytes": sum(file.stat().st_size for file in folder.iterdir()) if prepared else 0,
        "source": prepared.source if prepared else None,
        "path": str(folder),
        "problem": problem,
    }


def prepared(name: str) -> Prepared:
    """What is prepared as `name`, which may insist on a content; what is embedded is prepared now.

    Reads only the metadata.  Raises UnknownName or DataError, as `load` does.
    """
    asked = DatasetName.read(name)
    stem = asked.stem
    entry = DATASETS[stem]
    found = read_meta(stem)
    if found is None and entry.metadata.embedded:
        found = _prepare(entry, None, replace=False)
    if found is None:
        raise DataError(
            f"The data set {stem} is not prepared. Run: noisybench data add {stem}"
            f" (or, without internet, noisybench data add {stem} --from PATH)"
        )
    if asked.digits is not None and asked.digits != found.fingerprint[:N_DIGITS]:
        raise DataError(
            f"{name} is asked for, but the content prepared as {stem} is"
            f" {stem}@{found.fingerprint[:N_DIGITS]}. Prepare the other with: noisybench data add {stem}"
        )
    return found


def read_meta(name: str) -> Prepared | None:
    """The metadata of the prepared data set, or None if there is none."""
    try:
        meta = json.loads((folder_of(name) / META).read_bytes())
        if meta.pop("format") != FORMAT:
            raise _damaged(name, "another version of noisybench prepared it")
        prepared = Prepared(**meta)
        if prepared.own is not None:
            _ = prepared.info, prepared.own["has_truth"]
        return prepared
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(
            f"{folder_of(name)} cannot be read: {error.strerror or error}. The environment variable"
            " NOISYBENCH_HOME names the folder of prepared data."
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(name, f"{META} cannot be read: {error}") from None


def _load_array(name: str, file: str, shape: tuple[int, ...], dtype: str) -> "NDArray[Any]":
    import numpy as np

    try:
        # "c": torch warns of arrays that cannot be written, and these can, in memory only.
        mapped = np.load(folder_of(name) / f"{file}.npy", mmap_mode="c", allow_pickle=False)
    except Exception as error:  # NumPy's reader raises errors of any kind on damaged data
        raise _damaged(name, f"{file}.npy cannot be read: {error}") from None
    # Of "S", texts of bytes, each array has a length of its own.
    if mapped.shape != shape or (mapped.dtype.kind != "S" if dtype == "S" else mapped.dtype != dtype):
        raise _damaged(name, f"{file}.npy has the wrong shape or type")
    return np.asarray(mapped)


def _damaged(name: str, what: str) -> DataError:
    return DataError(f"The data set {name} in {folder_of(name)} is damaged: {what}. Add it again.")


def _prepare(entry: Entry[DatasetInfo], source: Path | None, replace: bool) -> Prepared:
    """Read the source and write the arrays.  Without `replace`, one that another process finished
    in the meantime is left alone."""
    import numpy as np

    info = entry.metadata
    parts = DATASETS.bind(entry.name)(source, **vars(info))
    (train, train_keys), (test, test_keys) = (part.in_canonical_order() for part in parts)
    prepared = Prepared(
        name=entry.name,
        fingerprint=fingerprint(info.classes, info.shape, train_keys, test_keys),
        n_train=len(train_keys),
        n_test=len(test_keys),
        source=str(source.resolve()) if source else "scikit-learn" if info.embedded else "torchvision",
    )
    with _written(entry.name, replace) as folder:
        for name, part in zip(PARTS, (train, test), strict=True):
            for field in FIELDS:
                np.save(folder / f"{name}_{field}.npy", getattr(part, field), allow_pickle=False)
        _write_meta(folder, prepared)
    return prepared


@contextmanager
def _written(name: str, replace: bool) -> Iterator[Path]:
    """`replacing_folder` of a data set; a failure names the setting that chooses another place."""
    try:
        with replacing_folder(folder_of(name), replace) as folder:
            yield folder
    except OSError as error:
        raise DataError(
            f"{folder_of(name)} cannot be written: {error.strerror or error}. The environment variable"
            " NOISYBENCH_HOME names the folder of prepared data."
        ) from None


def add_own(
    name: str, source: Path, options: "OwnOptions", progress: "Progress" = lambda done, total: None
) -> tuple[Prepared, list[str]]:
    """Prepare the user's own images at `source` as the data set `name`; also returns notes for the user.

    Replaces what was prepared before.  Raises InvalidValue for a name that cannot be one, or DataError with
    all problems of the images; what was prepared before is then untouched.
    """
    from noisybench.datasets import own

    own.check_name(name)
    if DATASETS.is_registered(name):
        raise InvalidValue(f"'{name}' is a built-in data set: choose another name for your own images.")
    with _written(name, replace=True) as folder:
        prepared, notes = own.prepare(folder, name, source, options, progress)
        _write_meta(folder, prepared)
    return prepared, notes


def _own_images(source: Path | None) -> None:
    """Own images, prepared by `noisybench data add NAME --from PATH`."""


def _own_entries() -> dict[str, Entry[DatasetInfo]]:
    """The entries of the user's own data sets, as they are prepared now; damaged ones are left out."""
    entries = {}
    for name in _own_names():
        try:
            prepared = read_meta(name)
            if prepared is not None and prepared.own is not None:
                entries[name] = own_entry(name, prepared.info)
        except DataError:
            continue
    return entries


def own_entry(name: str, info: DatasetInfo) -> Entry[DatasetInfo]:
    """The entry of own images in the registry."""
    return replace(DATASETS.entry(name, _own_images, vars(info)), help=f"Own images, {by(info.shape)}.")


def _own_names() -> list[str]:
    """The folders of the data home that are no built-in data set's."""
    try:
        names = sorted(path.name for path in (data_home() / "datasets").iterdir() if path.is_dir())
    except (OSError, DataError):  # what needs the data home says what is wrong with it
        return []
    return [name for name in names if not name.startswith(".") and not DATASETS.is_registered(name)]


DATASETS.add_finder(_own_entries)


def _write_meta(folder: Path, prepared: Prepared) -> None:
    described = {name: value for name, value in asdict(prepared).items() if value is not None}
    (folder / META).write_text(json.dumps({"format": FORMAT, **described}, indent=2) + "\n")


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
