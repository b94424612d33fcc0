"""Training with all tensors on a pretended CUDA device: no mixed devices, no wait in a step, the CPU's bits."""

import copy
import io
from typing import Any

import pytest
import torch
from pretended import CUDA, Pretended, pretended_cuda

from noisybench import datasets
from noisybench.batches import epoch_steps
from noisybench.config import Config
from noisybench.inputs import corrupt
from noisybench.registry import METHODS
from noisybench.split import split
from noisybench.training.loop import Sums, Training
from noisybench.training.resume import restore, state_of

NAMES = [entry.name for entry in METHODS]
CPU = torch.device("cpu")
# An epoch may wait for its batches, its measurements and the labels known to be true; no step may.
WAITS_OF_AN_EPOCH = 11


def training(device: torch.device, **values: Any) -> Training:
    defaults = {"model": "mlp", "epochs": 3, "train_size": 300, "milestones": (2,), "batch_size": 64, "rate": 0.4}
    config = Config.create(**{"dataset": "digits", "noise": "uniform", **defaults, **values})
    digits = datasets.load("digits")
    drawn = corrupt(config, digits)
    return Training(
        config, digits, split(config, digits, drawn.given), drawn.transition, device, for_estimate=True
    )


def of(loss: str) -> dict[str, Any]:
    """Settings with which the method does all that it can do within three epochs."""
    method = Config.create(dataset="digits", loss=loss, noise="uniform", rate=0.4).method
    adam = {"optimiser": "adam", "lr": 0.001} if method.protocol else {}
    if loss == "trunc-lq":  # by default it would drop all but a few after so short a training
        loss = "trunc-lq(k=0.09)"
    return {"loss": loss, **adam, **({"prune_from": 1, "prune_every": 1} if method.has_schedule else {})}


def bits(training: Training) -> list[torch.Tensor]:
    tensors = [*training.model.state_dict().values(), *training.state.values(), ]
    return [tensor.detach().cpu() for tensor in tensors]


def equal(first: Training, second: Training) -> bool:
    return all(torch.equal(a, b) for a, b in zip(bits(first), bits(second), strict=True))


def check_step(training: Training, device: Pretended) -> None:
    training.method.before_epoch(1, training.state)
    training.model.train()
    (step, *_) = epoch_steps(training.kept_rows, 64, training.augment, 0, 1, training.device)
    device.waits.clear()
    training._step(step, Sums(CUDA))
    assert not device.waits


@pytest.mark.parametrize("name", NAMES)
def test_a_step_of_every_method_waits_for_nothing(name: str) -> None:
    with pretended_cuda() as device:
        check_step(training(CUDA, **of(name)), device)


@pytest.mark.parametrize("name", NAMES)
def test_every_method_trains_on_the_device_and_resumes_to_the_bits_of_the_cpu(name: str) -> None:
    on_cpu = training(CPU, **of(name))
    list(on_cpu.run())
    with pretended_cuda() as device:
        first, second = training(CUDA, **of(name)), training(CUDA, **of(name))
        saved: list[Any] = []

        def save(epoch: int) -> None:
            memory = io.BytesIO()
            torch.save(state_of(first), memory)
            saved.append((memory.getvalue(), copy.deepcopy(first.epochs)))

        device.waits.clear()
        events = first.run(save)
        next(events)
        assert device.waits.total() <= WAITS_OF_AN_EPOCH, device.waits
        list(events)
        content, epochs = saved[1]
        restore(second, torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
        second.epochs = epochs
        list(second.run())
        first.estimated_transition()
        assert equal(first, second)
        assert equal(first, on_cpu)
    assert first.prunings == on_cpu.prunings


@pytest.mark.parametrize("model", ["resnet8(width=8)", "cnn6(width=8)"])
@pytest.mark.parametrize("optimiser", ["adam", "nesterov"])
def test_networks_and_optimisers_wait_for_nothing(model: str, optimiser: str) -> None:
    with pretended_cuda() as device:
        check_step(training(CUDA, model=model, optimiser=optimiser, augment="flip-crop"), device)


def test_the_pretended_device_refuses_tensors_of_two_devices_and_counts_waits() -> None:
    with pretended_cuda() as device:
        a, b = torch.arange(3, device=CUDA), torch.arange(3)
        assert a.device == CUDA and (a + a).device == CUDA and (a + 1).cpu().device == CPU
        with pytest.raises(AssertionError, match="two devices"):
            a + b
        for wait in (lambda: a.sum().item(), lambda: a[a > 1], lambda: b.to(CUDA), lambda: bool(a.any())):
            device.waits.clear()
            wait()
            assert device.waits.total() == 1
