"""Files that are damaged, malicious or not what they claim are refused; the data home stays clean."""

import gzip
import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from datasets_files import (
    colour,
    grey,
    write_archive,
    write_batches,
    write_idx,
    write_tree,
)
from PIL import Image

from noisybench import datasets
from noisybench.errors import DataError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NOISYBENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def damages(data: bytes, seed: int) -> list[tuple[str, bytes]]:
    """The file cut short, and with one byte changed, at its edges and at places between."""
    rng = np.random.default_rng(seed)
    places = {0, 1, 2, 3, 8, 17, len(data) // 2, len(data) - 9, len(data) - 1}
    places |= {int(place) for place in rng.integers(0, len(data), 15)}
    cut = [(f"cut at {place}", data[:place]) for place in sorted(places)]
    changed = []
    for place in sorted(places | {p for p in (*range(20), *range(20, 250, 4)) if p < len(data)}):
        byte = data[place] ^ int(rng.integers(1, 256))
        changed.append((f"changed at {place}", data[:place] + bytes([byte]) + data[place + 1 :]))
    return cut + changed


@pytest.mark.parametrize("layout", ["idx", "idx.gz", "batches", "archive", "tar", "tree"])
def test_a_damaged_file_is_refused_and_leaves_the_data_home_alone(
    layout: str, tmp_path: Path, home: Path
) -> None:
    name, (train, test) = "cifar10", (colour(10, 0), colour(10, 1))
    if layout.startswith("idx"):
        name, (train, test) = "fashion-mnist", (grey(10, 0), grey(10, 1))
        source = write_idx(tmp_path / "source", train, test, layout.removeprefix("idx"))
        victims = sorted(source.iterdir())[2:]
    elif layout == "batches":
        source = write_batches(tmp_path / "source", train, test)
        victims = [source / "data_batch_3"]
    elif layout == "tree":
        source = write_tree(tmp_path / "source", train, test)
        victims = [source / "train" / "deer" / "00004.png"]
    else:
        source = write_archive(tmp_path / "source", train, test, "w" if layout == "tar" else "w:gz")
        victims = [source]
    fingerprint = datasets.add(name, source).fingerprint
    before = snapshot(home)
    refused = 0
    for victim in victims:
        intact = victim.read_bytes()
        for what, damaged in damages(intact, seed=len(victims)):
            victim.write_bytes(damaged)
            try:
                found = datasets.add(name, source).fingerprint
            except DataError as error:
                refused += 1
                assert str(source) in str(error), what
                assert snapshot(home) == before, what
            else:
                assert found == fingerprint or "changed" in what, what
                datasets.verify(name)
                victim.write_bytes(intact)
                datasets.add(name, source)
                before = snapshot(home)
        victim.write_bytes(intact)
    assert refused >= 20
    assert [p.name for p in (home / "datasets").iterdir()] == [name]


class Malicious:
    def __init__(self, function: Callable, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable, tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize("protocol", range(6))
def test_a_malicious_pickle_is_not_executed(tmp_path: Path, protocol: int) -> None:
    folder = write_batches(tmp_path, colour(10, 0), colour(10, 1))
    marker = tmp_path / "executed"
    for function, *arguments in (
        (os.mkdir, str(marker)),
        (eval, f"__import__('os').mkdir({str(marker)!r})"),
        (np.save, str(marker), 0),
    ):
        (folder / "data_batch_2").write_bytes(pickle.dumps(Malicious(function, *arguments), protocol))
        with pytest.raises(DataError, match=r"data_batch_2.* which is not allowed"):
            datasets.add("cifar10", folder)
        assert not list(tmp_path.glob("executed*"))


def dumped(**content: object) -> bytes:
    return pickle.dumps(content, 4)


ROWS = np.zeros((2, 3072), np.uint8)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (pickle.dumps([1, 2]), "no dictionary"),
        (dumped(labels=[0, 1]), "'data' is not"),
        (dumped(data=ROWS), "'labels' is not"),
        (dumped(data=ROWS[:, 1:], labels=[0, 1]), "'data' is not an array of 3072 bytes"),
        (dumped(data=ROWS.astype(np.float32), labels=[0, 1]), "'f4' instead of unsigned bytes"),
        (dumped(data=ROWS, labels=[0, 1, 2]), "2 images, but 3 labels"),
        (dumped(data=ROWS, labels=[0, 10]), "a label is 10, but must be from 0 to 9"),
        (dumped(data=ROWS, labels=[-1, 0]), "a label is -1"),
        (dumped(data=ROWS, labels=[0, 2**80]), "'labels' is not"),
        (dumped(data=ROWS, labels=[0, "1"]), "'labels' is not"),
        (dumped(data=ROWS[:0], labels=[]), "there are no images"),
    ],
)
def test_a_batch_that_is_not_what_it_claims_is_refused(tmp_path: Path, batch: bytes, message: str) -> None:
    folder = write_batches(tmp_path, colour(10, 0), colour(10, 1))
    (folder / "data_batch_4").write_bytes(batch)
    with pytest.raises(DataError, match="data_batch_4") as caught:
        datasets.add("cifar10", folder)
    assert message in str(caught.value)


def test_an_archive_of_another_data_set_is_refused(tmp_path: Path) -> None:
    archive = write_archive(tmp_path, colour(10, 0), colour(10, 1))
    with pytest.raises(DataError, match=r"no file called train: is it cifar-100-python\.tar\.gz"):
        datasets.add("cifar100", archive)


def test_a_missing_batch_is_named(tmp_path: Path) -> None:
    folder = write_batches(tmp_path, colour(10, 0), colour(10, 1))
    (folder / "data_batch_5").unlink()
    with pytest.raises(DataError, match=r"data_batch_5 is missing"):
        datasets.add("cifar10", folder)


def test_idx_files_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    images, labels = grey(20, 0)
    for number, (wrong, message) in enumerate(
        [
            ((images, labels[:-1]), "20 images, but 19 labels"),
            ((images, labels + 1), "a label is 10"),
            ((images[:, 1:], labels), "the images are 27×28×1, but must be 28×28×1"),
            ((images[:0], labels[:0]), "there are no images"),
        ]
    ):
        source = write_idx(tmp_path / str(number), wrong, grey(10, 1))
        with pytest.raises(DataError, match="train-images") as caught:
            datasets.add("fashion-mnist", source)
        assert message in str(caught.value)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_files_with_more_than_their_header_promises_are_refused(tmp_path: Path, suffix: str) -> None:
    source = write_idx(tmp_path / "source", grey(10, 0), grey(10, 1), suffix)
    labels = source / f"t10k-labels-idx1-ubyte{suffix}"
    data = labels.read_bytes()
    labels.write_bytes(gzip.compress(gzip.decompress(data) + b"\0") if suffix else data + b"\0")
    with pytest.raises(DataError, match="t10k-labels.* holds 11 bytes of data, but its header promises 10"):
        datasets.add("fashion-mnist", source)


def test_a_tree_that_is_not_what_it_claims_is_refused(tmp_path: Path) -> None:
    train, test = colour(10, 0), colour(10, 1)

    def refused(number: int, spoil: Callable[[Path], object], *words: str) -> None:
        source = write_tree(tmp_path / str(number), train, test)
        spoil(source)
        with pytest.raises(DataError) as caught:
            datasets.add("cifar10", source)
        message = str(caught.value)
        assert str(source) in message and all(word in message for word in words), message

    def saved(image: Image.Image) -> Callable[[Path], object]:
        return lambda root: image.save(root / "train" / "bird" / "x.png")

    def renamed(old: str, new: str) -> Callable[[Path], object]:
        return lambda root: (root / "train" / old).rename(root / "train" / new)

    refused(0, renamed("cat", "kitten"), "kitten is the name of no class", "airplane")
    refused(1, renamed("cat", "10"), "10 is the name of no class")
    refused(2, lambda root: (root / "train" / "CAT").mkdir(), "folders of the same class")
    refused(3, lambda root: (root / "test" / "frog" / "00006.png").unlink(), "frog holds no .png file")
    refused(4, renamed("dog", ".dog"), "no folder for: dog")
    refused(5, renamed("", "../elsewhere"), "train is missing")
    refused(6, saved(Image.new("RGB", (31, 32))), "x.png is 32×31 RGB, but must be 32×32 RGB")
    refused(7, saved(Image.new("L", (32, 32))), "x.png is 32×32 L, but must be 32×32 RGB")
    jpeg = io.BytesIO()
    Image.new("RGB", (32, 32)).save(jpeg, "JPEG")
    refused(
        8,
        lambda root: (root / "train" / "cat" / "x.png").write_bytes(jpeg.getvalue()),
        "x.png is not a PNG",
    )


def test_all_problems_of_a_tree_are_listed_at_once(tmp_path: Path, home: Path) -> None:
    source = write_tree(tmp_path / "source", colour(20, 0), colour(10, 1))
    cat, test = source / "train" / "cat", source / "test"
    whole = (cat / "00007.png").read_bytes()
    Image.new("RGBA", (32, 32)).save(cat / "alpha.png")
    Image.new("P", (32, 32)).save(cat / "palette.png")
    Image.new("I;16", (32, 32)).save(cat / "deep.png")
    Image.new("RGB", (33, 32)).save(cat / "large.png")
    Image.new("RGB", (32, 32)).save(cat / "photo.jpg")
    (cat / "misnamed.png").write_bytes((cat / "photo.jpg").read_bytes())
    (cat / "empty.png").write_bytes(b"")
    (cat / "cut.png").write_bytes(whole[:-100])
    (cat / "notes.txt").write_text("cats")
    (cat / "more").mkdir()
    (cat / "gone.png").symlink_to("nothing")
    os.mkfifo(cat / "pipe.png")
    (source / "train" / "stray.png").write_bytes(whole)
    (test / "kitten").mkdir()
    for file in (test / "dog").iterdir():
        file.unlink()
    (test / "ship").rename(test / ".ship")
    (cat / ".DS_Store").write_bytes(b"left behind by a system, as Thumbs.db")
    found = [
        *(
            "alpha.png is 32×32 RGBA",
            "palette.png is 32×32 P",
            "deep.png is 32×32 I;16",
            "large.png is 32×33",
        ),
        *(
            "photo.jpg is not a .png",
            "misnamed.png is not a PNG",
            "empty.png is empty",
            "cut.png is damaged",
        ),
        *("notes.txt is not a .png", "more is a folder", "gone.png is missing", "pipe.png is not"),
        *("stray.png lies in no", "kitten is the name of no class", "dog holds no", "no folder for: ship"),
    ]
    before = snapshot(home)
    with pytest.raises(DataError, match=f"because of {len(found)} problems") as caught:
        datasets.add("cifar10", source)
    assert all(words in str(caught.value) for words in found), caught.value
    assert snapshot(home) == before
