from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from noisybench import datasets
from noisybench.batches import Step, epoch_steps
from noisybench.config import Config
from noisybench.errors import RunFailed
from noisybench.inputs import corrupt
from noisybench.labels.drawing import labels_sha256
from noisybench.losses import cce, lq
from noisybench.results import Epoch, Pruning
from noisybench.split import split
from noisybench.training.checkpoints import Checkpoint
from noisybench.training.evaluation import accuracy, predict
from noisybench.training.loop import Training, build_model

CPU = torch.device("cpu")


def training(for_estimate: bool = False, **values: Any) -> Training:
    config = Config.create(**{"train_size": 400, "epochs": 4, **values})
    dataset = datasets.load("digits")
    drawn = corrupt(config, dataset)
    division = split(config, dataset, drawn.given)
    return Training(config, dataset, division, drawn.transition, CPU, for_estimate=for_estimate)


def run(**values: Any) -> Training:
    done = training(**values)
    list(done.run())
    return done


def measured(done: Training) -> list[Epoch]:
    """The epochs without the time they took."""
    return [replace(epoch, seconds=0.0) for epoch in done.epochs]


def same_bits(a: Training, b: Training) -> bool:
    states = zip(a.model.state_dict().values(), b.model.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in states)


@pytest.mark.parametrize("at_once", [1, 5])
def test_steps_that_are_measured_together_give_the_numbers_of_each_alone(at_once: int) -> None:
    usual, other = training(loss="lq"), training(loss="lq")
    other.sums.at_once = at_once
    assert list(usual.run()) and list(other.run())
    assert measured(usual) == measured(other)


@pytest.mark.parametrize("model", ["mlp", "resnet8(width=8)"])
def test_one_seed_gives_identical_bits(model: str) -> None:
    values = {
        "model": model,
        "augment": "flip-crop",
        "loss": "trunc-lq(q=0, k=0.12)",
        "prune_from": 2,
        "lr": 0.1,
    }
    a, b = run(**values), run(**values)
    assert measured(a) == measured(b) and a.prunings == b.prunings and same_bits(a, b)
    assert not same_bits(a, run(**values, seed=1))


def test_losses_are_paired() -> None:
    """At one seed, all losses see the same noisy labels, the same split and the same initial weights."""
    a, b = training(loss="cce"), training(loss="mae")
    assert same_bits(a, b)
    for name in ("given", "wrong", "val_given", "mean"):
        assert torch.equal(getattr(a, name), getattr(b, name))
    assert torch.equal(a.train_images.images, b.train_images.images)


@pytest.mark.parametrize("optimiser", ["sgd", "nesterov"])
def test_the_loop_is_sgd_on_the_mean_loss(optimiser: str) -> None:
    """Against the update rule written out, over two epochs with a learning-rate step between."""
    values = {"loss": "lq", "epochs": 2, "milestones": 1, "lr": 0.1, "weight_decay": 0.01}
    done = run(optimiser=optimiser, **values)
    config = done.config
    model = build_model(config, datasets.load("digits"), CPU)
    momentum = [torch.zeros_like(p) for p in model.parameters()]
    for number, lr in ((1, 0.1), (2, 0.01)):
        for step in epoch_steps(np.arange(360), 32, False, config.seed, number, CPU):
            losses = lq(model(done.train_images.plain(0, 360)[step.rows]), done.given[step.rows])
            gradients = torch.autograd.grad(losses.mean(), list(model.parameters()))
            with torch.no_grad():
                for p, m, g in zip(model.parameters(), momentum, gradients, strict=True):
                    decayed = g + 0.01 * p
                    m.mul_(0.9).add_(decayed)
                    p.sub_(lr * (decayed + 0.9 * m if optimiser == "nesterov" else m))
    assert [epoch.lr for epoch in done.epochs] == pytest.approx([0.1, 0.01])
    for trained, reference in zip(done.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(trained, reference, rtol=1e-4, atol=1e-6)


def test_what_an_epoch_measures() -> None:
    """With a learning rate of 0 the network stands still, and all can be computed beside it."""
    done = run(loss="cce", lr=0, epochs=1, batch_size=36)
    (epoch,) = done.epochs
    logits = predict(done.model, done.train_images)
    f = logits.softmax(1)[torch.arange(360), done.given]
    assert epoch.train_loss == pytest.approx(cce(logits, done.given).mean().item(), rel=1e-5)
    assert epoch.softmax_correct == pytest.approx(f[~done.wrong].mean().item(), rel=1e-5)
    assert epoch.softmax_wrong == pytest.approx(f[done.wrong].mean().item(), rel=1e-5)
    val_logits = predict(done.model, done.val_images)
    assert epoch.val_loss == pytest.approx(cce(val_logits, done.val_given).mean().item(), rel=1e-5)
    assert epoch.val_accuracy == pytest.approx(accuracy(val_logits, done.val_given))
    assert epoch.clean_val_accuracy == pytest.approx(accuracy(val_logits, done.val_true))
    assert not torch.equal(done.val_given, done.val_true)
    assert epoch.test_accuracy == pytest.approx(
        accuracy(predict(done.model, done.test_images), done.test_labels)
    )


def test_without_noise_there_is_no_softmax_of_wrong_labels() -> None:
    (epoch,) = run(rate=0, epochs=1).epochs
    assert epoch.softmax_wrong is None and epoch.softmax_correct is not None


def test_selection_is_the_earliest_epoch_of_highest_noisy_validation_accuracy() -> None:
    done = run(epochs=12, lr=0.1)
    accuracies = [epoch.val_accuracy for epoch in done.epochs]
    assert len(set(accuracies)) < len(accuracies), "the case must have ties"
    best = accuracies.index(max(accuracies))
    result = done.result()
    assert result.best_epoch == best + 1
    assert result.test_accuracy == done.epochs[best].test_accuracy
    assert result.last_test_accuracy == done.epochs[-1].test_accuracy
    of_best = predict(done.model, done.val_images, done.best.state)
    assert accuracy(of_best, done.val_given) == max(accuracies)


def test_the_test_set_decides_nothing() -> None:
    values = {"loss": "trunc-lq(q=0, k=0.12)", "prune_from": 2, "epochs": 6, "lr": 0.1}
    honest, blind = training(**values), training(**values)
    blind.test_labels = (blind.test_labels + 1) % 10
    list(honest.run()), list(blind.run())
    assert same_bits(honest, blind) and honest.prunings == blind.prunings
    assert honest.result().best_epoch == blind.result().best_epoch
    assert honest.result().test_accuracy != blind.result().test_accuracy


def test_pruning_follows_algorithm_1() -> None:
    """Every pruning again, from the best-validation network before it, sample by sample."""
    k = 0.12
    subject = training(
        loss=f"trunc-lq(q=0, k={k})", epochs=9, prune_from=3, prune_every=2, lr=0.1, augment="flip-crop"
    )
    trained_on: list[int] = []
    take_step = subject._step

    def watched(step: Step) -> None:
        trained_on.extend(step.rows.tolist())
        take_step(step)

    subject._step = watched  # type: ignore[method-assign]
    best, best_accuracy, rows, seen = {}, -1.0, np.arange(360), []
    for event in subject.run():
        if isinstance(event, Epoch):
            assert event.n_kept == len(rows)
            assert set(trained_on) <= set(rows), "training runs over the kept samples only"
            trained_on.clear()
            if event.val_accuracy > best_accuracy:
                best_accuracy, best_epoch = event.val_accuracy, event.epoch
                best = {name: value.clone() for name, value in subject.model.state_dict().items()}
            before = {name: value.clone() for name, value in subject.model.state_dict().items()}
        else:
            seen.append(event.epoch)
            judge = build_model(subject.config, datasets.load("digits"), CPU)
            judge.load_state_dict(best)
            f = judge(subject.train_images.plain(0, 360)).softmax(1)[torch.arange(360), subject.given]
            keep = (f > k).numpy()
            rows, wrong = np.flatnonzero(keep), subject.wrong.numpy()
            assert event == Pruning(
                epoch=event.epoch,
                model_epoch=best_epoch,
                n_kept=len(rows),
                n_dropped=360 - len(rows),
                precision=pytest.approx(wrong[~keep].mean()),
                recall=pytest.approx((~keep & wrong).sum() / wrong.sum()),
            )
            assert np.array_equal(subject.kept_rows, rows)
            after = subject.model.state_dict()
            assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert seen == [3, 5, 7]
    assert 0 < len(rows) < 360, "the case must prune some and keep some"


def test_before_its_first_pruning_truncated_lq_is_lq() -> None:
    a, b = run(loss="trunc-lq(q=0.4)", prune_from=4), run(loss="lq(q=0.4)")
    assert same_bits(a, b) and a.prunings == []


def test_q_zero_trains_as_cce() -> None:
    assert same_bits(run(loss="lq(q=0)"), run(loss="cce"))


def test_forward_correction_without_noise_trains_as_cce() -> None:
    a, b = run(loss="forward-t", rate=0), run(loss="cce", rate=0)
    for x, y in zip(a.model.parameters(), b.model.parameters(), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-5)


def test_a_loss_that_is_no_number_ends_the_run() -> None:
    with pytest.raises(RunFailed, match=r"epoch \d.*learning rate"):
        run(lr=1e20, loss="cce")


def test_pruning_everything_ends_the_training_with_the_best_epoch_so_far() -> None:
    done = run(loss="trunc-lq(k=1)", prune_from=2, epochs=6)
    assert len(done.epochs) == 2 and done.n_kept == 0
    assert "kept 0" in done.ended_early
    assert done.result().best_epoch == max(done.epochs, key=lambda epoch: epoch.val_accuracy).epoch


def test_a_checkpoint_gives_the_network_back(tmp_path: Any) -> None:
    done = run(model="resnet8(width=8)")
    dataset = datasets.load("digits")
    given = corrupt(done.config, dataset).given
    division = split(done.config, dataset, given)
    Checkpoint.of(done.config, done.best.epoch, done.best.state, done.mean, division).write(tmp_path)
    row = {"id": "run", "labels_sha256": labels_sha256(given), **done.config.row()}
    checkpoint = Checkpoint.read(tmp_path, row)
    logits = checkpoint.logits(dataset.test_images, dataset, CPU)
    torch.testing.assert_close(logits, predict(done.model, done.test_images, done.best.state))
    assert accuracy(logits, torch.tensor(dataset.test_labels)) == done.result().test_accuracy
    assert np.array_equal(checkpoint.train.numpy(), division.train)
