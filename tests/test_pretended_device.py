"""Training on a pretended CUDA device: no tensors of two devices, no wait in a step, the bits of the CPU."""

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from pretended import CUDA, Pretended, pretended_cuda
from test_methods import first_step

from noisybench import datasets
from noisybench.config import Config
from noisybench.inputs import corrupt
from noisybench.registry import METHODS
from noisybench.split import split
from noisybench.training.gpu_options import GpuOptions
from noisybench.training.loop import Training
from noisybench.training.resume import restore, state_of

# A pretended tensor has no forward-mode derivatives.
NAMES = [entry.name for entry in METHODS if entry.name != "reweight"]
CPU = torch.device("cpu")
# An epoch may wait for its batches (further views and random numbers add to these) and its measurements.
WAITS_OF_AN_EPOCH = 11


def training(
    device: torch.device,
    capture: str = "off",
    compile: str = "off",
    tell: Callable[[str], None] = lambda message: None,
    **values: Any,
) -> Training:
    defaults = {
        "model": "mlp",
        "epochs": 3,
        "train_size": 300,
        "milestones": (2,),
        "batch_size": 64,
        "rate": 0.4,
        "trusted": 40,
    }
    config = Config.create(**{"dataset": "digits", "noise": "uniform", **defaults, **values})
    digits = datasets.load("digits")
    drawn = corrupt(config, digits)
    cut = split(config, digits, drawn.given)
    return Training(
        config,
        digits,
        cut,
        drawn.transition,
        device,
        for_estimate=True,
        gpu=GpuOptions(capture, compile),
        tell=tell,
    )


def of(loss: str) -> dict[str, Any]:
    """Settings with which the method does all that it can do within three epochs."""
    config = Config.create(dataset="digits", loss=loss, noise="uniform", rate=0.4, model="mlp", trusted=40)
    method = config.method
    adam = {"optimiser": "adam", "lr": 0.001} if method.protocol else {}
    if loss == "trunc-lq":  # by default it would drop all but a few after so short a training
        loss = "trunc-lq(k=0.1)"
    return {"loss": loss, **adam, **({"prune_from": 1, "prune_every": 1} if method.has_schedule else {})}


def bits(training: Training) -> list[torch.Tensor]:
    tensors = [*training.model.state_dict().values(), *training.state.values(), training.sums.sums]
    return [tensor.detach().cpu() for tensor in tensors]


def equal(first: Training, second: Training) -> bool:
    return all(torch.equal(a, b) for a, b in zip(bits(first), bits(second), strict=True))


def check_step(training: Training, device: Pretended) -> None:
    training.method.before_epoch(1, training.state)
    training.model.train()
    step = first_step(training, 64)
    device.waits.clear()
    training._step(step)
    assert not device.waits


@pytest.mark.parametrize("name", NAMES)
def test_a_step_of_every_method_waits_for_nothing(name: str) -> None:
    with pretended_cuda() as device:
        check_step(training(CUDA, **of(name)), device)


# The rate falls after the second epoch, and methods that prune do so after each: a step that was recorded in
# the first epoch is replayed over both.
@pytest.mark.parametrize("name", NAMES)
def test_every_method_trains_by_a_recorded_step_and_resumes_to_the_bits_of_the_cpu(name: str) -> None:
    with pretended_cuda() as device:
        # Adam computes with a rate of 64 bits on a CPU, and with one of 32 bits that lies on a GPU.
        loop = training(CUDA if "optimiser" in of(name) else CPU, **of(name))
        list(loop.run())
        first, second = (training(CUDA, "auto", **of(name)) for _ in range(2))
        saved: list[Any] = []

        def save(epoch: int) -> None:
            memory = io.BytesIO()
            torch.save(state_of(first), memory)
            saved.append((memory.getvalue(), list(first.epochs), list(first.prunings)))

        device.waits.clear()
        events = first.run(save)
        next(events)
        method = first.method
        more = 2 * method.views + bool(method.random_numbers(10)) + 3 * method.trusted_batches
        assert device.waits.total() <= WAITS_OF_AN_EPOCH + more, device.waits
        list(events)
        content, *measured = saved[0]
        restore(second, torch.load(io.BytesIO(content), map_location="cpu", weights_only=True), *measured)
        list(second.run())
        first.estimated_transition()
        assert equal(first, second)
        assert equal(first, loop)
        for run in (first, second):
            assert (run.captured is not None) == run.method.captures
            assert run.captured is None or run.captured.graph is not None
    assert [pruning.n_kept for pruning in first.prunings] == [pruning.n_kept for pruning in loop.prunings]


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
