"""Finding a user's images and labels: in folders, in a table, or in the layout of a published data set.

Nothing is decoded here.  What is found is a list of `Image`s, and a list of `Problem`s.
"""

import csv
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from noisybench.errors import DataError, InvalidValue

TRAIN, VALIDATION, TEST = "train", "val", "test"
PART_NAMES = {
    TRAIN: ("train", "training"),
    VALIDATION: ("val", "valid", "validation"),
    TEST: ("test", "testing"),
}
SYSTEM_FILES = ("thumbs.db", "desktop.ini", "__macosx")
TABLES = (".csv", ".tsv", ".txt", ".parquet")
SHOWN = 40  # problems in a message


@dataclass(frozen=True)
class Problem:
    """Something wrong with a file or folder, and what becomes of it.

    refuses: whether nothing is prepared because of it, unless it is skipped.  left_out: whether its image
    is not among those prepared.
    """

    path: str
    kind: str
    cause: str
    left_out: bool = True
    refuses: bool = True

    def __str__(self) -> str:
        return f"{printable(self.path)} {printable(self.cause)}"


def refusal(problems: Sequence[Problem], advice: str, more: str = "") -> DataError:
    """The error that lists problems, SHOWN of them, and says what to do; more: where the others are."""
    lines = [f"  {problem}" for problem in problems[:SHOWN]]
    if len(problems) > SHOWN:
        lines.append(f"  … and {len(problems) - SHOWN:,} more{more}")
    plural = "s" * (len(problems) > 1)
    return DataError(
        "\n".join([f"Nothing is prepared, because of {len(problems):,} problem{plural}:", *lines, advice])
    )


@dataclass(frozen=True)
class Image:
    """An image file with the label it was given; clean: the true one, if it is known.

    wrong: whether the given label is known to be wrong, though the true one is not known."""

    path: str
    part: str
    label: str
    clean: str | None = None
    wrong: bool = False


@dataclass
class Found:
    """Images in the order of their source, and what was wrong there.

    classes: the names in the order of the labels, if the source gives it."""

    images: list[Image] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Columns:
    """The names of a table's columns."""

    path: str = "path"
    label: str = "label"
    clean: str = "clean_label"
    split: str = "split"


@dataclass(frozen=True)
class OwnOptions:
    """How a user's images are prepared.

    image_size: height and width; None: from the median.  colour: None: as the images are.  test: a folder or
    table of the test part.  test_share, seed: of the test part that is split off where there is none.
    """

    layout: str = "auto"
    columns: Columns = Columns()
    root: Path | None = None
    test: Path | None = None
    test_share: float = 0.2
    seed: int = 0
    image_size: int | None = None
    colour: bool | None = None
    skip_errors: bool = False
    keep_duplicates: bool = False
    write_problems: Callable[[bytes], object] | None = None
    workers: int = 2


def printable(text: str) -> str:
    """`text` without what a terminal would obey."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in text)


def natural(name: str) -> list[tuple[int, int, str]]:
    """Sorts by this key put 2 before 10."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    return [(0, int(p), "") if p[0] in "0123456789" else (1, 0, p.lower()) for p in parts] + [(2, 0, name)]


def scan(source: Path, layout: str, columns: Columns, root: Path | None) -> Found:
    """The images of `source`.  root: the folder that paths in a table start from, if not the table's own.

    Raises DataError if there is nothing to read.
    """
    if not source.exists():
        raise DataError(f"{source} does not exist.")
    if layout == "auto":
        layout = "folder" if source.is_dir() else "table"
    if layout == "table":
        return _table(source, columns, root or source.parent)
    if not source.is_dir():
        raise DataError(f"{source} is not a folder.")
    if layout == "folder":
        return _folder(source)
    if layout in PUBLISHED:
        return PUBLISHED[layout](source)
    raise InvalidValue(f"layout is '{layout}', but must be one of {', '.join(LAYOUTS)}.")


def is_hidden(name: str) -> bool:
    """Whether a file or folder is one that systems and programs leave behind."""
    return name.startswith(".") or name.lower() in SYSTEM_FILES


def _folder(source: Path) -> Found:
    """train/<class>/…, with val/ and test/ or without; or <class>/… only."""
    found = Found()
    folders = _subfolders(source, found)
    parts = {
        part: folder
        for folder in folders
        for part, names in PART_NAMES.items()
        if folder.name.lower() in names
    }
    if TRAIN not in parts:
        _classes(folders, TRAIN, found)
        return found
    for folder in folders:
        if folder not in parts.values():
            cause = "is no part: these are train, val and test"
            found.problems.append(Problem(str(folder), "no part", cause, refuses=False))
    for part, folder in parts.items():
        _classes(_subfolders(folder, found), part, found)
    return found


def _classes(folders: list[Path], part: str, found: Found) -> None:
    for folder in folders:
        if not folder.name.isprintable():
            found.problems.append(Problem(str(folder), "class name", "has a name that cannot be printed"))
            continue
        files = list(_files_below(folder, found))
        if not files:
            found.problems.append(Problem(str(folder), "empty class", "is a class without any file"))
        found.images += [Image(file, part, folder.name) for file in files]


def _subfolders(place: Path, found: Found) -> list[Path]:
    """The folders in `place`; files there belong to no class."""
    folders = []
    for entry in sorted(place.iterdir(), key=lambda path: natural(path.name)):
        if is_hidden(entry.name):
            found.problems.append(_hidden(str(entry)))
        elif entry.is_dir():
            folders.append(entry)
        else:
            found.problems.append(Problem(str(entry), "no class", "lies in no class's folder", refuses=False))
    return folders


def _hidden(path: str) -> Problem:
    return Problem(path, "hidden", "is a hidden or system file", refuses=False)


def _files_below(folder: Path, found: Found) -> Iterator[str]:
    """The files in `folder` and in the folders below it, in natural order."""
    visited = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        for name in [*folders, *files]:
            if is_hidden(name):
                found.problems.append(_hidden(os.path.join(place, name)))
        folders[:] = sorted((name for name in folders if not is_hidden(name)), key=natural)
        yield from (os.path.join(place, name) for name in sorted(files, key=natural) if not is_hidden(name))


def _rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a CSV, TSV or Parquet file by the names of their columns."""
    if path.suffix.lower() == ".parquet":
        try:
            import pyarrow.parquet
        except ImportError:
            raise DataError("Parquet files need pyarrow: pip install 'noisybench[parquet]'.") from None
        try:
            rows: list[dict[str, Any]] = pyarrow.parquet.read_table(path).to_pylist()
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read as Parquet: {error}") from None
        return rows
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            delimiter = max("\t,;", key=header.count)
            file.seek(0)
            return list(csv.DictReader(file, delimiter=delimiter))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a table: {error}") from None


def _table(path: Path, columns: Columns, root: Path) -> Found:
    rows = _rows(path)
    if not rows:
        raise DataError(f"{path} has no rows below its header.")
    names = list(rows[0])
    for option, name in (("--path-column", columns.path), ("--label-column", columns.label)):
        if name not in names:
            raise DataError(
                f"{path} has no column '{name}'. Its columns: {', '.join(map(str, names))}. Name one with"
                f" {option}, or add a header line such as 'path,label'."
            )
    parts = {name: part for part, known in PART_NAMES.items() for name in known}
    found = Found()
    for number, row in enumerate(rows, start=2):
        file = _text(row[columns.path])
        label, clean = _text(row[columns.label]), _text(row.get(columns.clean)) or None
        part = parts.get((_text(row.get(columns.split)) or TRAIN).lower())
        where = str(root / file) if file else f"{path} line {number}"
        if not file or not label or None in row:
            found.problems.append(Problem(where, "incomplete row", f"has no path or no label (row {number})"))
        elif part is None:
            found.problems.append(
                Problem(where, "unknown part", f"has the split '{row[columns.split]}': train, val or test?")
            )
        else:
            found.images.append(Image(where, part, label, clean))
    return found


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None or value != value else str(value).strip()


ANIMALS = (
    *("cat", "lynx", "wolf", "coyote", "cheetah", "jaguar"),
    *("chimpanzee", "orangutan", "hamster", "guinea-pig"),
)


def _animal_10n(source: Path) -> Found:
    """training/LABEL_… and testing/LABEL_… (Song et al. 2019)."""
    found = Found(classes=ANIMALS)
    for part, folder in ((TRAIN, "training"), (TEST, "testing")):
        if not (source / folder).is_dir():
            raise DataError(f"{source / folder} is missing.")
        for file in _files_below(source / folder, found):
            label = os.path.basename(file).partition("_")[0]
            if label.isdecimal() and int(label) < len(ANIMALS):
                found.images.append(Image(file, part, ANIMALS[int(label)]))
            else:
                found.problems.append(Problem(file, "no label", "has no label from 0 to 9 before a '_'"))
    return found


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except FileNotFoundError:
        raise DataError(f"{path} is missing.") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None


def _food_101n(source: Path) -> Found:
    """meta/imagelist.tsv with images/<class>/<key>; some labels are verified (Lee et al. 2018)."""
    verified = {}
    for name in ("verified_train.tsv", "verified_val.tsv"):
        if (source / "meta" / name).exists():
            for line in _lines(source / "meta" / name)[1:]:
                key, _, right = line.rpartition("\t")
                verified[key.strip()] = right.strip() == "1"
    found = Found(classes=tuple(_lines(source / "meta" / "classes.txt")[1:]))
    for key in _lines(source / "meta" / "imagelist.tsv")[1:]:
        label, is_right = key.partition("/")[0], verified.get(key)
        clean = label if is_right else None
        found.images.append(Image(str(source / "images" / key), TRAIN, label, clean, is_right is False))
    return found


CLOTHES = (
    *("T-Shirt", "Shirt", "Knitwear", "Chiffon", "Sweater", "Hoodie", "Windbreaker", "Jacket"),
    *("Downcoat", "Suit", "Shawl", "Dress", "Vest", "Underwear"),
)


def _clothing1m(source: Path) -> Found:
    """noisy_train with noisy labels, clean_val and clean_test with clean ones (Xiao et al. 2015)."""
    noisy, clean = (
        dict(line.rsplit(maxsplit=1) for line in _lines(source / f"{kind}_label_kv.txt"))
        for kind in ("noisy", "clean")
    )
    found = Found(classes=CLOTHES)

    def name(number: str | None) -> str | None:
        return CLOTHES[int(number)] if number and number.isdecimal() and int(number) < len(CLOTHES) else None

    for part, keys, labels in (
        (TRAIN, "noisy_train", noisy),
        (VALIDATION, "clean_val", clean),
        (TEST, "clean_test", clean),
    ):
        for key in _lines(source / f"{keys}_key_list.txt"):
            label = name(labels.get(key))
            if label is None:
                found.problems.append(Problem(str(source / key), "no label", "has no label from 0 to 13"))
            else:
                found.images.append(Image(str(source / key), part, label, name(clean.get(key))))
    return found


def _webvision(source: Path, mini: bool) -> Found:
    """info/train_filelist_{google,flickr}.txt and info/val_filelist.txt (Li et al. 2017); mini: the first 50
    classes of Google's images."""
    lists = [(TRAIN, source / "info" / "train_filelist_google.txt", source)]
    if not mini:
        lists.append((TRAIN, source / "info" / "train_filelist_flickr.txt", source))
    places = [source / name for name in ("val_images_256", "val_images")]
    place = next((place for place in places if place.is_dir()), places[0])
    lists.append((TEST, source / "info" / "val_filelist.txt", place))
    found = Found()
    for part, path, root in lists:
        for line in _lines(path):
            file, _, label = line.rpartition(" ")
            if not file or not label.isdecimal():
                found.problems.append(Problem(f"{path}: {line}", "no label", "is not a path with a number"))
            elif not mini or int(label) < 50:
                found.images.append(Image(str(root / file), part, label))
    return found


PUBLISHED: dict[str, Callable[[Path], Found]] = {
    "animal-10n": _animal_10n,
    "food-101n": _food_101n,
    "clothing1m": _clothing1m,
    "webvision": partial(_webvision, mini=False),
    "webvision-mini": partial(_webvision, mini=True),
}
LAYOUTS = ("auto", "folder", "table", *PUBLISHED)
