"""Forward correction with T̂: the estimate, and the run that makes it."""

from typing import Any

import numpy as np
import pytest
import torch
from commands import as_json, noisybench, succeed
from hypothesis import given
from hypothesis import strategies as st
from test_training import training

from noisybench import datasets
from noisybench.config import Config, first_stage
from noisybench.labels.drawing import transition_error
from noisybench.results import Epoch
from noisybench.store import Store
from noisybench.sweeps.sweep import plan
from noisybench.training.estimation import estimate_transition
from noisybench.training.loop import build_model


def softmax(n: int, classes: int, seed: int) -> Any:
    return torch.tensor(np.random.default_rng(seed).normal(size=(n, classes)) * 3).softmax(1).numpy()


@given(n=st.integers(40, 400), classes=st.integers(2, 12), seed=st.integers(0, 99))
def test_a_row_is_that_of_the_best_sample_below_the_97th_percentile(n: int, classes: int, seed: int) -> None:
    """By sorting: of n distinct scores, those from rank ceil(0.97 (n - 1)) on are dropped."""
    f = softmax(n, classes, seed)
    estimated = estimate_transition(f)
    for i in range(classes):
        ranked = np.argsort(f[:, i])
        best = ranked[int(np.ceil(0.97 * (n - 1) - 1e-9)) - 1]
        assert estimated[i] == pytest.approx(f[best])


def test_with_a_hundred_classes_no_score_is_dropped() -> None:
    f = softmax(300, 100, 0)
    assert estimate_transition(f) == pytest.approx(f[f.argmax(axis=0)])


def test_a_network_that_knows_the_noise_gives_its_matrix() -> None:
    """If the softmax of every sample is the row of its class, the estimate is T itself."""
    actual = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.1, 0.6]])
    f = actual[np.arange(3000) % 3]
    assert estimate_transition(np.random.default_rng(0).normal(1, 1e-9, (3000, 1)) * f) == pytest.approx(
        actual
    )


def test_the_error_is_the_distance_of_the_rows() -> None:
    identity = np.eye(3)
    assert transition_error(identity, identity) == 0
    assert transition_error(identity, np.roll(identity, 1, axis=1)) == 1
    assert transition_error(identity, np.full((3, 3), 1 / 3)) == pytest.approx(2 / 3)


BRIEF = ("--epochs", 4, "--train-size", 600, "--quiet")


def test_the_first_stage_is_the_ordinary_cce_run(database: Any) -> None:
    second = as_json("train", "--loss", "forward-that", *BRIEF)
    store = Store.open(database)
    runs = {row["loss"]: row for row in store.runs()}
    assert set(runs) == {"cce", "forward-that"}
    assert as_json("train", "--loss", "cce", *BRIEF)["run"] == runs["cce"]["id"], "it is used, not made again"
    first = as_json("runs", "show", runs["cce"]["id"])["details"]["transitions"]
    shown = as_json("runs", "show", second["run"])["details"]["transitions"]
    assert shown[0]["estimated_by"] == runs["cce"]["id"] and shown[0]["estimated"] == first[0]["estimated"]
    assert "Transition matrix estimated by run " + runs["cce"]["id"] in succeed("runs", "show", second["run"])


def test_the_network_of_the_lowest_validation_loss_estimates() -> None:
    subject = training(for_estimate=True, loss="cce", epochs=12, lr=0.1, augment="flip-crop")
    states, val_losses = [], []
    for event in subject.run():
        assert isinstance(event, Epoch)
        states.append({name: value.clone() for name, value in subject.model.state_dict().items()})
        val_losses.append(event.val_loss)
    lowest = val_losses.index(min(val_losses))
    assert lowest + 1 not in (12, subject.best.epoch), "the case must tell the rules apart"
    judge = build_model(subject.config, datasets.load("digits"), torch.device("cpu"))
    judge.load_state_dict(states[lowest])
    judge.eval()
    parts = (subject.train_images, subject.val_images)
    everything = torch.cat([images.plain(0, len(images)) for images in parts])
    assert len(everything) == subject.config.train_size, "the validation part estimates too"
    f = judge(everything).detach().double().softmax(1).numpy()
    assert subject.estimated_transition() == pytest.approx(estimate_transition(f), abs=1e-6)
    assert training(loss="mae").estimated_transition() is None


def test_the_estimate_is_what_it_trains_with(database: Any) -> None:
    """Forward correction with another matrix gives another network; the identity gives that of cce."""
    first = as_json("train", "--loss", "forward-that", *BRIEF)["run"]
    store = Store.open(database)
    store.delete([first])
    with store.conn:
        identity = str(np.eye(10).tolist())
        store.conn.execute("UPDATE transitions SET estimated = ?", [identity])
    run = as_json("train", "--loss", "forward-that", *BRIEF)["run"]
    losses = {
        row["loss"]: [epoch["train_loss"] for epoch in store.details("epochs", row["id"])]
        for row in store.runs()
    }
    assert losses["forward-that"] == pytest.approx(losses["cce"], rel=1e-4)
    assert store.details("transitions", run)[0]["estimated"] == str(np.eye(10).tolist())


def test_the_plan_puts_the_first_stage_before_what_needs_it(database: Any) -> None:
    configs = [
        Config.create(loss=loss, seed=seed) for seed in (0, 1) for loss in ("forward-that", "cce", "lq")
    ]
    jobs = [job.config for job in plan(configs, Store.open(database))]
    assert len(jobs) == 6
    for config in configs:
        stage = first_stage(config)
        if stage is not None:
            assert jobs.index(stage) < jobs.index(config)
    assert [job.config.loss for job in plan(configs[:1], Store.open(database))] == ["cce", "forward-that"]


def test_a_first_stage_without_an_estimate_is_made_again(database: Any) -> None:
    """As runs of noisybench 0.1 are."""
    first = as_json("train", "--loss", "forward-that", *BRIEF)["run"]
    store = Store.open(database)
    store.delete([first])
    with store.conn:
        store.conn.execute("DELETE FROM transitions")
    assert as_json("train", "--loss", "forward-that", *BRIEF)["status"] == "completed"
    assert sorted(row["attempt"] for row in store.runs() if row["loss"] == "cce") == [1, 2]


def test_a_first_stage_that_fails_fails_what_needs_it(database: Any) -> None:
    result = noisybench("train", "--loss", "forward-that", "--lr", 1e20, *BRIEF)
    assert result.exit_code == 1 and "no longer a finite number" in result.stderr
    assert [(row["loss"], row["status"]) for row in Store.open(database).runs()] == [("cce", "failed")]
