from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noisybench import datasets
from noisybench.config import Config
from noisybench.errors import DataError, InvalidValue
from noisybench.labels.drawing import labels_sha256
from noisybench.labels.masks import Mask
from noisybench.split import Split, split

N = 1297


def division(keep: Any = None, **values: Any) -> Split:
    dataset = datasets.load("digits")
    return split(Config.create(**values), dataset, dataset.train_labels, keep)


@given(st.integers(10, N), st.floats(0.1, 0.9), st.integers(0, 100))
def test_training_and_validation_divide_the_subset(size: int, fraction: float, seed: int) -> None:
    parts = division(train_size=size, validation=fraction, seed=seed)
    assert len(parts.validation) == round(fraction * size)
    together = np.concatenate([parts.train, parts.validation])
    assert len(together) == len(np.unique(together)) == size
    assert 0 <= together.min() and together.max() < N


def test_all_losses_share_the_split_and_seeds_do_not() -> None:
    a, b, c = division(loss="cce", seed=1), division(loss="mae", seed=1), division(seed=2)
    assert np.array_equal(a.validation, b.validation) and not np.array_equal(a.validation, c.validation)


def test_a_mask_thins_out_the_training_part_alone() -> None:
    keep = np.arange(N) % 2 == 0
    whole, thinned = division(), division(keep)
    assert np.array_equal(thinned.train, [row for row in whole.train if row % 2 == 0])
    assert np.array_equal(thinned.validation, whole.validation)


def test_impossible_splits_are_refused() -> None:
    with pytest.raises(InvalidValue, match="1297 training images"):
        division(train_size=N + 1)
    with pytest.raises(InvalidValue, match="validate"):
        division(train_size=3, validation=0.1)
    with pytest.raises(InvalidValue, match="keeps none"):
        division(np.zeros(N, dtype=bool))


def mask(**changes: Any) -> Mask:
    dataset = datasets.load("digits")
    values = {
        "keep": np.arange(N) % 3 == 0,
        "source_index": dataset.train_index,
        "dataset": "digits",
        "fingerprint": dataset.fingerprint,
        "noise": "uniform",
        "rate": 0.4,
        "draws": "independent",
        "seed": 0,
        "labels_sha256": labels_sha256(dataset.train_labels),
        "run": "abc",
        "threshold": 0.5,
    }
    return Mask(**{**values, **changes})


def test_a_mask_survives_its_file(tmp_path: Path) -> None:
    (tmp_path / "mask.npz").write_bytes(mask().encode())
    read = Mask.read(tmp_path / "mask.npz")
    assert np.array_equal(read.keep, mask().keep) and read.digest == mask().digest
    digits = datasets.load("digits")
    read.fit(digits, labels_sha256(digits.train_labels))
    assert mask(keep=~mask().keep).digest != mask().digest
    with pytest.raises(DataError, match="made for digits with other content"):
        mask(fingerprint="other").fit(digits, mask().labels_sha256)
    with pytest.raises(DataError, match="run abc"):
        read.fit(digits, labels_sha256(digits.train_labels[::-1]))


def test_files_that_are_no_masks_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mask.npz"
    with pytest.raises(DataError, match="no file"):
        Mask.read(path)
    path.write_bytes(b"PK nothing")
    with pytest.raises(DataError, match="mask.npz"):
        Mask.read(path)
    np.savez(path, keep=np.ones(3, dtype=bool))
    with pytest.raises(DataError, match="mask.npz"):
        Mask.read(path)
    path.write_bytes(mask(keep=np.ones(N)).encode())
    with pytest.raises(DataError, match="bool"):
        Mask.read(path)


@pytest.mark.parametrize("name, value", [("rate", [0.4]), ("seed", 0.5), ("threshold", True), ("run", 3)])
def test_a_mask_with_a_value_of_another_type_is_refused(tmp_path: Path, name: str, value: Any) -> None:
    (tmp_path / "mask.npz").write_bytes(mask(**{name: value}).encode())
    with pytest.raises(DataError, match=f"its {name} must be"):
        Mask.read(tmp_path / "mask.npz")
