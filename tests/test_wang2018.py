"""Iterative learning with open-set noisy labels, against its formulas written out."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from commands import as_json
from hypothesis import given
from hypothesis import strategies as st
from test_training import CPU, same_bits

from noisybench import datasets
from noisybench.batches import Step, epoch_steps
from noisybench.config import Config
from noisybench.errors import InvalidValue
from noisybench.inputs import corrupt
from noisybench.methods.wang2018 import contrastive, inverse_lof
from noisybench.results import Pruning
from noisybench.split import split
from noisybench.training.loop import Training


def training(**values: Any) -> Training:
    config = Config.create(**{"loss": "wang2018", "model": "mlp", "train_size": 400, "epochs": 7, **values})
    digits = datasets.load("digits")
    drawn = corrupt(config, digits)
    division = split(config, digits, drawn.given)
    return Training(config, digits, division, drawn.transition, CPU)


@given(n=st.integers(2, 12), classes=st.integers(1, 4), seed=st.integers(0, 999))
def test_contrastive_loss_pair_by_pair(n: int, classes: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    features = torch.tensor(random.normal(size=(n, 3)) * 0.5)
    labels = torch.tensor(random.integers(0, classes, n))
    clean = torch.tensor(random.random(n) < 0.6)
    losses = []
    for i, j in combinations(range(n), 2):
        d = float((features[i] - features[j]).norm())
        same = labels[i] == labels[j]
        if clean[i] and clean[j]:
            losses.append(d**2 if same else max(1 - d, 0) ** 2)
        elif (clean[i] or clean[j]) and same:
            losses.append(max(1 - d, 0) ** 2)
    expected = np.mean(losses) if losses else 0
    assert contrastive(features, labels, clean).item() == pytest.approx(expected)


def test_contrastive_gradient_is_finite_where_features_coincide() -> None:
    features = torch.zeros(4, 3, requires_grad=True)
    contrastive(features, torch.tensor([0, 0, 1, 1]), torch.ones(4, dtype=torch.bool)).backward()
    assert features.grad is not None and features.grad.isfinite().all()


def lof(features: Any, k: int) -> Any:
    """Breunig et al. 2000, definitions 3 to 7, for distinct distances."""
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    distance = 1 - unit @ unit.T
    np.fill_diagonal(distance, np.inf)
    nearest = np.argsort(distance, axis=1)[:, :k]
    k_distance = np.take_along_axis(distance, nearest, 1)[:, -1]
    reach = np.maximum(k_distance[nearest], np.take_along_axis(distance, nearest, 1))
    density = 1 / reach.mean(axis=1)
    return density[nearest].mean(axis=1) / density


@given(n=st.integers(4, 40), k=st.integers(1, 60), seed=st.integers(0, 99))
def test_the_score_is_one_over_the_local_outlier_factor(n: int, k: int, seed: int) -> None:
    features = np.random.default_rng(seed).normal(size=(n, 6))
    assert inverse_lof(features, k) == pytest.approx(1 / lof(features, min(k, n // 2)), rel=1e-6)


@pytest.mark.parametrize("neighbours", [20, 49, 2000])
def test_samples_away_from_their_class_score_low(neighbours: int) -> None:
    """Also with more neighbours than there are samples, where the bare factor tells nothing."""
    random = np.random.default_rng(0)
    features = random.normal([10, 0, 0], 1, size=(50, 3))
    features[:10] = random.normal(0, 5, size=(10, 3)) - [20, 0, 0]
    assert set(inverse_lof(features, neighbours).argsort()[:10]) == set(range(10))
    assert np.abs(lof(features, 49) - 1).max() < 0.01, "with all the others it tells nothing"
    assert inverse_lof(features[:1], 20).tolist() == [1.0]


def reference_loss(subject: Training, step: Step) -> torch.Tensor:
    """The loss of a step from its description, sample by sample."""
    network, given_labels = subject.model.network, subject.given[step.rows]
    features = network.embed(subject.train_images.augmented(step))
    first = network.output(features).log_softmax(1)
    second = subject.model.second(features).log_softmax(1)
    clean, weight = subject.state["clean"][step.rows], subject.state["weight"][step.rows]
    n = len(given_labels)
    of_first = [-first[i, given_labels[i]] for i in range(n) if clean[i]]
    of_second = [-second[i, given_labels[i]] * weight[i] for i in range(n)]
    pairs = contrastive(features, given_labels, clean)
    l2 = 0.01 * network.features.weight.pow(2).sum()
    return torch.stack(of_first).mean() + torch.stack(of_second).mean() + pairs + l2


@pytest.mark.parametrize("rounds", [0, 1])
def test_a_step_follows_the_gradient_of_its_loss(rounds: int) -> None:
    subject = training(epochs=2, prune_from=1, batch_size=40)
    for event in subject.run():
        if isinstance(event, Pruning) or not rounds:
            break
    assert subject.state["weight"][subject.state["clean"]] == pytest.approx(0.1 if rounds else 1)
    assert subject.state["rounds"] == rounds and (subject.n_kept == 360) == (rounds == 0)
    rows = np.arange(360)
    step = next(epoch_steps(rows, 40, False, 0, 9, CPU))
    subject.model.train()
    parameters = list(subject.model.parameters())
    expected = torch.autograd.grad(reference_loss(subject, step), parameters)
    subject._step(step)
    for parameter, gradient in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-6)


def test_the_lowest_half_of_each_class_by_the_sum_of_scores_are_outliers() -> None:
    subject = training(epochs=4, prune_from=1, prune_every=1, neighbours=10)
    sums = np.zeros(360)
    seen = []
    given_labels, wrong = subject.given.numpy(), subject.wrong.numpy()
    for event in subject.run():
        if not isinstance(event, Pruning):
            continue
        seen.append(event.epoch)
        subject.model.eval()
        features = subject.model.network.embed(subject.train_images.plain(0, 360)).detach().numpy()
        for y in range(10):
            members = np.flatnonzero(given_labels == y)
            sums[members] += inverse_lof(features[members].astype(float), 10)
            outliers = members[~subject.state["clean"].numpy()[members]]
            assert len(outliers) == len(members) // 2
            assert sums[outliers].max() <= np.setdiff1d(sums[members], sums[outliers]).min()
        clean = subject.state["clean"].numpy()
        assert subject.state["weight"].numpy() == pytest.approx(
            0.1 * np.where(clean, 1, sums / len(seen)), rel=1e-4
        )
        assert event == Pruning(
            epoch=event.epoch,
            model_epoch=event.epoch,
            n_kept=clean.sum(),
            n_dropped=(~clean).sum(),
            precision=pytest.approx(wrong[~clean].mean()),
            recall=pytest.approx(wrong[~clean].sum() / wrong.sum()),
        )
    assert seen == [1, 2, 3]


def test_it_brings_its_own_protocol_and_the_user_may_change_it() -> None:
    config = Config.create(loss="wang2018", dataset="cifar10")
    assert (config.model, config.epochs, config.batch_size) == ("cnn6(width=64)", 95, 100)
    assert (config.optimiser, config.lr, config.weight_decay) == ("adam", 0.001, 0)
    assert (config.augment, config.milestones) == ("none", ())
    assert (config.prune_from, config.prune_every) == (5, 10)
    longer = Config.create(loss="wang2018", dataset="cifar10", epochs=100, batch_size=64)
    assert (longer.epochs, longer.batch_size, longer.prune_every) == (100, 64, 10)
    with pytest.raises(InvalidValue, match="resnet18.*cnn6, mlp"):
        Config.create(loss="wang2018", model="resnet18")
    assert (training().mean == 0.5).all()


def test_runs_are_reproducible_and_paired() -> None:
    a, b = training(), training()
    list(a.run()), list(b.run())
    assert same_bits(a, b)
    config, digits = Config.create(loss="cce", train_size=400), datasets.load("digits")
    division = split(config, digits, corrupt(config, digits).given)
    other = Training(config, digits, division, np.eye(10), CPU)
    fresh = training().model.network
    for x, y in zip(fresh.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(x, y), "the network starts as that of the other losses"


def test_from_the_command_line(database: Any) -> None:
    options = ("--model", "cnn6(width=8)", "--epochs", 7, "--train-size", 300, "--quiet")
    run = as_json("train", "--loss", "wang2018", "--neighbours", 10, *options)
    shown = as_json("runs", "show", run["run"])
    assert shown["loss"] == "wang2018(neighbours=10)" and len(shown["details"]["prunings"]) == 1
    assert run["n_kept"] == shown["details"]["prunings"][0]["n_kept"] < run["n_train"]
    evaluated = as_json("evaluate", run["run"])
    assert evaluated["accuracy"] == pytest.approx(run["test_accuracy"])
