"""The contract of methods and models, as checks of a definition: for `noisybench check` and the tests."""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from noisybench import datasets
from noisybench.config import Config
from noisybench.errors import NoisybenchError
from noisybench.inputs import corrupt
from noisybench.labels import noise_of
from noisybench.labels.contract import noise_checks
from noisybench.methods import LossMethod
from noisybench.registry import MODELS, Bound
from noisybench.split import split
from noisybench.training.loop import Training
from noisybench.training.resume import fits, restore, state_of

CLASSES = 5
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Check:
    """A fact that was checked.  passed: None where `found` is for information only."""

    what: str
    passed: bool | None
    found: str


def check_method(config: Config) -> Iterator[Check]:
    """Check the method of a run on digits, as a loss function and in training.

    A check whose code raises an error of its own has failed, with the error.
    """
    method = config.method
    if isinstance(method, LossMethod):
        loss = _loss_of(method.bound)
        for what, check in (
            ("losses have the shape of the labels", _shape),
            ("the loss of a sample does not depend on the others", _per_sample),
            ("finite at extreme logits", _finite),
            ("gradients against finite differences", _gradient),
            ("symmetry (Eq. 3)", _symmetry),
        ):
            yield _guarded(what, lambda check=check: check(loss))  # type: ignore[misc]
    for what, check_run in (
        ("trains, and the loss stays finite", _trains),
        ("the same seed gives the same bits", _deterministic),
        ("a killed run goes on to the same bits", _resumes),
    ):
        yield _guarded(what, lambda check_run=check_run: check_run(config))  # type: ignore[misc]


def check_model(bound: Bound[Any]) -> Iterator[Check]:
    """Check a model: logits for grey and colour images of several sizes, initial weights by the seed."""
    for shape in ((8, 8, 1), (28, 28, 1), (32, 32, 3)):
        yield _guarded(f"logits of images of {datasets.by(shape)}", lambda shape=shape: _logits(bound, shape))  # type: ignore[misc]
    yield _guarded("the same seed gives the same initial weights", lambda: _initial_weights(bound))


def check_noise(bound: Bound[Any]) -> Iterator[Check]:
    """Check a noise on digits: see labels/contract.py."""
    for what, check in noise_checks(noise_of(bound)):
        yield _guarded(what, check)


def _guarded(what: str, check: Callable[[], tuple[bool | None, str]]) -> Check:
    try:
        passed, found = check()
    except NoisybenchError as error:
        return Check(what, False, str(error))
    except Exception as error:  # the code of somebody else may raise anything
        return Check(what, False, f"{type(error).__name__}: {error}")
    return Check(what, passed, found)


Loss = Callable[[Tensor, Tensor], Tensor]


def _loss_of(bound: Bound[Any]) -> Loss:
    """The bare loss function, with a transition matrix where it asks for one."""
    transition = torch.full((CLASSES, CLASSES), 0.1, dtype=torch.float64).fill_diagonal_(0.6)

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        values: Tensor = bound(logits, target, transition=transition.to(logits.dtype))
        return values

    return loss


def _batch(n: int = 12, scale: float = 3.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(n, CLASSES, generator=generator, dtype=torch.float64)
    return logits, torch.arange(n) % CLASSES


def _shape(loss: Loss) -> tuple[bool, str]:
    logits, target = _batch()
    values = loss(logits, target)
    return values.shape == target.shape, f"{tuple(values.shape)} for labels {tuple(target.shape)}"


def _per_sample(loss: Loss) -> tuple[bool, str]:
    logits, target = _batch()
    whole = loss(logits, target)
    alone = torch.cat([loss(logits[i : i + 1], target[i : i + 1]) for i in range(len(target))])
    difference = (whole - alone).abs().max().item()
    return difference < 1e-9, f"largest difference {difference:.1e}"


def _finite(loss: Loss) -> tuple[bool, str]:
    for scale in (1e2, 1e4, 1e30):
        logits, target = _batch(scale=scale)
        logits = logits.float().requires_grad_()
        values = loss(logits, target)
        (gradient,) = torch.autograd.grad(values.sum(), logits)
        for name, tensor in (("loss", values), ("gradient", gradient)):
            if not tensor.isfinite().all():
                return False, f"the {name} of float32 logits of about {scale:.0e} is not finite"
    return True, "float32 logits up to 1e30"


def _gradient(loss: Loss) -> tuple[bool, str]:
    logits, target = _batch(n=6)
    torch.autograd.gradcheck(lambda x: loss(x, target), logits.requires_grad_())
    return True, "float64, 6 samples"


def _symmetry(loss: Loss) -> tuple[None, str]:
    """Whether the sum of the losses of all labels is one constant, for any logits."""
    logits, _ = _batch(n=200)
    sums = sum(loss(logits, torch.full((200,), y)) for y in range(CLASSES))
    assert isinstance(sums, Tensor)
    spread = ((sums.max() - sums.min()) / sums.abs().mean()).item()
    if spread < 1e-9:
        return None, f"holds: the losses of all labels sum to {sums.mean().item():.6g}"
    return None, f"does not hold: their sum varies by {spread:.3g} of its mean"


def _training(config: Config) -> Training:
    digits = datasets.load("digits")
    drawn = corrupt(config, digits)
    return Training(config, digits, split(config, digits, drawn.given), drawn.transition, CPU)


def _bits(training: Training) -> list[Tensor]:
    return [*training.model.state_dict().values(), *training.state.values()]


def _equal(first: Training, second: Training) -> bool:
    return all(torch.equal(a, b) for a, b in zip(_bits(first), _bits(second), strict=True))


def _trains(config: Config) -> tuple[bool, str]:
    training = _training(config)
    list(training.run())
    accuracy = training.epochs[-1].test_accuracy
    return (
        True,
        f"test accuracy {accuracy:.1%} after {len(training.epochs)} epochs of {config.train_size} digits",
    )


def _deterministic(config: Config) -> tuple[bool, str]:
    first, second = _training(config), _training(config)
    list(first.run()), list(second.run())
    return _equal(first, second), f"{len(_bits(first))} tensors compared"


def _resumes(config: Config) -> tuple[bool, str]:
    """Stopped after half of its epochs, and gone on from the saved state."""
    half = config.epochs // 2
    first, second = _training(config), _training(config)
    saved: list[tuple[bytes, list[Any], list[Any]]] = []

    def save(epoch: int) -> None:
        if epoch == half:
            memory = io.BytesIO()
            torch.save(state_of(first), memory)
            saved.append((memory.getvalue(), list(first.epochs), list(first.prunings)))

    list(first.run(save))
    content, epochs, prunings = saved[0]
    state = torch.load(io.BytesIO(content), weights_only=True)
    if not fits(state, second):
        return False, "its state has other parts than a new run, or a parameter has no gradient"
    restore(second, state, epochs, prunings)
    list(second.run())
    return _equal(first, second), f"stopped after epoch {half} of {config.epochs}"


def _logits(bound: Bound[Any], shape: tuple[int, int, int]) -> tuple[bool, str]:
    height, width, channels = shape
    model = bound(shape, CLASSES)
    logits = model(torch.rand(4, channels, height, width))
    parameters = sum(p.numel() for p in model.parameters())
    fits = tuple(logits.shape) == (4, CLASSES) and bool(logits.isfinite().all())
    return fits, f"{tuple(logits.shape)} for 4 images and {CLASSES} classes, {parameters:,} parameters"


def _initial_weights(bound: Bound[Any]) -> tuple[bool, str]:
    states = []
    for _ in range(2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            states.append(MODELS.bind(str(bound))((8, 8, 1), CLASSES).state_dict())
    same = all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    return same, f"{len(states[0])} tensors compared"
