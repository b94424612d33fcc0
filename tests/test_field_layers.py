"""Methods that model the noise, by a layer or sample by sample, each against its description in numpy."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from test_methods import cross_entropies, stepped
from test_training import training

from noisybench.methods.confusion_layer import nearest_stochastic


def softmax(logits: Any) -> Any:
    return logits.detach().double().softmax(1).numpy()


def losses(made: Any, output: Any, batch: Any) -> Any:
    return made.method.loss(output, batch, made.state).detach().numpy()


def test_the_nearest_stochastic_matrix_is_what_least_squares_finds() -> None:
    rows = np.random.default_rng(0).normal(0.2, 0.6, size=(6, 4))
    for row, ours in zip(rows, nearest_stochastic(torch.tensor(rows)).numpy(), strict=True):
        found = minimize(
            lambda x, row=row: ((x - row) ** 2).sum(),
            np.full(4, 0.25),
            bounds=[(0, 1)] * 4,
            constraints={"type": "eq", "fun": lambda x: x.sum() - 1},
            options={"ftol": 1e-12},
        )
        assert ours == pytest.approx(found.x, abs=1e-5)


def test_the_confusion_layer_is_the_identity_first_and_then_learns_a_stochastic_matrix() -> None:
    made = training(loss="confusion-layer(trace=0.01, decay=0.1, warm_up=2)", epochs=4, lr=0.1)
    matrix = next(made.model[1].parameters())  # type: ignore[index]
    seen: list[Any] = []

    def after(epoch: int) -> None:
        seen.append(nearest_stochastic(matrix.detach()))

    list(made.run(after))
    assert seen[1].numpy() == pytest.approx(np.eye(10), abs=1e-3)
    assert not np.allclose(seen[3], np.eye(10), atol=0.01)
    assert seen[3].sum(1).numpy() == pytest.approx(np.ones(10), abs=1e-5) and seen[3].min() >= 0

    _, batch, output = stepped(made)
    rows, q = np.arange(60), output[1].detach().double().numpy()
    assert q.sum(1) == pytest.approx(np.ones(10), abs=1e-5) and q.min() >= 0
    through = (softmax(output[0]) @ (q + 1e-6))[rows, batch.given.numpy()]
    expected = -np.log(through) + 0.01 * np.trace(q) + 0.05 * (q**2).sum()
    assert losses(made, output, batch) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", ["noise-adaptation", "noise-adaptation-complex"])
def test_noise_adaptation_begins_as_the_confusion_of_the_first_phase(name: str) -> None:
    made = training(loss=f"{name}(warm_up=2)", model="mlp", epochs=2)
    _, batch, output = stepped(made)
    made.method.before_epoch(2, made.state)
    assert losses(made, output, batch) == pytest.approx(
        cross_entropies(output[0], batch.given).detach().numpy(), rel=1e-5
    )
    list(made.run())
    p = softmax(made.training_logits())
    confusion = np.stack([[p[made.given.numpy() == j, i].sum() for j in range(10)] for i in range(10)])
    confusion /= confusion.sum(1, keepdims=True)
    made.method.before_epoch(3, made.state)
    _, batch, output = stepped(made)
    through = (softmax(output[0]) @ confusion)[np.arange(60), batch.given.numpy()]
    assert losses(made, output, batch) == pytest.approx(-np.log(through), rel=1e-3)


def test_complex_noise_adaptation_has_a_matrix_for_each_image() -> None:
    made = training(loss="noise-adaptation-complex(warm_up=1)", model="mlp")
    layer = made.model[1]  # type: ignore[index]
    torch.nn.init.normal_(layer.weight, generator=torch.Generator().manual_seed(0))
    made.method.before_epoch(2, made.state)
    _, batch, output = stepped(made)
    with torch.no_grad():
        features = made.model[0].embed(batch.images).relu().double().numpy()  # type: ignore[index]
    w, b = (x.detach().double().numpy() for x in (layer.weight, layer.bias))
    expected = []
    for h, f, y in zip(features, softmax(output[0]), batch.given.numpy(), strict=True):
        theta = np.exp((w @ h + b).reshape(10, 10))
        expected.append(-np.log(f @ (theta / theta.sum(1, keepdims=True))[:, y]))
    assert losses(made, output, batch) == pytest.approx(np.array(expected), rel=1e-4)


def test_dropout_noise_leaves_out_inputs_of_its_layer_in_training_alone() -> None:
    made = training(loss="dropout-noise(dropout=0.3)")
    _, batch, output = stepped(made)
    kept = batch.random.numpy() >= 0.3
    assert kept.shape == (60, 10) and 0.6 < kept.mean() < 0.8
    z = (softmax(output[0]) * kept / 0.7) @ output[1].detach().double().numpy()
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    assert losses(made, output, batch) == pytest.approx(
        -np.log(p[np.arange(60), batch.given.numpy()]), rel=1e-4
    )
    made.model.eval()
    with torch.no_grad():
        assert torch.equal(made.method.predict(made.model, batch.images), made.model[0](batch.images))  # type: ignore[index]


def test_sop_models_the_noise_of_each_sample_by_gradient_descent() -> None:
    """Two steps, the gradients by finite differences."""
    made = training(loss="sop(rate_u=2, rate_v=3)")
    made.state["u"].fill_(0.3)
    made.state["v"].fill_(0.4)
    _, batch, output = stepped(made, 8)
    f, y = softmax(output), np.eye(10)[batch.given.numpy()]
    u, v = np.full((8, 1), 0.3), np.full((8, 10), 0.4)

    def mean_loss(u: Any, v: Any, frozen: Any) -> Any:
        gain, loss, constant = (np.clip(x, 0, 1) for x in (u**2 * y, v**2 * (1 - y), frozen**2 * (1 - y)))
        mixed = np.clip(f + gain - constant, 1e-4, None)
        mixed = mixed / mixed.sum(1, keepdims=True)
        square = ((np.eye(10)[f.argmax(1)] + gain - loss - y) ** 2).sum(1)
        return -(y * np.log(mixed)).sum(1) + square

    for _ in range(2):
        assert losses(made, output, batch) == pytest.approx(mean_loss(u, v, v), rel=1e-4)
        next_u, next_v, h = u.copy(), v.copy(), 1e-5
        for i, rate in ((0, 2), (1, 3)):
            for at in np.ndindex(*(u, v)[i].shape):
                ends = []
                for sign in (1, -1):
                    moved = [u.copy(), v.copy()]
                    moved[i][at] += sign * h
                    ends.append(mean_loss(*moved, frozen=v).mean())
                (next_u, next_v)[i][at] -= rate * (ends[0] - ends[1]) / (2 * h)
        u, v = next_u, next_v
    assert made.state["u"][batch.rows].numpy() == pytest.approx(u, abs=1e-4)
    assert made.state["v"][batch.rows].numpy() == pytest.approx(v, abs=1e-4)
    others = np.setdiff1d(np.arange(len(made.given)), batch.rows.numpy())
    assert (made.state["u"][others] == 0.3).all() and (made.state["v"][others] == 0.4).all()
