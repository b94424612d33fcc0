"""Labels from a file: a noise without a rate."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from noisybench import datasets
from noisybench.config import Config
from noisybench.errors import DataError, InvalidValue
from noisybench.inputs import Inputs, with_inputs
from noisybench.labels.label_file import GivenLabels, LabelFile
from noisybench.store import Store
from noisybench.sweeps.observer import RunObserver
from noisybench.sweeps.run import Job, run, run_data


def human(**changes: Any) -> LabelFile:
    """Labels of digits in the order of their source, of which every fourth is wrong."""
    digits = datasets.load("digits")
    order = np.argsort(digits.train_index)
    clean = digits.train_labels[order]
    given = np.where(np.arange(len(clean)) % 4 == 0, (clean + 1) % 10, clean)
    return LabelFile(
        **{"name": "worse_label", "given": given, "index": np.sort(digits.train_index), **changes}
    )


def fitted(**changes: Any) -> GivenLabels:
    return human(**changes).fit(datasets.load("digits"))


def test_a_run_has_the_labels_the_name_and_the_measured_rate() -> None:
    config, inputs = with_inputs({"seed": 3}, Inputs(labels=fitted()))
    assert config.noise == "file(key=worse_label)" and config.rate == pytest.approx(0.25, abs=1e-3)
    digits, split = datasets.load("digits"), run_data(config, inputs).split
    wrong = split.given != split.true
    assert np.array_equal(split.true, digits.train_labels) and wrong.mean() == config.rate
    assert np.array_equal(split.given[wrong], (digits.train_labels[wrong] + 1) % 10)


def test_other_labels_are_another_run_and_the_order_of_the_file_is_not() -> None:
    file = human()
    assert file.index is not None
    back = fitted(given=file.given[::-1], index=file.index[::-1])
    other = fitted(given=np.roll(file.given, 1))
    labels = (fitted(), back, other)
    first, same, another = (with_inputs({}, Inputs(labels=each))[0].identity for each in labels)
    assert first == same != another


def test_what_does_not_fit_is_refused() -> None:
    file, digits = human(), datasets.load("digits")
    true = digits.train_labels[np.argsort(digits.train_index)]
    for given in ({"rate": 0.1}, {"noise": "uniform"}):
        with pytest.raises(InvalidValue, match="Omit it"):
            with_inputs(given, Inputs(labels=fitted()))
    for wrong in ({"given": file.given[1:], "index": None}, {"given": file.given + 1}):
        with pytest.raises(DataError):
            fitted(**wrong)
    with pytest.raises(DataError, match="another order"):
        fitted(clean=np.roll(true, 1))
    with pytest.raises(DataError, match="another data set"):
        fitted(clean=np.roll(file.given, 1))
    with pytest.raises(InvalidValue, match="--labels"):
        Config.create(noise="file")


def test_a_run_on_them_completes(tmp_path: Path) -> None:
    config, inputs = with_inputs({"epochs": 1}, Inputs(labels=fitted()))
    store = Store.open(tmp_path / "runs.db")
    row = run(Job(config, inputs=inputs), store, torch.device("cpu"), RunObserver())
    assert row["status"] == "completed" and row["noise"] == "file(key=worse_label)"
