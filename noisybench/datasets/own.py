"""Preparing a user's own images: found, decoded in parallel, checked, and written in canonical order.

The pixels never lie in memory: workers write them into one file of bare pixels beside the data set's place,
from which the arrays are then written row by row.
"""

import csv
import hashlib
import io
import math
import os
import re
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noisybench.datasets.dataset import UNKNOWN, WRONG, Shape, by, extra_content, fingerprint, key_of
from noisybench.datasets.home import Prepared
from noisybench.datasets.images import TURNED_GREY, Decoded, decode_into, measured
from noisybench.datasets.scan import (
    SHOWN,
    TEST,
    TRAIN,
    VALIDATION,
    Found,
    Image,
    OwnOptions,
    Problem,
    natural,
    printable,
    refusal,
    scan,
)
from noisybench.errors import DataError, InvalidValue

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
CHUNK = 64
ALONE = 512  # fewer images are decoded in this process
SAMPLE = 1000
LARGEST_DEFAULT = 64
ADVICE = "Mend them, or leave them out with --on-error skip."
MORE = ": --problems FILE writes all of them as CSV"

Progress = Callable[[int, int], None]


def check_name(name: str) -> None:
    """Raise InvalidValue unless `name` may be that of an own data set."""
    if not NAME.fullmatch(name):
        raise InvalidValue(
            f"'{printable(name)}' cannot name a data set: use small letters, digits and hyphens, 64 at most,"
            " beginning with a letter or digit."
        )


def protocol_for(shape: Shape, n_train: int) -> dict[str, Any]:
    """How to train on own images of this shape and number, by the fields of Config.

    Tiny images train as digits do; others as the data sets of Zhang & Sabuncu 2018, with fewer epochs where
    there are more images.  The labels are taken as they are: no noise is added.
    """
    if max(shape[:2]) <= 12:
        model, augment, lr, epochs, batch = "mlp", "none", 0.1, 20, 32
    else:
        model = "resnet34" if n_train >= 20_000 else "resnet18"
        augment, lr = "flip-crop", 0.01
        epochs = 120 if n_train <= 100_000 else 40 if n_train <= 500_000 else 15
        batch = 128 if n_train >= 2_000 else 32
    return {
        "rate": 0.0,
        "model": model,
        "epochs": epochs,
        "batch_size": batch,
        "lr": lr,
        "milestones": (epochs // 3, 2 * epochs // 3),
        "augment": augment,
        "prune_from": epochs // 3,
        "prune_every": max(1, epochs // 12),
    }


def prepare(
    folder: Path, name: str, source: Path, options: OwnOptions, progress: Progress
) -> tuple[Prepared, list[str]]:
    """Write the arrays of the images of `source` into the empty `folder`.

    Returns what meta.json is to say of the data set `name`, and notes for the user.  Raises DataError with
    all problems at once, unless they are skipped.
    """
    found = _found(source, options)
    notes: list[str] = []
    shape = _shape(found.images, options, notes)
    classes = _classes(found)
    images = _of_known_classes(found, classes)
    if not images:
        raise refusal([*found.problems, Problem(str(source), "empty", "holds no image")], ADVICE, MORE)
    pixels = folder / ".pixels"
    decoded = _decoded(pixels, images, shape, options.workers, progress)
    problems = [*found.problems, *_from_decoding(images, decoded, options)]
    usable = [row for row, result in enumerate(decoded) if result.digest]
    usable, duplicates = _without_leaks(images, decoded, usable, options.keep_duplicates)
    problems += duplicates
    if options.write_problems:
        options.write_problems(_as_csv(problems))
    refusing = [problem for problem in problems if problem.refuses]
    if refusing and not options.skip_errors:
        raise refusal(refusing, ADVICE, MORE)
    if problems:
        notes += _counted(problems)
    has_test = any(images[row].part == TEST for row in usable)
    if not has_test:
        images = _with_test_part(images, decoded, usable, options)
        usable, late = _without_leaks(images, decoded, usable, options.keep_duplicates)
        notes.append(
            f"There is no test part: {options.test_share:.0%} of each class are split off for testing"
            f" (--test-share, --seed {options.seed})."
            + (f" {len(late)} more images are left out of the training part." if late else "")
        )
    numbers = {name: number for number, name in enumerate(classes)}
    parts = {
        part: [row for row in usable if (images[row].part == TEST) == (part == "test")]
        for part in ("train", "test")
    }
    missing = set(classes) - {images[row].label for row in parts["test"]}
    if missing:
        notes.append(f"Without test images: {', '.join(sorted(missing, key=natural)[:10])}.")
    if len(classes) < 2 or len(parts["train"]) < 2 or not parts["test"]:
        raise DataError(
            f"{source} gives {len(classes)} classes, {len(parts['train'])} training and {len(parts['test'])}"
            " test images; at least 2 classes, 2 training images and 1 test image are needed."
        )
    base = options.root or (source if source.is_dir() else source.parent)
    described = {
        part: sorted(
            (_Row.of(images[row], decoded[row].digest, row, part == "test", numbers) for row in rows),
            key=lambda row: row.key,
        )
        for part, rows in parts.items()
    }
    for part, members in described.items():
        _write_part(folder, part, members, images, pixels, shape, base)
    pixels.unlink()
    train, test = described["train"], described["test"]
    truth = validation = None
    if has_truth := any(row.truth != UNKNOWN for row in train):
        truth = np.array([row.truth for row in train], np.int64)
        np.save(folder / "train_truth.npy", truth)
    if n_validation := sum(row.validates for row in train):
        validation = np.array([row.validates for row in train])
        np.save(folder / "train_validation.npy", validation)
    train_keys, test_keys = ([row.content for row in part] for part in (train, test))
    prepared = Prepared(
        name=name,
        fingerprint=fingerprint(classes, shape, train_keys, test_keys, extra_content(truth, validation)),
        n_train=len(train),
        n_test=len(test),
        source=str(source.resolve()),
        own={
            "classes": classes,
            "shape": shape,
            "protocol": protocol_for(shape, len(train)),
            "n_validation": n_validation,
            "has_truth": has_truth,
        },
    )
    return prepared, notes


@dataclass(frozen=True)
class _Row:
    """One image to write: the digest of its pixels, its label and truth, and its row in the source."""

    digest: bytes
    label: int
    truth: int
    validates: bool
    source: int

    @classmethod
    def of(cls, image: Image, digest: bytes, row: int, is_test: bool, numbers: Mapping[str, int]) -> "_Row":
        truth = WRONG if image.wrong else UNKNOWN if image.clean is None else numbers[image.clean]
        # A test image counts by its true label where that is known.
        label = truth if is_test and truth >= 0 else numbers[image.label]
        return cls(digest, label, truth, image.part == VALIDATION, row)

    @property
    def content(self) -> bytes:
        """What the fingerprint of a data set is made of."""
        return key_of(self.digest, self.label)

    @property
    def key(self) -> tuple[bytes, int, bool, int]:
        """The canonical order: by content, then by what copies of one image may differ in."""
        return self.content, self.truth, self.validates, self.source


def _found(source: Path, options: OwnOptions) -> Found:
    found = scan(source, options.layout, options.columns, options.root)
    if options.test is not None:
        if any(image.part == TEST for image in found.images):
            raise InvalidValue(f"{source} has a test part already: omit --test.")
        test = scan(options.test, "auto", options.columns, options.root)
        found.images += [replace(image, part=TEST) for image in test.images]
        found.problems += test.problems
    return found


def _shape(images: Sequence[Image], options: OwnOptions, notes: list[str]) -> Shape:
    step = max(1, len(images) // SAMPLE)
    sides, grey = measured([image.path for image in images[::step]])
    size = options.image_size
    if size is None:
        median = sorted(sides)[len(sides) // 2] if sides else LARGEST_DEFAULT
        size = min(median, LARGEST_DEFAULT)
        notes.append(
            f"Images are brought to {size}×{size} pixels: the median of their shorter sides is {median}"
            + (f", the default at most {LARGEST_DEFAULT}" if median > size else "")
            + " (--image-size)."
        )
    colour = not grey if options.colour is None else options.colour
    return size, size, 3 if colour else 1


def _classes(found: Found) -> tuple[str, ...]:
    """The names in natural order: those of the training and validation part, given or true."""
    if found.classes:
        return found.classes
    names = {image.label for image in found.images if image.part == TRAIN}
    names |= {image.clean for image in found.images if image.part == TRAIN and image.clean is not None}
    return tuple(sorted(names, key=natural))


def _of_known_classes(found: Found, classes: tuple[str, ...]) -> list[Image]:
    """The images whose class has training images; others are a problem each class."""
    known = set(classes)
    if len(classes) >= 2**16:
        raise DataError(f"There are {len(classes):,} classes, but at most 65,535 are supported.")
    kept, unknown = [], Counter[tuple[str, str]]()
    for image in found.images:
        strange = next((name for name in (image.label, image.clean) if name and name not in known), None)
        if strange is None:
            kept.append(image)
        else:
            unknown[image.part, strange] += 1
    for (part, name), count in unknown.items():
        cause = f"is a class of the {part} part alone, and has no training images (images here: {count})"
        found.problems.append(Problem(f"{part}/{name}", "class without training images", cause))
    return kept


def _decoded(
    file: Path, images: Sequence[Image], shape: Shape, workers: int, progress: Progress
) -> list[Decoded]:
    needed = len(images) * math.prod(shape)
    free = shutil.disk_usage(file.parent).free
    if 2 * needed > free:
        raise DataError(
            f"{len(images):,} images of {by(shape)} need {2 * needed / 1e9:.1f} GB while they are prepared,"
            f" but {file.parent.parent.parent} has {free / 1e9:.1f} GB free."
            " Choose a smaller --image-size, or another disk by NOISYBENCH_HOME."
        )
    file.touch()
    paths = [image.path for image in images]
    chunks = [(first, paths[first : first + CHUNK]) for first in range(0, len(paths), CHUNK)]
    results: list[Decoded] = []
    if len(paths) <= ALONE or workers < 2:
        for first, chunk in chunks:
            results += decode_into(str(file), first, chunk, shape)
            progress(len(results), len(paths))
        return results
    # Ctrl-C is left to this process, which waits for the workers.
    ignore = (signal.SIGINT, signal.SIG_IGN)
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=signal.signal, initargs=ignore)
    try:
        pending = [pool.submit(decode_into, str(file), first, chunk, shape) for first, chunk in chunks]
        for future in pending:
            results += future.result()
            progress(len(results), len(paths))
    except BrokenProcessPool:
        first = len(results)
        raise DataError(
            f"A worker process died while it read images from {printable(paths[first])} on: it ran out of"
            " memory, or an image made the decoder crash."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)
    return results


def _from_decoding(images: Sequence[Image], decoded: Sequence[Decoded], options: OwnOptions) -> list[Problem]:
    """What was wrong with the files, but for what was asked for."""
    problems = []
    for image, result in zip(images, decoded, strict=True):
        remarks = [r for r in result.remarks if options.colour is None or r != TURNED_GREY]
        if result.failure:
            problems.append(Problem(image.path, "unreadable", result.failure))
        elif remarks:
            cause = "; ".join(remarks)
            problems.append(Problem(image.path, "converted", cause, left_out=False, refuses=False))
    return problems


# Of images that two parts share, those of the part named first are left out.
ORDER = {TRAIN: 0, VALIDATION: 1, TEST: 2}


def _without_leaks(
    images: Sequence[Image], decoded: Sequence[Decoded], rows: list[int], keep: bool
) -> tuple[list[int], list[Problem]]:
    """The rows without training images that are also test or validation images, and all duplicates."""
    groups: dict[bytes, list[int]] = {}
    for row in rows:
        groups.setdefault(decoded[row].digest, []).append(row)
    left_out, problems = set(), []
    for group in groups.values():
        if len(group) < 2:
            continue
        last = max(group, key=lambda row: ORDER[images[row].part])
        first = next(row for row in group if images[row].part == images[last].part)
        for row in group:
            if row == first:
                continue
            across = ORDER[images[row].part] < ORDER[images[first].part]
            if across and not keep:
                left_out.add(row)
            what = f"has the same pixels as {images[first].path}"
            if images[row].label != images[first].label:
                what += f", of class {images[first].label}"
            problems.append(
                Problem(images[row].path, "duplicate", what, left_out=row in left_out, refuses=False)
            )
    return [row for row in rows if row not in left_out], problems


def _with_test_part(
    images: Sequence[Image], decoded: Sequence[Decoded], rows: Sequence[int], options: OwnOptions
) -> list[Image]:
    """The images with `test_share` of each class's training images as the test part.

    Which they are depends on the seed and on the pixels, not on names or order of the files."""
    salt = options.seed.to_bytes(8, "big")
    changed = list(images)
    members: dict[str, list[int]] = {}
    for row in rows:
        if images[row].part == TRAIN:
            members.setdefault(images[row].label, []).append(row)
    for group in members.values():
        group.sort(key=lambda row: (hashlib.sha256(salt + decoded[row].digest).digest(), row))
        for row in group[: max(1, round(options.test_share * len(group))) if len(group) > 1 else 0]:
            changed[row] = replace(images[row], part=TEST)
    return changed


def _write_part(
    folder: Path,
    name: str,
    rows: Sequence[_Row],
    images: Sequence[Image],
    pixels: Path,
    shape: Shape,
    base: Path,
) -> None:
    """Write the arrays of a part; paths are from `base` on."""
    size = math.prod(shape)
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(rows), *shape)}
    with pixels.open("rb") as raw, (folder / f"{name}_images.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for row in rows:
            file.write(os.pread(raw.fileno(), size, row.source * size))
    np.save(folder / f"{name}_labels.npy", np.array([row.label for row in rows], np.int64))
    np.save(folder / f"{name}_index.npy", np.array([row.source for row in rows], np.int64))
    paths = [os.fsencode(os.path.relpath(images[row.source].path, base)) for row in rows]
    packed: NDArray[np.bytes_] = np.array(paths, dtype=np.bytes_)
    np.save(folder / f"{name}_paths.npy", packed)


def _as_csv(problems: Sequence[Problem]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(("path", "kind", "cause", "left_out"))
    writer.writerows((p.path, p.kind, p.cause, "yes" if p.left_out else "no") for p in problems)
    return text.getvalue().encode(errors="backslashreplace")


def _counted(problems: Sequence[Problem]) -> list[str]:
    """Every problem on a line, or their number by kind where there are many."""
    out = [p for p in problems if p.left_out]
    notes = []
    for left_out, group in (("Left out", out), ("Taken", [p for p in problems if not p.left_out])):
        if not group:
            continue
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in Counter(p.kind for p in group).items())
        notes.append(f"{left_out}: {kinds}.")
        notes += [f"  {problem}" for problem in group[:SHOWN]]
        if len(group) > SHOWN:
            notes.append(f"  … and {len(group) - SHOWN:,} more (--problems FILE writes all)")
    return notes
