"""Methods that change labels, choose samples or compare views, each against its description in numpy."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import beta as beta_distribution
from scipy.stats import kstest
from test_field_layers import losses, softmax
from test_methods import stepped
from test_training import training

from noisybench.losses import js
from noisybench.methods.dividemix import beta
from noisybench.methods.rank_pruning import noise_rates


def divergence(p: Any, q: Any) -> Any:
    return np.where(p > 0, p * np.log(np.where(p > 0, p, 1) / q), 0).sum(1)


def test_gjs_is_the_divergence_of_the_label_and_two_views() -> None:
    made = training(loss="gjs(pi=0.4)", augment="flip-crop")
    _, batch, output = stepped(made)
    first, second = (softmax(logits) for logits in output)
    label = np.eye(10)[batch.given.numpy()]
    mixture = 0.4 * label + 0.3 * first + 0.3 * second
    parts = 0.4 * divergence(label, mixture) + 0.3 * divergence(first, mixture)
    expected = (parts + 0.3 * divergence(second, mixture)) / (-0.6 * np.log(0.6))
    assert losses(made, output, batch) == pytest.approx(expected, rel=1e-4)
    assert not np.allclose(first, second)


def test_gjs_of_a_view_twice_is_js() -> None:
    made = training(loss="gjs(pi=0.4)")
    _, batch, output = stepped(made)
    assert losses(made, (output[0], output[0]), batch) == pytest.approx(
        js(output[0].detach(), batch.given, pi=0.4).numpy(), rel=1e-4
    )


def test_joint_optimisation_moves_labels_to_the_mean_prediction_of_ten_epochs() -> None:
    made = training(loss="joint-optimisation(alpha=0.5, beta=0.3, update_from=12)", epochs=13, batch_size=36)
    given = np.eye(10)[made.given.numpy()]
    predictions, expected = np.zeros((13, len(given), 10)), given
    for epoch in range(1, 14):
        made.method.before_epoch(epoch, made.state)
        if epoch == 13:
            expected = predictions[2:12].mean(0)
        assert made.state["labels"].numpy() == pytest.approx(expected, abs=1e-5)
        logits = 3 * torch.randn(len(given), 10, generator=torch.Generator().manual_seed(epoch))
        p = softmax(logits)
        predictions[epoch - 1] = p
        rows = torch.arange(len(given))
        batch = made.batch(type(stepped(made)[0])(rows, *(torch.zeros(len(given), 2).long(), rows < 0)))
        loss = (
            -(expected * np.log(p)).sum(1) + 0.5 * -np.log(p.mean(0)).mean() + 0.3 * -(p * np.log(p)).sum(1)
        )
        assert losses(made, logits, batch) == pytest.approx(loss, rel=1e-4)


def test_labels_move_after_35_of_100_epochs_unless_it_is_said() -> None:
    assert training(loss="joint-optimisation", epochs=200).state["update_from"] == 70


def test_the_noise_rates_of_confident_examples_are_those_of_the_noise() -> None:
    """Where predictions are those of the noisy posterior, as the paper proves."""
    random = np.random.default_rng(0)
    member = random.random(100_000) < 0.3
    own = np.where(member, random.random(100_000) >= 0.2, random.random(100_000) < 0.1)
    g = np.where(member, 0.8, 0.1)
    missed, added = noise_rates(torch.tensor(g), torch.tensor(own))
    assert (missed, added) == pytest.approx((0.2, 0.1), abs=0.01)


def test_rank_pruning_leaves_out_the_least_confident_of_each_label_and_weighs_the_others() -> None:
    made = training(loss="rank-pruning", rate=0.4, prune_from=2, prune_every=9, epochs=3, lr=0.1)
    state = made.state["weights"]
    assert (state == 1).all()
    choice: list[Any] = []

    def after(epoch: int) -> None:
        if epoch == 2:
            choice.append((made.kept_rows.copy(), softmax(made.training_logits()), state.clone().numpy()))

    list(made.run(after))
    kept, p, weights = choice[0]
    given = made.given.numpy()
    expected = np.zeros(len(given))
    for label in range(10):
        own, g = given == label, p[:, label]
        high, low = g >= g[own].mean(), g <= g[~own].mean()
        missed = (high & ~own).sum() / high.sum()
        added = (low & own).sum() / low.sum()
        share = own.mean()
        members = (share - added) / (1 - missed - added)
        pruned = int(own.sum() * min(max(added * (1 - members) / share, 0), 0.9999))
        pruned = max(min(pruned, own.sum() - 10), 0)
        rows = np.flatnonzero(own)
        assert set(rows[np.argsort(g[rows], kind="stable")[pruned:]]) == set(rows) & set(kept)
        expected[given == label] = 1 / (1 - missed)
    assert weights[given[kept]] == pytest.approx(expected[kept] / expected[kept].mean(), rel=1e-4)
    assert len(kept) < len(given)
    (pruning,) = made.prunings
    assert pruning.n_kept == len(kept) and pruning.precision is not None and pruning.precision > 0.4


def sharpened(p: Any) -> Any:
    return p**2 / (p**2).sum(1, keepdims=True)


def test_dividemix_refines_guesses_and_mixes_labels() -> None:
    made = training(loss="dividemix(warm_up=2, lambda_u=8, threshold=0.4)", augment="flip-crop")
    made.state["clean"].copy_(torch.rand(2, 360, generator=torch.Generator().manual_seed(0)))
    made.method.before_epoch(7, made.state)  # the fifth epoch of mixing: a quarter of the growth of λ_u
    _, batch, output = stepped(made)
    b, random = 60, batch.random.numpy()
    assert random.shape == (b, 20)
    shown = torch.cat([batch.images, *batch.views])
    label = np.eye(10)[batch.given.numpy()]
    total, means = 0.0, []
    networks = list(made.model.children())
    for network in networks:
        p = softmax(network(shown))
        means.append((p[:b] + p[b:]) / 2)
    for k, network in enumerate(networks):
        w = made.state["clean"][k, batch.rows].double().numpy()[:, None]
        clean = w[:, 0] > 0.4
        labelled = sharpened(w * label + (1 - w) * means[k])
        guessed = sharpened((means[0] + means[1]) / 2)
        targets = np.tile(np.where(clean[:, None], labelled, guessed), (2, 1))
        own = random[:, 10 * k : 10 * k + 10].astype(float)
        order = np.concatenate([own[:, 0], own[:, 1]]).argsort()
        gammas = -np.log(1 - own[0, 2:]).reshape(2, 4).sum(1)
        share = gammas.max() / gammas.sum()
        mixed = share * shown + (1 - share) * shown[order]
        target = share * targets + (1 - share) * targets[order]
        p, clean = softmax(network(mixed.float())), np.tile(clean, 2)
        total += -(target * np.log(p)).sum(1)[clean].mean()
        total += 2 * ((p - target) ** 2)[~clean].mean()
        total += (0.1 * np.log(0.1 / p.mean(0))).sum()
        assert output[1][k][0].shape == (2 * b, 10)
    assert losses(made, output, batch) == pytest.approx(total, rel=1e-4)


def test_the_larger_share_of_a_pair_is_beta_distributed() -> None:
    numbers = torch.rand(4000, 8, generator=torch.Generator().manual_seed(0))
    shares = np.array([beta(row).item() for row in numbers])
    assert kstest(shares, lambda x: 2 * beta_distribution(4, 4).cdf(x) - 1).pvalue > 0.01


def test_dividemix_tells_each_network_which_losses_of_the_other_are_low() -> None:
    made = training(loss="dividemix(warm_up=2)", epochs=4, rate=0.4, lr=0.1, train_size=800)
    list(made.run())
    assert [pruning.epoch for pruning in made.prunings] == [2, 3, 4]
    assert len(made.kept_rows) == len(made.given) and made.prunings[-1].precision > 0.7  # type: ignore[operator]
    network = made.model[0].eval()  # type: ignore[index]
    logits = network(made.train_images.plain(0, len(made.given)))
    of_first = -np.log(softmax(logits)[np.arange(len(made.given)), made.given.numpy()])
    of_second = made.state["clean"][1].numpy()
    low, high = of_first < np.quantile(of_first, 0.3), of_first > np.quantile(of_first, 0.9)
    assert of_second[low].min() > 0.5 > of_second[high].max()
