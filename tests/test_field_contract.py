"""What the loop gives to a method: views, random numbers, layers of its own, and a say between epochs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from commands import as_json, succeed

from noisybench import datasets
from noisybench.batches import epoch_steps
from noisybench.config import Config
from noisybench.errors import DataError, InvalidValue, RunFailed
from noisybench.inputs import corrupt
from noisybench.methods import needs
from noisybench.registry import METHODS
from noisybench.split import split
from noisybench.sweeps.grid import load
from noisybench.training.contract import check_method
from noisybench.training.loop import Training, build_model

CPU = torch.device("cpu")

OWN = '''
import torch
from torch import nn
from noisybench.methods import Method

class Own(Method):
    """Learns from two views, each pixel of which is left out at random, through a layer of its own."""

    views = 1

    def networks(self, make, n_classes):
        own = nn.Linear(n_classes, n_classes, bias=False)
        nn.init.eye_(own.weight)
        return nn.ModuleList([make("initialisation"), own])

    def random_numbers(self, n_classes):
        return 2

    def forward(self, model, batch, state):
        network, own = model.children()
        (view,) = batch.views
        scales = batch.random.split(1, dim=1)
        return tuple(own(network(x * s[..., None, None])) for x, s in zip((batch.images, view), scales))

    def logits(self, output):
        return output[0]

    def loss(self, output, batch, state):
        log_f = (logits.float().log_softmax(1) for logits in output)
        return -sum(each.gather(1, batch.given[:, None]).squeeze(1) for each in log_f)

    def predict(self, model, images):
        return next(model.children())(images)

    def after_epoch(self, epoch, run, state):
        outputs = run.training_outputs(lambda model, images: next(model.children())(images))
        assert torch.equal(outputs, run.training_logits())
        with torch.no_grad():
            next(iter(run.model[1].parameters())).mul_(0.5)
'''


@pytest.fixture
def config(tmp_path: Path) -> Config:
    file = tmp_path / "own.py"
    file.write_text(OWN)
    return Config.from_user(loss=f"{file}:Own", model="mlp", epochs=4, train_size=400, augment="flip-crop")


def made(config: Config) -> Training:
    digits = datasets.load("digits")
    drawn = corrupt(config, digits)
    return Training(config, digits, split(config, digits, drawn.given), drawn.transition, CPU)


def test_a_method_that_uses_all_of_the_contract_trains_and_resumes_to_the_same_bits(config: Config) -> None:
    assert [check for check in check_method(config) if check.passed is False] == []


def test_views_show_the_same_images_under_other_shifts_and_flips(config: Config) -> None:
    training = made(config)
    rows = np.arange(64)
    (step,) = epoch_steps(rows, 64, True, 0, 1, CPU, views=2)
    (plain,) = epoch_steps(rows, 64, True, 0, 1, CPU)
    assert all(torch.equal(getattr(step, name), getattr(plain, name)) for name in ("rows", "shift", "flip"))
    batch = training.batch(step)
    shown = (batch.images, *batch.views)
    assert len(shown) == 3
    for i in range(3):
        assert not torch.equal(shown[i], shown[i - 1])
    (still,) = epoch_steps(rows, 64, False, 0, 1, CPU, views=1)
    assert torch.equal(still.views[0].rows, still.rows) and not still.views[0].shift.any()


def test_random_numbers_are_uniform_and_derive_from_seed_and_epoch() -> None:
    def numbers(seed: int, epoch: int) -> torch.Tensor:
        (step,) = epoch_steps(np.arange(5000), 5000, False, seed, epoch, CPU, random_numbers=3)
        assert step.random is not None
        return step.random

    first = numbers(0, 1)
    assert first.shape == (5000, 3) and first.dtype == torch.float32
    assert torch.equal(first, numbers(0, 1))
    for other in (numbers(0, 2), numbers(1, 1)):
        assert not torch.equal(first, other)
    assert first.min() >= 0 and first.max() < 1
    # The 99.9 % point of Kolmogorov's statistic for 15,000 numbers is 1.95 / sqrt(15,000) = 0.016.
    ordered = first.flatten().sort().values
    assert (ordered - torch.linspace(0, 1, 15000)).abs().max() < 0.016


@pytest.mark.parametrize("loss", ["backward-that", "backward-t"])
def test_a_loss_that_diverges_by_its_matrix_says_how_that_is_conditioned(loss: str) -> None:
    digits = datasets.load("digits")
    config = Config.create(loss=loss, train_size=400, model="mlp", epochs=30, lr=0.1, milestones="30")
    drawn = corrupt(config, digits)
    matrix = np.full((10, 10), 0.0995) + 0.005 * np.eye(10)
    training = Training(config, digits, split(config, digits, drawn.given), matrix, CPU)
    with pytest.raises(RunFailed, match="transition matrix .*condition number 200"):
        list(training.run())


def test_other_losses_that_diverge_speak_of_the_learning_rate_alone() -> None:
    digits = datasets.load("digits")
    config = Config.create(loss="cce", train_size=400, model="mlp", epochs=30, lr=1e6)
    training = Training(config, digits, split(config, digits, corrupt(config, digits).given), None, CPU)
    with pytest.raises(RunFailed, match="learning rate") as raised:
        list(training.run())
    assert "condition" not in str(raised.value) and "  " not in str(raised.value)


def experiment(path: Path, grid: str) -> set[str]:
    path.write_text(f"set: {{dataset: digits, model: mlp}}\ngrid:\n  - {{{grid}}}\n")
    return {METHODS.bind(config.loss).entry.name for config in load(str(path)).configs}


def test_all_losses_are_those_that_the_other_settings_allow(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    names = {entry.name for entry in METHODS if entry.origin is None}
    able = {name for name in names if not Config.create(loss=name, model="mlp", trusted=9).method.protocol}
    assert experiment(path, "loss: all, trusted: 50") == able
    without = experiment(path, "loss: all, noise: instance-dependent")
    assert able - without == {
        name
        for name in able
        for method in [Config.create(loss=name, trusted=9).method]
        if method.needs_transition or method.needs_trusted
    }
    assert len(without) > 30
    for wrong in ("loss: all, epochs: 0", "loss: all, draws: exact, noise: instance-dependent"):
        with pytest.raises(DataError, match="epochs|draws"):
            experiment(path, wrong)


def test_losses_on_features_take_residual_networks_and_say_what_others_lack() -> None:
    digits = datasets.load("digits")
    for name in ("noise-adaptation-complex", "label-cleaning"):
        config = Config.create(loss=name, model="resnet8(width=8)", train_size=200, trusted=20)
        build_model(config, digits, CPU)
        with pytest.raises(InvalidValue, match="embed"):
            config.method.networks(lambda stream: torch.nn.Linear(2, 2), 10)


def test_what_a_loss_needs_is_said_by_the_list_and_by_tables(database: Path) -> None:
    rows = {row["name"]: row["needs"] for row in as_json("list", "losses")}
    assert rows["cce"] == [] and rows["forward-t"] == ["the true transition matrix"]
    assert rows["gold"] == ["2 passes", "a first run", "true labels"]
    assert rows["co-teaching"] == ["2 passes", "the noise rate"]
    assert needs(METHODS.bind("co-teaching(forget_rate=0.2)")) == ["2 passes"]
    for loss in ("cce", "co-teaching"):
        succeed("train", "--loss", loss, "--epochs", 1, "--train-size", 100, "--model", "mlp", "--quiet")
    shown = " ".join(succeed("report").split())
    assert "co-teaching (2 passes, the noise rate)" in shown and "cce (" not in shown
