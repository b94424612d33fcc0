"""The same images give the same data set, from whatever source they come."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from datasets_files import (
    CLASSES,
    CLOTHES,
    colour,
    grey,
    python2_pickle,
    python3_pickle,
    write_archive,
    write_batches,
    write_idx,
    write_tree,
)

from noisybench import datasets
from noisybench.datasets.builtin import CIFAR100_NAMES
from noisybench.errors import DataError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NOISYBENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def assert_same(a: datasets.Dataset, b: datasets.Dataset) -> None:
    assert a.fingerprint == b.fingerprint
    for field in ("train_images", "train_labels", "test_images", "test_labels"):
        np.testing.assert_array_equal(getattr(a, field), getattr(b, field))


def prepared(name: str, source: Path) -> datasets.Dataset:
    datasets.add(name, source)
    return datasets.load(name)


def test_cifar10_is_the_same_from_every_source(tmp_path: Path) -> None:
    train, test = colour(40, 0), colour(20, 1)
    first = prepared("cifar10", write_tree(tmp_path / "tree", train, test))
    assert first.train_images.shape == (40, 32, 32, 3) and not first.canonical
    np.testing.assert_array_equal(train[0][first.train_index], first.train_images)
    np.testing.assert_array_equal(train[1][first.train_index], first.train_labels)
    np.testing.assert_array_equal(test[0][first.test_index], first.test_images)

    order = np.random.default_rng(2).permutation(40)
    shuffled = train[0][order], train[1][order]
    numbered = tuple(f"{number:02d}" for number in range(10))
    shouted = tuple(name.upper() + "!" for name in CLASSES)
    for source in (
        write_batches(tmp_path / "python2", train, test),
        write_batches(tmp_path / "shuffled", shuffled, test).parent,
        write_batches(tmp_path / "protocol2", train, test, python3_pickle(2)),
        write_batches(tmp_path / "protocol4", train, test, python3_pickle(4)),
        write_batches(tmp_path / "protocol5", train, test, python3_pickle(5)),
        write_archive(tmp_path / "archive", train, test),
        write_archive(tmp_path / "root", train, test).parent,
        write_archive(tmp_path / "tar", train, test, "w"),
        write_tree(tmp_path / "numbers", train, test, numbered),
        write_tree(tmp_path / "shouted", train, test, shouted),
    ):
        assert_same(prepared("cifar10", source), first)
    again = prepared("cifar10", tmp_path / "shuffled")
    np.testing.assert_array_equal(shuffled[0][again.train_index], again.train_images)


def test_fashion_mnist_is_the_same_from_every_source(tmp_path: Path) -> None:
    train, test = grey(20, 0), grey(10, 1)
    first = prepared("fashion-mnist", write_idx(tmp_path / "gz", train, test))
    assert first.train_images.shape == (20, 28, 28, 1)
    np.testing.assert_array_equal(train[0][first.train_index], first.train_images)
    write_idx(tmp_path / "root" / "FashionMNIST" / "raw", train, test, "")
    assert_same(prepared("fashion-mnist", tmp_path / "root"), first)
    assert_same(prepared("fashion-mnist", write_tree(tmp_path / "tree", train, test, CLOTHES)), first)


def test_cifar100_is_read_from_batches_and_tree_by_its_fine_labels(tmp_path: Path) -> None:
    train, test = colour(100, 0, 100), colour(100, 1, 100)
    folder = tmp_path / "root" / "cifar-100-python"
    folder.mkdir(parents=True)
    (folder / "train").write_bytes(python2_pickle(train, "fine_labels"))
    (folder / "test").write_bytes(python2_pickle(test, "fine_labels"))
    batches = prepared("cifar100", tmp_path / "root")
    assert_same(prepared("cifar100", write_tree(tmp_path / "tree", train, test, CIFAR100_NAMES)), batches)


def test_one_changed_pixel_or_label_changes_the_fingerprint(tmp_path: Path) -> None:
    train, test = colour(40, 0), colour(20, 1)
    images, labels = train[0].copy(), train[1].copy()
    images[3, 4, 5, 1] ^= 1
    labels[7] = 9
    sources = [
        write_batches(tmp_path / "a", train, test),
        write_batches(tmp_path / "b", (images, train[1]), test),
        write_batches(tmp_path / "c", (train[0], labels), test),
        write_batches(tmp_path / "d", test, train),
    ]
    assert len({prepared("cifar10", source).fingerprint for source in sources}) == 4


def test_a_path_that_holds_nothing_known_is_refused_with_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere does not exist"):
        datasets.add("cifar10", tmp_path / "nowhere")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="cifar-10-python.tar.gz(.|\n)*train/<class>"):
        datasets.add("cifar10", empty)
    (tmp_path / "text").write_text("not an archive")
    with pytest.raises(DataError, match="text is not a complete tar archive"):
        datasets.add("cifar10", tmp_path / "text")
    with pytest.raises(DataError, match="text holds nothing that is known"):
        datasets.add("fashion-mnist", tmp_path / "text")
    with pytest.raises(DataError, match="leave out --from"):
        datasets.add("digits", empty)


def fake_torchvision(monkeypatch: pytest.MonkeyPatch, cifar10: Callable[..., None]) -> None:
    """Stand in for torchvision, which would take seconds to import and need the internet."""
    module = SimpleNamespace(datasets=SimpleNamespace(CIFAR10=cifar10))
    monkeypatch.setitem(sys.modules, "torchvision", module)


def test_a_download_is_read_and_its_folder_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, test = colour(10, 0), colour(10, 1)
    roots = []

    def download(root: str, download: bool) -> None:
        assert download
        roots.append(Path(root))
        write_archive(Path(root), train, test)

    fake_torchvision(monkeypatch, download)
    assert datasets.add("cifar10").source == "torchvision"
    downloaded = datasets.load("cifar10")
    assert not roots[0].exists()
    assert_same(prepared("cifar10", write_batches(tmp_path / "batches", train, test)), downloaded)


def test_without_internet_the_error_names_the_alternatives(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(root: str, download: bool) -> None:
        raise RuntimeError("Error downloading:\nTried mirror, got:\n<urlopen error: unknown name>\n")

    fake_torchvision(monkeypatch, download)
    with pytest.raises(DataError) as caught:
        datasets.add("cifar10")
    message = str(caught.value)
    assert "(<urlopen error: unknown name>)" in message
    assert "--from PATH" in message and "cifar-10-python.tar.gz" in message and "train/<class>" in message
