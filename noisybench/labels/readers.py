"""Reading files of labels that others publish: .pt, .npy, .json, CSV, TSV and Parquet.

Nothing in a file is executed: of pickles, only NumPy arrays and what JSON has are rebuilt.
"""

import json
import os
import pickle
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from noisybench.datasets import Dataset
from noisybench.datasets.dataset import UNKNOWN
from noisybench.errors import DataError
from noisybench.files import located
from noisybench.labels import npz
from noisybench.labels.label_file import LabelFile, Labels, fit_by_chance

TABLES = (".csv", ".tsv", ".parquet")
ENDINGS = (".pt", ".npy", ".json", *TABLES)
FORMATS = "Label files that are read: .pt, .npy, .json, .csv, .tsv, .parquet"
PATHS, INDICES = ("path", "filename", "file"), ("index", "original_index", "source_index")
# The integers that a published file may have as labels.
INTEGERS = ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")

# The row of an image that is none of those for training.
ELSEWHERE = -1


def split_key(text: str) -> tuple[Path, str]:
    """The path and the key of ``FILE`` or ``FILE:KEY``; a file whose name has a colon is found as it is."""
    path, colon, key = text.rpartition(":")
    whole = located(text)
    return (whole, "") if not colon or not path or whole.exists() else (located(path), key)


def read_labels(path: Path, key: str, dataset: Dataset) -> LabelFile:
    """The labels called `key` in a file; without a key, the only ones in it.

    dataset: gives class names for labels that are text, and places for a table with a column of paths
    (`path`, `filename` or `file`), of which those of other images are left out; `index`, `original_index` or
    `source_index` are rows of the source.
    Raises DataError, naming the keys or the formats that there are.
    """
    reader = {".pt": _read_pt, ".npy": _read_npy, ".json": _read_json}.get(path.suffix.lower(), _read_table)
    if reader is _read_table and path.suffix.lower() not in TABLES:
        raise DataError(f"{path} has the ending '{path.suffix}'. {FORMATS}.")
    try:
        if path.stat().st_size > npz.MAX_BYTES:
            raise DataError(f"{path} has more than {npz.MAX_BYTES:,} bytes, the most that are read.")
        content = reader(path)
    except FileNotFoundError:
        raise DataError(f"There is no file {path}.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from None
    columns = content if isinstance(content, dict) else {path.stem: content}
    if not isinstance(content, dict) and key:
        raise DataError(f"{path} has one list of labels and no keys. Leave out ':{key}'.")
    index = _index(path, columns, dataset)
    labels = {
        str(name): value for name, value in columns.items() if name not in (*PATHS, *INDICES) or name == key
    }
    noisy = [name for name in labels if not name.startswith("clean")]
    if key not in labels if key else len(noisy) != 1:
        wanted = f"has no '{key}'" if key else "has several lists of labels"
        raise DataError(f"{path} {wanted}. Choose one of its keys: {', '.join(labels)}, as {path}:KEY.")
    name = key or noisy[0]
    clean = next((c for c in _clean_names(name) if c in labels and c != name), None)
    file = LabelFile(
        name,
        _numbers(path, name, labels[name], dataset, 0),
        None if clean is None else _numbers(path, clean, labels[clean], dataset, UNKNOWN),
        index,
    )
    return file if index is None else file.of(index != ELSEWHERE)


def _clean_names(name: str) -> tuple[str, ...]:
    """What the true labels that belong to the labels `name` may be called."""
    return ("clean_coarse_label",) if "coarse" in name else ("clean_label", "clean")


def read_order(path: Path) -> Labels:
    """The order in a .npy file: for each row of a labels file, its row in the source.  Raises DataError."""
    order = np.asarray(_read_npy(path) if path.is_file() else [])
    if order.ndim != 1 or order.dtype.kind not in "iu" or not len(order):
        raise DataError(f"{path} is not an order: it must be a .npy file with one integer for each image.")
    if not np.array_equal(np.sort(order), np.arange(len(order))):
        raise DataError(f"{path} is not an order: it must hold each of 0 to {len(order) - 1:,} once.")
    return order.astype(np.int64)


def _index(path: Path, columns: dict[Any, Any], dataset: Dataset) -> Labels | None:
    """The rows of the source that a column of paths or of indices names, or None without such a column.

    A path of no training image, as of one for testing, is ELSEWHERE."""
    column = next((name for name in PATHS if name in columns), None)
    if column is not None and dataset.train_paths is not None:
        known = map(os.fsdecode, dataset.train_paths.tolist())
        rows = dict(zip(known, dataset.train_index.tolist(), strict=True))
        index = [rows.get(os.path.normpath(p), ELSEWHERE) for p in map(str, columns[column])]
        if max(index) == ELSEWHERE:
            raise DataError(
                f"{path}: {columns[column][0]} is no training image of {dataset.name}, and neither is any"
                f" other path in the file. One of its images is {next(iter(rows))}."
            )
        return np.array(index, dtype=np.int64)
    column = next((name for name in INDICES if name in columns), None)
    return None if column is None else _integers(path, column, columns[column])


def _numbers(path: Path, name: str, values: Any, dataset: Dataset, least: int) -> Labels:
    """Labels as numbers, from texts that are names of classes or numbers.

    Where names of classes look like numbers, either all texts are names or all are numbers.
    """
    texts = list(values) if isinstance(values, (list, tuple)) else np.asarray(values).tolist()
    if not isinstance(texts, list) or not any(isinstance(text, str) for text in texts):
        return _integers(path, name, values)
    none = {str(number): number for number in range(least, 0)}
    if least == UNKNOWN:
        none[""] = UNKNOWN
    names = {name: number for number, name in enumerate(dataset.classes)} | none
    numbers = {str(number): number for number in range(dataset.n_classes)} | none
    known = names if all(text in names for text in texts) else numbers
    if not set(dataset.classes) & numbers.keys():
        known = names | numbers
    unknown = next((text for text in texts if text not in known), None)
    if unknown is not None:
        raise DataError(
            f"{path}: the label {unknown!r} in {name} is no class of {dataset.name}."
            f" Its classes: {', '.join(dataset.classes)}."
        )
    return np.array([known[text] for text in texts], dtype=np.int64)


def _integers(path: Path, name: str, values: Any) -> Labels:
    try:
        array = np.asarray(values)
        integers = array.astype(np.int64)
        if array.ndim == 1 and array.dtype.kind in "iufO" and (integers == array).all():
            return integers
    except (ValueError, TypeError, OverflowError):
        pass
    raise DataError(f"{path}: {name} must be one integer for each image.")


def _unreadable(path: Path) -> DataError:
    return DataError(
        f"{path} is damaged, or holds objects other than arrays, numbers, texts, lists and mappings; these"
        f" are not loaded. {FORMATS}."
    )


def _encode(text: str, encoding: str) -> bytes:
    """What NumPy's pickles of protocol 2 call for their bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError
    return text.encode("latin1")


def _reconstruct() -> Any:
    """The function by which NumPy's pickles make an empty array."""
    return np.empty(0).__reduce__()[0]


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        allowed = {
            ("numpy.core.multiarray", "_reconstruct"): _reconstruct(),
            ("numpy._core.multiarray", "_reconstruct"): _reconstruct(),
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("_codecs", "encode"): _encode,
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError
        return allowed[module, name]


def _read_npy(path: Path) -> Any:
    """An array, or what a pickled 0-d array holds."""
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            header = np.lib.format.read_array_header_1_0
            if version != (1, 0):
                header = np.lib.format.read_array_header_2_0
            shape, _, dtype = header(file)
            if not dtype.hasobject:  # NumPy would make room for what the header claims
                if int(np.prod(shape, dtype=object)) * dtype.itemsize > path.stat().st_size:
                    raise ValueError
                file.seek(0)
                return np.load(file, allow_pickle=False)
            content = _ArrayUnpickler(file).load()
            return content.item() if isinstance(content, np.ndarray) and content.ndim == 0 else content
    except OSError:
        raise
    except Exception:  # a hostile pickle can raise anything
        raise _unreadable(path) from None


def _read_pt(path: Path) -> Any:
    """A tensor, an array, a list, or a mapping of them."""
    import torch

    allowed: list[Any] = [
        (_reconstruct(), "numpy.core.multiarray._reconstruct"),
        (_reconstruct(), "numpy._core.multiarray._reconstruct"),
        *(np.ndarray, np.dtype),
        *(type(np.dtype(name)) for name in INTEGERS),
    ]
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                npz.check_size(path, archive)
        with torch.serialization.safe_globals(allowed), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of protocols of pickle: what cannot be read is an error
            content = torch.load(path, map_location="cpu", weights_only=True)
        if isinstance(content, dict):
            return {name: _array(value) for name, value in content.items()}
        return _array(content)
    except (OSError, DataError):
        raise
    except Exception:  # a hostile pickle can raise anything
        raise _unreadable(path) from None


def _array(value: Any) -> Any:
    import torch

    return value.numpy() if isinstance(value, torch.Tensor) else value


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise DataError(f"{path} is not JSON: a list of labels, or a mapping of names to lists.") from None


def _read_table(path: Path) -> Any:
    """The columns of a table as texts; those of row numbers as numbers."""
    import pandas as pd

    try:
        if path.suffix.lower() == ".parquet":
            table = pd.read_parquet(path).astype(str)
        else:
            with path.open(encoding="utf-8-sig") as file:
                separator = max("\t,;", key=file.readline().count)
            table = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False)
        for name in set(INDICES).intersection(table.columns):
            table[name] = pd.to_numeric(table[name])
    except OSError:
        raise
    except Exception:  # pandas and pyarrow have no common error for damaged files
        raise DataError(f"{path} is not a table with one row for each image. {FORMATS}.") from None
    if table.empty:
        raise DataError(f"{path} has no rows. It must have one for each image.")
    return {str(name): table[name].tolist() for name in table.columns}


def ordered(file: LabelFile, order: Path) -> LabelFile:
    """The labels with their rows in the source from an order file.  Raises DataError."""
    index = read_order(order)
    if len(index) != len(file.given):
        raise DataError(f"{order} orders {len(index):,} labels, but the file has {len(file.given):,}.")
    return replace(file, index=index)


def placed_by(file: LabelFile, dataset: Dataset) -> str:
    """How it is known which image has which label, for people.  file: fits the data set."""
    if file.clean is not None and dataset.known_truth is not None:
        return "The true labels in the file are those of the data set: its order is right."
    if file.index is not None:
        return "The labels are placed by the paths or row numbers of their images."
    assumed = f"The labels are assumed to be in the order of the source of {dataset.name}"
    in_source = dataset.train_labels[np.argsort(dataset.train_index)]
    if file.clean is None:
        doubt = " They fit no better than by chance: it may be another." * fit_by_chance(
            file.given, in_source
        )
        return f"{assumed}: the file has no true labels, paths or row numbers that would show it.{doubt}"
    same = (file.clean == in_source).mean()
    return f"{assumed}, of whose labels, which need not be true, {same:.1%} are the true labels in the file."
