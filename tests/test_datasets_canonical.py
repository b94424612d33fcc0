"""The fingerprints on record are those of the published data sets."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from noisybench import datasets
from noisybench.datasets.dataset import checked_part, fingerprint
from noisybench.registry import DATASETS

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOISYBENCH_HOME", str(tmp_path / "home"))


def test_digits_prepare_themselves_and_are_canonical() -> None:
    digits = datasets.load("digits")
    assert digits.name == "digits" and digits.canonical
    assert digits.fingerprint == DATASETS["digits"].metadata.fingerprint
    assert (digits.n_classes, digits.shape) == (10, (8, 8, 1))
    assert digits.train_images.shape == (1297, 8, 8, 1) and digits.train_images.dtype == np.uint8
    assert digits.test_labels.shape == (500,) and digits.test_labels.dtype == np.int64
    assert datasets.verify("digits").canonical


def test_digits_are_those_of_scikit_learn() -> None:
    from sklearn.datasets import load_digits

    theirs, ours = load_digits(), datasets.load("digits")
    assert sorted(ours.train_index) == list(range(1297)) and sorted(ours.test_index) == list(
        range(1297, 1797)
    )
    for part in (ours.train, ours.test):
        np.testing.assert_array_equal(part.labels, theirs.target[part.index])
        assert abs(part.images[..., 0] - theirs.images[part.index] * 255 / 16).max() <= 0.5


@pytest.mark.skipif(not FASHION_MNIST.exists(), reason="Debian's dataset-fashion-mnist is not installed")
def test_debians_fashion_mnist_is_canonical() -> None:
    prepared = datasets.add("fashion-mnist", FASHION_MNIST)
    assert prepared.canonical and (prepared.n_train, prepared.n_test) == (60_000, 10_000)
    assert datasets.prepared("fashion-mnist").identity == "fashion-mnist"
    # The authors give the mean of the training images as 0.2860 of the full scale.
    assert abs(datasets.load("fashion-mnist").train_images.mean() / 255 - 0.2860) < 5e-5
    shutil.rmtree(datasets.data_home())


@pytest.mark.skipif(not SHARED.exists(), reason="the lossless CIFAR images are not beside the repository")
@pytest.mark.parametrize(
    ("name", "means"),
    [
        ("cifar10", (0.49139968, 0.48215841, 0.44653091)),
        ("cifar100", (0.50707516, 0.48654887, 0.44091784)),
    ],
)
def test_the_fingerprints_of_cifar_are_those_of_the_complete_images(
    name: str, means: tuple[float, ...]
) -> None:
    info = DATASETS[name].metadata
    parts = []
    for split in ("train", "test"):
        strips = [np.asarray(Image.open(path)) for path in sorted((SHARED / name).glob(f"{split}-*.webp"))]
        images = np.concatenate(strips).reshape(-1, *info.shape)
        labels = np.repeat(np.arange(len(info.classes)), len(images) // len(info.classes))
        parts.append(checked_part(split, images, labels, info.classes, info.shape))
    train, test = parts
    assert (len(train.labels), len(test.labels)) == info.counts
    np.testing.assert_allclose(train.images.mean(axis=(0, 1, 2)) / 255, means, atol=1e-8)
    found = fingerprint(info.classes, info.shape, train.keys(), test.keys())
    assert found == info.fingerprint
