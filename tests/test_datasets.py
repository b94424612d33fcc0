"""What is registered, and the data home."""

import json
import os
import resource
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from noisybench import datasets
from noisybench.config import Config, declared_fields
from noisybench.errors import DataError, UnknownName
from noisybench.registry import DATASETS

NAMES = ("digits", "fashion-mnist", "cifar10", "cifar100")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NOISYBENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Twenty training and ten test images in fashion-mnist's files."""
    folder = tmp_path / "small"
    folder.mkdir()
    for part, n in (("train", 20), ("t10k", 10)):
        images = np.random.default_rng(n).integers(0, 256, (n, 28, 28), np.uint8)
        labels = np.arange(n, dtype=np.uint8) % 10
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = struct.pack(f">{array.ndim + 1}I", 0x0800 + array.ndim, *array.shape)
            (folder / f"{part}-{kind}-ubyte").write_bytes(header + array.tobytes())
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_what_is_registered_is_complete(name: str) -> None:
    entry = DATASETS[name]
    classes, flips, protocol = entry.metadata.classes, entry.metadata.flips, entry.metadata.protocol
    assert len(set(classes)) == len(classes) == (100 if name == "cifar100" else 10)
    assert set(flips) | set(flips.values()) <= set(classes)
    assert all(source != target for source, target in flips.items())
    assert entry.help.endswith(".") and "\n" not in entry.help
    undefaulted = {f.name for f in fields(Config) if f.name in declared_fields()} & set(protocol)
    assert undefaulted == set(protocol)
    for field, value in protocol.items():
        assert declared_fields()[field].read(field, value) == value


def test_the_names_are_listed_without_heavy_imports() -> None:
    code = (
        "import sys; from noisybench import datasets; datasets.listing();"
        "print({'numpy', 'torch', 'PIL', 'pandas', 'sklearn'} & set(sys.modules))"
    )
    repository = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=repository)
    assert done.stdout == "set()\n", done.stderr


def test_first_use_by_many_at_once_prepares_digits_once(home: Path) -> None:
    barrier = threading.Barrier(8)

    def first_use(_: int) -> str:
        barrier.wait()
        return datasets.load("digits").name

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(first_use, range(8))) == {"digits"}
    assert os.listdir(home / "datasets") == ["digits"]
    datasets.verify("digits")


def test_first_use_leaves_alone_what_another_process_has_just_prepared(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets.load("digits")
    folder = home / "datasets" / "digits"
    prepared_by_other = folder.stat().st_ino
    # Both processes found nothing; the other was quicker.
    monkeypatch.setattr("noisybench.datasets.home.read_meta", lambda name: None)
    assert datasets.load("digits").canonical
    assert folder.stat().st_ino == prepared_by_other


def test_what_is_not_prepared_says_what_to_run() -> None:
    for use in (datasets.load, datasets.prepared, datasets.verify):
        with pytest.raises(DataError, match="noisybench data add cifar10 --from PATH"):
            use("cifar10")
    with pytest.raises(UnknownName, match="Did you mean 'cifar10'"):
        datasets.load("cifar-10")


def test_a_partial_set_is_named_by_its_fingerprint_and_can_be_insisted_on(small: Path) -> None:
    prepared = datasets.add("fashion-mnist", small)
    name = f"fashion-mnist@{prepared.fingerprint[:12]}"
    assert not prepared.canonical
    assert datasets.prepared("fashion-mnist").identity == datasets.prepared(name).identity == name
    assert datasets.load("fashion-mnist").name == datasets.load(name).name == name
    assert not datasets.verify(name).canonical
    for other in ("fashion-mnist@0123456789ab", "fashion-mnist@", name[:-1]):
        with pytest.raises(DataError, match=f"content prepared as fashion-mnist is {name}"):
            datasets.load(other)


def test_the_canonical_order_is_that_of_the_digests(small: Path) -> None:
    datasets.add("fashion-mnist", small)
    for part in (datasets.load("fashion-mnist").train, datasets.load("fashion-mnist").test):
        keys = part.keys()
        assert keys == sorted(keys)
        assert sorted(part.index) == list(range(len(keys)))


def test_images_can_be_written_in_memory_without_changing_the_files() -> None:
    before = datasets.load("digits").train_images[0].copy()
    loaded = datasets.load("digits")
    loaded.train_images[0] += 1
    np.testing.assert_array_equal(datasets.load("digits").train_images[0], before)


def test_adding_again_replaces(small: Path, home: Path) -> None:
    first = datasets.add("fashion-mnist", small)
    labels = small / "train-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-1] + b"\0")
    second = datasets.add("fashion-mnist", small)
    assert first.fingerprint != second.fingerprint == datasets.load("fashion-mnist").fingerprint
    assert os.listdir(home / "datasets") == ["fashion-mnist"]


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """Writing beyond `size` bytes fails, as on a full disk (Python ignores the signal)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_an_error_that_leaves_things_as_they_were(small: Path, home: Path) -> None:
    for present in ([], ["fashion-mnist"]):
        with files_limited_to(5_000), pytest.raises(DataError, match="fashion-mnist cannot be written"):
            datasets.add("fashion-mnist", small)
        assert os.listdir(home / "datasets") == present
        datasets.add("fashion-mnist", small)
        datasets.verify("fashion-mnist")


def test_an_interrupted_replacement_puts_the_old_one_back(
    small: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = datasets.add("fashion-mnist", small).fingerprint
    rename = Path.rename

    def interrupted(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        datasets.add("fashion-mnist", small)
    assert os.listdir(home / "datasets") == ["fashion-mnist"]
    assert datasets.verify("fashion-mnist").fingerprint == before


def test_damage_in_the_data_home_is_found(small: Path, home: Path) -> None:
    folder = home / "datasets" / "fashion-mnist"

    def damaged(match: str) -> None:
        with pytest.raises(DataError, match=match):
            datasets.verify("fashion-mnist")
        datasets.add("fashion-mnist", small)
        datasets.verify("fashion-mnist")

    datasets.add("fashion-mnist", small)
    images = bytearray((folder / "train_images.npy").read_bytes())
    for place in range(len(images)):
        if place >= 128 and place % 997:
            continue
        images[place] ^= 1
        (folder / "train_images.npy").write_bytes(images)
        images[place] ^= 1
        with pytest.raises(DataError, match="is damaged"):
            datasets.verify("fashion-mnist")
    (folder / "test_labels.npy").write_bytes((folder / "test_labels.npy").read_bytes()[:-1])
    damaged("test_labels.npy cannot be read")
    np.save(folder / "train_index.npy", np.arange(19))
    damaged("train_index.npy has the wrong shape")
    np.save(folder / "test_index.npy", np.arange(10, dtype=np.int32))
    damaged("test_index.npy has the wrong shape or type")
    np.save(folder / "test_labels.npy", np.array([{}] * 10), allow_pickle=True)
    damaged("test_labels.npy cannot be read")
    for label in (-1, 10):
        np.save(folder / "train_labels.npy", np.full(20, label))
        damaged("train_labels.npy holds a label that is no class")
    (folder / "test_images.npy").unlink()
    damaged("test_images.npy cannot be read")
    for field in ("images", "labels", "index"):
        path = folder / f"train_{field}.npy"
        np.save(path, np.load(path)[::-1])
    damaged("not in canonical order")
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps({**meta, "format": 0}))
    damaged("another version of noisybench")
    (folder / "meta.json").write_text(json.dumps({**meta, "fingerprint": "0" * 64}))
    damaged("its fingerprint is")
    for text in ("", "[]", "{}", '{"format": 1}', "\0"):
        (folder / "meta.json").write_text(text)
        (row,) = [row for row in datasets.listing() if row["name"] == "fashion-mnist"]
        assert not row["prepared"] and "meta.json cannot be read" in row["problem"]
        damaged("meta.json cannot be read")


def test_the_listing_says_what_is_there(small: Path, home: Path) -> None:
    datasets.add("fashion-mnist", small)
    rows = {row["name"]: row for row in datasets.listing()}
    assert tuple(rows) == NAMES
    ours, other = rows["fashion-mnist"], rows["cifar100"]
    assert ours["prepared"] and ours["canonical"] is False and (ours["n_train"], ours["n_test"]) == (20, 10)
    assert ours["source"] == str(small)
    assert ours["bytes"] == sum(p.stat().st_size for p in Path(ours["path"]).iterdir()) > 30 * 28 * 28
    assert not other["prepared"] and other["canonical"] is None and other["bytes"] == 0
    assert (other["n_train"], other["n_test"], other["shape"]) == (50_000, 10_000, (32, 32, 3))


def test_the_data_home_is_by_default_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    import platformdirs

    monkeypatch.delenv("NOISYBENCH_HOME")
    assert datasets.data_home() == Path(platformdirs.user_data_dir("noisybench"))
    monkeypatch.setenv("NOISYBENCH_HOME", "~/elsewhere")
    assert datasets.data_home() == Path.home() / "elsewhere"
