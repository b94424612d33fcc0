"""Truncated L_q in other people's loops: Algorithm 1 as a criterion."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from noisybench import datasets
from noisybench.config import Config
from noisybench.errors import InvalidValue
from noisybench.inputs import corrupt
from noisybench.losses import LqLoss, PrunedLqLoss
from noisybench.split import split
from noisybench.training.evaluation import accuracy
from noisybench.training.loop import Training

GUIDE = (Path(__file__).parents[1] / "noisybench" / "README.md").read_text()


def test_before_the_first_update_it_is_lq() -> None:
    logits, target, rows = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1]), torch.arange(6)
    ours = PrunedLqLoss(6, q=0.3)(logits, target, rows)
    torch.testing.assert_close(ours, LqLoss(q=0.3)(logits, target))


def test_only_samples_with_a_softmax_above_k_are_kept_and_have_a_gradient() -> None:
    criterion = PrunedLqLoss(3, k=0.5)
    softmax = torch.tensor([[0.51, 0.49], [0.49, 0.51], [0.2, 0.8]])
    criterion.update(softmax.log(), torch.tensor([0, 0, 0]))
    assert criterion.kept.tolist() == [True, False, False]
    logits = torch.zeros(3, 2, requires_grad=True)
    criterion(logits, torch.tensor([0, 0, 0]), torch.arange(3)).backward()
    assert logits.grad is not None and logits.grad.abs().sum(dim=1).gt(0).tolist() == [True, False, False]


def test_a_batch_without_a_kept_sample_has_loss_zero() -> None:
    criterion = PrunedLqLoss(2, k=1)
    criterion.update(torch.zeros(2, 2), torch.tensor([0, 1]))
    assert criterion(torch.zeros(2, 2), torch.tensor([0, 1]), torch.arange(2)).item() == 0


def test_the_kept_samples_are_part_of_the_state() -> None:
    criterion = PrunedLqLoss(2)
    criterion.update(torch.tensor([[5.0, 0.0], [5.0, 0.0]]), torch.tensor([0, 1]))
    other = PrunedLqLoss(2)
    other.load_state_dict(copy.deepcopy(criterion.state_dict()))
    assert other.kept.tolist() == [True, False]


def test_ignored_samples_have_no_part_in_the_mean() -> None:
    logits, target = torch.randn(4, 3), torch.tensor([0, -100, 2, 1])
    ours = PrunedLqLoss(4)(logits, target, torch.arange(4))
    torch.testing.assert_close(ours, LqLoss()(logits, target))


def test_rows_may_be_of_any_integer_type() -> None:
    logits, target, criterion = torch.randn(3, 2), torch.tensor([0, 1, 1]), PrunedLqLoss(4)
    criterion.update(torch.tensor([[5.0, 0], [5, 0], [5, 0], [5, 0]]), torch.tensor([0, 1, 0, 0]))
    expected = criterion(logits, target, torch.tensor([3, 1, 0]))
    for dtype in (torch.uint8, torch.int16, torch.int32):
        assert torch.equal(criterion(logits, target, torch.tensor([3, 1, 0], dtype=dtype)), expected)


@pytest.mark.parametrize(
    ("target", "rows", "match"),
    [
        (torch.tensor([0, 1]), torch.tensor([0, 2]), "0 to 1"),
        (torch.tensor([0, 1]), torch.tensor([0, -1]), "0 to 1"),
        (torch.tensor([0, 1]), torch.tensor([0]), r"\(2,\)"),
        (torch.tensor([0, 1]), torch.tensor([0.0, 1.0]), "integer"),
        (torch.tensor([0, 1]), torch.tensor([True, True]), "integer"),
        (torch.tensor([0, 1]), [0, 1], "tensor"),
        (torch.tensor([0, 3]), torch.tensor([0, 1]), "label 3"),
        (torch.tensor([[0], [1]]), torch.tensor([0, 1]), "squeeze"),
        (torch.tensor([[0.5, 0.5, 0], [1, 0, 0]]), torch.tensor([0, 1]), "one label of each sample"),
    ],
)
def test_other_targets_and_rows_are_refused(target: torch.Tensor, rows: object, match: str) -> None:
    with pytest.raises(InvalidValue, match=match):
        PrunedLqLoss(2)(torch.zeros(2, 3), target, rows)


def test_an_update_is_of_all_samples_with_a_label_each() -> None:
    criterion = PrunedLqLoss(3)
    with pytest.raises(InvalidValue, match="all n samples"):
        criterion.update(torch.zeros(2, 2), torch.tensor([0, 1]))
    with pytest.raises(InvalidValue, match="one label of each sample"):
        criterion.update(torch.zeros(3, 2), torch.ones(3, 2) / 2)
    for n in (0, -1, 2.5, None):
        with pytest.raises(InvalidValue, match="number of training samples"):
            PrunedLqLoss(n)  # type: ignore[arg-type]


def test_parameters_have_bounds() -> None:
    with pytest.raises(InvalidValue):
        PrunedLqLoss(2, q=-1)
    with pytest.raises(InvalidValue):
        PrunedLqLoss(2, k=2)


@pytest.mark.slow
def test_the_example_of_the_guide_learns_digits_as_noisybench_does() -> None:
    """To within a point of accuracy, on the same images and labels."""
    (example,) = re.findall(r"^```python\n([^`]*PrunedLqLoss.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(example, names)
    digits = datasets.load("digits")
    test_images, test_labels = torch.tensor(digits.test_images) / 255, torch.tensor(digits.test_labels)
    accuracies = []
    for seed in range(5):
        config = Config.create(dataset="digits", loss="trunc-lq", rate=0.4, seed=seed)
        drawn = corrupt(config, digits)
        parts = split(config, digits, drawn.given)
        training = Training(config, digits, parts, drawn.transition, torch.device("cpu"))
        list(training.run())
        torch.manual_seed(seed)
        layers = [nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)]
        model = nn.Sequential(nn.Flatten(), *layers)
        images, given = torch.tensor(digits.train_images) / 255, torch.tensor(parts.given)
        names["learn"](model, images[parts.train], given[parts.train])
        ours = training.result().last_test_accuracy
        accuracies.append((ours, accuracy(model(test_images), test_labels)))
    by_noisybench, by_example = (sum(column) / 5 for column in zip(*accuracies, strict=True))
    assert by_example > by_noisybench - 0.01
