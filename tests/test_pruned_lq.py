"""Truncated L_q in other people's loops: Algorithm 1 as a criterion."""

import copy

import pytest
import torch
from commands import as_json

from noisybench import datasets
from noisybench.errors import InvalidValue
from noisybench.losses import LqLoss, PrunedLqLoss


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


def test_parameters_have_bounds() -> None:
    with pytest.raises(InvalidValue):
        PrunedLqLoss(2, q=-1)
    with pytest.raises(InvalidValue):
        PrunedLqLoss(2, k=2)


@pytest.mark.slow
def test_a_plain_loop_learns_digits_as_noisybench_does(database: object) -> None:
    """Where the bare truncated loss does not learn at all."""
    digits = datasets.load("digits")
    torch.manual_seed(0)
    images = torch.tensor(digits.train_images).float().div(255)
    tests = torch.tensor(digits.test_images).float().div(255)
    true = torch.tensor(digits.train_labels)
    given = torch.where(torch.rand(len(true)) < 0.4, (true + torch.randint(1, 10, true.shape)) % 10, true)
    layers = [torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 256), torch.nn.ReLU()]
    model = torch.nn.Sequential(torch.nn.Flatten(), *layers, torch.nn.Linear(256, 10))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    criterion = PrunedLqLoss(len(given))
    for epoch in range(20):
        optimiser.param_groups[0]["lr"] = 0.1 * 0.1 ** ((epoch >= 8) + (epoch >= 14))
        for rows in torch.randperm(len(given)).split(32):
            optimiser.zero_grad()
            criterion(model(images[rows]), given[rows], rows).backward()
            optimiser.step()
        if epoch >= 8 and epoch % 2 == 0:
            criterion.update(model(images).detach(), given)
    accuracy = (model(tests).argmax(dim=1) == torch.tensor(digits.test_labels)).float().mean().item()
    runs = [as_json("train", "--loss", "trunc-lq", "--seed", seed, "--quiet") for seed in range(3)]
    assert accuracy > sum(run["last_test_accuracy"] for run in runs) / 3 - 0.03
