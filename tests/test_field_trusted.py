"""Samples with true labels (`--trusted N`), and the methods that need them, against their descriptions."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from commands import noisybench as command
from test_field_layers import losses, softmax
from test_methods import first_step, stepped
from test_split import division
from test_training import measured, run, same_bits, training
from torch.func import functional_call

from noisybench.config import Config
from noisybench.errors import InvalidValue
from noisybench.methods.reweight import trusted_weights


def test_trusted_images_are_of_the_training_part_and_of_all_classes_alike() -> None:
    parts = division(trusted=50, train_size=400)
    assert len(parts.trusted) == 50 and np.isin(parts.trusted, parts.train).all()
    assert np.bincount(parts.true[parts.trusted], minlength=10).tolist() == [5] * 10
    assert len(division().trusted) == 0


def test_who_trusts_more_keeps_what_was_trusted_and_all_losses_trust_the_same() -> None:
    few, many = division(trusted=20, seed=3), division(trusted=40, seed=3)
    assert np.isin(few.trusted, many.trusted).all()
    assert np.array_equal(few.trusted, division(trusted=20, seed=3, loss="mae").trusted)
    assert not np.array_equal(few.trusted, division(trusted=20, seed=4).trusted)
    assert np.array_equal(few.train, division(seed=3).train)


def test_more_trusted_images_than_there_are_is_refused() -> None:
    with pytest.raises(InvalidValue, match="360"):
        division(trusted=361, train_size=400)


def test_every_loss_learns_from_the_true_labels_of_trusted_images() -> None:
    noisy, made = training(rate=0.8), training(rate=0.8, trusted=100)
    assert int(made.data.trusted.sum()) == 100 and len(made.trusted_rows) == 100
    assert not made.wrong[made.data.trusted].any()
    assert torch.equal(made.given[~made.data.trusted], noisy.given[~made.data.trusted])
    assert torch.equal(made.data.noisy, noisy.given) and torch.equal(made.val_given, noisy.val_given)
    assert not torch.equal(made.given, noisy.given)


def test_without_trusted_images_nothing_changes() -> None:
    a, b = run(loss="lq"), run(loss="lq", trusted=0)
    assert measured(a) == measured(b) and same_bits(a, b)
    assert Config.create(trusted=0).identity == Config.create().identity != Config.create(trusted=5).identity


@pytest.mark.parametrize("name", ["gold", "reweight", "label-cleaning"])
def test_a_method_that_needs_true_labels_says_how_to_give_them(name: str) -> None:
    with pytest.raises(InvalidValue, match="--trusted"):
        Config.create(loss=name, model="mlp")


def test_a_table_says_how_many_images_were_trusted(database: Any) -> None:
    options = ("--epochs", 1, "--train-size", 200, "--trusted", 20, "--quiet", "--model", "mlp")
    assert command("train", "--loss", "gold", *options).exit_code == 0
    assert "trusted=20" in command("report").stdout


def test_the_matrix_of_gold_is_what_the_first_stage_predicts_for_trusted_images() -> None:
    values = {"trusted": 60, "rate": 0.4, "epochs": 3}
    first = training(for_estimate=True, loss="untrusted-cce", **values)
    _, batch, output = stepped(first)
    mask = ~first.data.trusted[batch.rows].numpy()
    own = -np.log(softmax(output)[np.arange(60), batch.given.numpy()])
    assert losses(first, output, batch) == pytest.approx(own[mask].mean(), rel=1e-5)
    list(first.run())
    p, trusted, given = softmax(first.training_logits()), first.data.trusted.numpy(), first.given.numpy()
    expected = np.stack([p[trusted & (given == label)].mean(0) for label in range(10)])
    matrix = first.estimated_transition()
    assert matrix == pytest.approx(expected, rel=1e-6)


def test_gold_corrects_the_labels_that_are_not_trusted() -> None:
    made = training(loss="gold", trusted=100, rate=0.4)
    _, batch, output = stepped(made)
    f, given = softmax(output), batch.given.numpy()
    rows, trusted = np.arange(60), made.data.trusted[batch.rows].numpy()
    assert 0 < trusted.sum() < 60
    noisy = f @ made.state["transition"].double().numpy()
    expected = -np.log(np.where(trusted, f[rows, given], noisy[rows, given]))
    assert losses(made, output, batch) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("model", ["mlp", "resnet8(width=8)", "cnn6(width=8)"])
def test_weights_are_what_a_step_on_each_sample_would_gain_on_trusted_ones(model: str) -> None:
    """Against Algorithm 1 itself: a step of SGD with a weight for each sample, and finite differences of the
    trusted loss by each weight."""
    made = training(loss="reweight", trusted=100, rate=0.4, model=model, batch_size=12)
    batch = made.batch(first_step(made, 12))
    made.model.train()
    in_float32 = trusted_weights(made.model, batch)
    made.model.double()
    trusted = replace(batch.trusted, images=batch.trusted.images.double())
    batch = replace(batch, images=batch.images.double(), trusted=trusted)
    buffers = dict(made.model.named_buffers())
    parameters = dict(made.model.named_parameters())

    def loss_of(named: Any, part: Any) -> Any:
        copies = {name: value.clone() for name, value in buffers.items()}
        logits = functional_call(made.model, {**named, **copies}, (part.images,))
        return torch.nn.functional.cross_entropy(logits, part.given, reduction="none")

    before = {name: value.clone() for name, value in buffers.items()}
    weights = trusted_weights(made.model, batch)
    assert all(torch.equal(value, before[name]) for name, value in buffers.items())
    of_each = loss_of(parameters, batch)
    gains = []
    for i in range(12):
        gradient = torch.autograd.grad(of_each[i], list(parameters.values()), retain_graph=True)
        ends = []
        for step in (1e-8, -1e-8):
            moved = {n: p - step * g for (n, p), g in zip(parameters.items(), gradient, strict=True)}
            ends.append(loss_of(moved, trusted).mean().item())
        gains.append(max((ends[1] - ends[0]) / 2e-8, 0))
    assert weights.numpy() == pytest.approx(np.array(gains) / sum(gains), rel=1e-3, abs=1e-6)
    assert in_float32.numpy() == pytest.approx(weights.numpy(), abs=1e-3)
    assert weights.sum().item() == pytest.approx(1) and (weights == 0).any()


def test_reweighting_prefers_correct_labels() -> None:
    made = training(loss="reweight", trusted=200, rate=0.5, model="mlp", epochs=3, train_size=1000, lr=0.05)
    list(made.run())
    _, batch, (_, weights) = stepped(made, 300)
    wrong = made.wrong[batch.rows]
    assert weights[~wrong].mean() > 2 * weights[wrong].mean()


def test_label_cleaning_adds_to_labels_and_learns_from_trusted_ones() -> None:
    made = training(loss="label-cleaning(strength=0.2)", trusted=100, rate=0.4, model="mlp")
    _, batch, output = stepped(made)
    first, eye = output[1].detach().numpy(), np.eye(10)
    assert first == pytest.approx(eye[batch.noisy.numpy()]), "labels stay at first"
    last = made.model[3][2]  # type: ignore[index]
    torch.nn.init.normal_(last.weight, std=0.2, generator=torch.Generator().manual_seed(0))
    _, batch, output = stepped(made)
    cleaned, of_trusted = (x.detach().double().numpy() for x in output[1:])
    assert 0 <= cleaned.min() and cleaned.max() <= 1 and not np.allclose(cleaned, first)
    soft = cleaned / cleaned.sum(1, keepdims=True)
    trusted = made.data.trusted[batch.rows].numpy()
    target = np.where(trusted[:, None], eye[batch.given.numpy()], soft)
    cleans = np.abs(of_trusted - eye[batch.trusted.given.numpy()]).sum(1).mean()
    expected = -(target * np.log(softmax(output[0]))).sum(1) + 0.2 * cleans
    assert losses(made, output, batch) == pytest.approx(expected, rel=1e-4)
    made.method.loss(output, batch, made.state).sum().backward()
    classifier = made.model[0].output.weight.grad  # type: ignore[index]
    assert classifier is not None and last.weight.grad is not None


def test_label_cleaning_puts_wrong_labels_of_trusted_samples_right() -> None:
    made = training(
        loss="label-cleaning(strength=1)",
        trusted=100,
        rate=0.4,
        model="mlp",
        epochs=8,
        lr=0.1,
        train_size=900,
    )
    list(made.run())
    _, batch, (_, _, cleaned) = stepped(made, 100)
    true = batch.trusted.given
    assert (batch.trusted.noisy == true).float().mean() < 0.7
    assert (cleaned.argmax(1) == true).float().mean() > 0.9


def test_trusted_batches_hold_trusted_samples_with_both_labels() -> None:
    made = training(loss="reweight", trusted=30, rate=0.6, augment="flip-crop")
    _, batch, _ = stepped(made)
    assert made.data.trusted[batch.trusted.rows].all() and len(batch.trusted.rows) == 60
    assert torch.equal(batch.trusted.given, made.given[batch.trusted.rows])
    assert torch.equal(batch.trusted.noisy, made.data.noisy[batch.trusted.rows])
    assert (batch.trusted.given != batch.trusted.noisy).any()
