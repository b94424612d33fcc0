"""What the loop gives to a method: views, random numbers, layers of its own, and a say between epochs."""

from pathlib import Path

import numpy as np
import pytest
import torch

from noisybench import datasets
from noisybench.batches import epoch_steps
from noisybench.config import Config
from noisybench.inputs import corrupt
from noisybench.split import split
from noisybench.training.contract import check_method
from noisybench.training.loop import Training

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
