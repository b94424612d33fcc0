"""The losses under torch.func, torch.compile and DistributedDataParallel give what they give alone."""

import inspect
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.func import grad, jacfwd, jacrev, vmap
from torch.nn.parallel import DistributedDataParallel

from noisybench import losses
from noisybench.losses import (
    CCELoss,
    ForwardLoss,
    LqLoss,
    MAELoss,
    PrunedLqLoss,
    TruncatedLqLoss,
    UnhingedLoss,
)

# Torch calls deprecated what it uses itself for forward-mode derivatives and for compiling.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

CLASSES = 5
TRANSITION = torch.full((CLASSES, CLASSES), 0.0625).fill_diagonal_(0.75)
Loss = Callable[[Tensor, Tensor], Tensor]


def with_transition(function: Callable[..., Tensor]) -> Loss:
    takes = "transition" in inspect.signature(function).parameters
    return partial(function, transition=TRANSITION) if takes else function


FUNCTIONS = {name: with_transition(getattr(losses, name)) for name in losses.__all__ if name.islower()}
MODULES: dict[str, Callable[..., nn.Module]] = {
    "CCELoss": CCELoss,
    "MAELoss": MAELoss,
    "UnhingedLoss": UnhingedLoss,
    "LqLoss": LqLoss,
    "TruncatedLqLoss": partial(TruncatedLqLoss, k=0.1),
    "ForwardLoss": partial(ForwardLoss, TRANSITION),
}
LOSSES = {**FUNCTIONS, **{name: make(reduction="none") for name, make in MODULES.items()}}


def batch(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (12, CLASSES), labels (12,), and probabilities (12, CLASSES)."""
    generator = torch.Generator().manual_seed(0)
    logits, others = 2 * torch.randn(2, 12, CLASSES, generator=generator, dtype=dtype)
    return logits, torch.arange(12) % CLASSES, others.softmax(dim=1)


def gradient(loss: Loss, logits: Tensor, target: Tensor) -> Tensor:
    logits = logits.detach().clone().requires_grad_()
    (found,) = torch.autograd.grad(loss(logits, target).sum(), logits)
    return found


@pytest.mark.parametrize("name", LOSSES)
def test_mapped_over_samples_and_over_networks(name: str) -> None:
    loss, (logits, target, probabilities) = LOSSES[name], batch()
    torch.testing.assert_close(vmap(loss)(logits, target), loss(logits, target))
    torch.testing.assert_close(vmap(loss)(logits, probabilities), loss(logits, probabilities))
    three = torch.stack([logits, -logits, 2 * logits])
    of_each = torch.stack([loss(one, target) for one in three])
    torch.testing.assert_close(vmap(loss, in_dims=(0, None))(three, target), of_each)


@pytest.mark.parametrize("name", LOSSES)
def test_derivatives_by_functions_forwards_and_backwards(name: str) -> None:
    loss, (logits, target, probabilities) = LOSSES[name], batch()
    expected = gradient(loss, logits, target)
    torch.testing.assert_close(grad(lambda x: loss(x, target).sum())(logits), expected)
    torch.testing.assert_close(vmap(grad(lambda x, y: loss(x, y).sum()))(logits, target), expected)
    for y in (target, probabilities):
        forwards, backwards = jacfwd(loss)(logits, y), jacrev(loss)(logits, y)
        torch.testing.assert_close(forwards, backwards)
        torch.testing.assert_close(forwards.sum(dim=0), gradient(loss, logits, y))


def every_loss(logits: Tensor, target: Tensor) -> Tensor:
    """The mean of each function, and each class with weights of classes, (number of losses,)."""
    values = [function(logits, target).mean() for function in FUNCTIONS.values()]
    return torch.stack([*values, *(criterion(logits, target) for criterion in WEIGHTED)])


def pruned(logits: Tensor, target: Tensor) -> Tensor:
    return KEEPING(logits, target, torch.arange(len(logits)))  # type: ignore[no-any-return]


WEIGHTED = [make(weight=torch.arange(1.0, CLASSES + 1)) for make in MODULES.values()]
KEEPING = PrunedLqLoss(12, k=0.2)
KEEPING.update(batch(torch.float32)[0], batch()[1])


def same_when_compiled(loss: Loss, targets: list[Tensor], backend: str) -> None:
    torch.compiler.reset()
    compiled = torch.compile(loss, fullgraph=True, backend=backend)
    logits = batch(torch.float32)[0]
    for target in targets:
        torch.testing.assert_close(compiled(logits, target), loss(logits, target))
        torch.testing.assert_close(gradient(compiled, logits, target), gradient(loss, logits, target))


@pytest.mark.slow
def test_every_loss_is_one_graph() -> None:
    _, target, probabilities = batch(torch.float32)
    ignored = target.index_fill(0, torch.tensor([0, 7]), -100)
    same_when_compiled(every_loss, [ignored, probabilities], "eager")
    same_when_compiled(pruned, [ignored], "eager")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["TruncatedLqLoss", "ForwardLoss"])
def test_compiled_to_code_of_its_own_it_gives_the_same(name: str) -> None:
    _, target, probabilities = batch(torch.float32)
    ignored = target.index_fill(0, torch.tensor([0, 7]), -100)
    same_when_compiled(MODULES[name](), [ignored, probabilities], "inductor")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lq", "forward_t", "focal"])
@pytest.mark.parametrize("label", [-1, CLASSES])
def test_labels_out_of_range_are_refused_in_compiled_and_mapped_code(name: str, label: int) -> None:
    torch.compiler.reset()
    logits, target, _ = batch(torch.float32)
    wrong, loss = target.index_fill(0, torch.tensor(3), label), FUNCTIONS[name]
    for transformed in (torch.compile(loss, fullgraph=True, backend="aot_eager"), vmap(loss)):
        with pytest.raises((IndexError, RuntimeError), match="out of (bounds|range)"):
            transformed(logits, wrong)


def steps(names: list[str], rows: slice, wrap: Callable[[nn.Module], nn.Module]) -> dict[str, list[Tensor]]:
    """The weights of a network after five steps by each loss on some of the samples."""
    logits, target, _ = batch()
    found = {}
    for name in names:
        torch.manual_seed(0)
        network = nn.Linear(CLASSES, CLASSES, dtype=torch.float64)
        with torch.no_grad():
            network.weight.copy_(torch.eye(CLASSES))
        model, optimiser = wrap(network), torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
        loss = LOSSES[name]
        for _ in range(5):
            optimiser.zero_grad()
            loss(model(logits[rows]), target[rows]).mean().backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        found[name] = [parameter.detach().clone() for parameter in network.parameters()]
    return found


def in_a_process(rank: int, folder: str, names: list[str]) -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=2)
    rows: Any = slice(rank * 6, rank * 6 + 6)
    torch.save(steps(names, rows, DistributedDataParallel), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path: Path) -> None:
    names = list(LOSSES)
    torch.multiprocessing.start_processes(
        in_a_process, (str(tmp_path), names), nprocs=2, start_method="spawn"
    )
    expected = steps(names, slice(None), lambda network: network)
    for rank in (0, 1):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for name in names:
            torch.testing.assert_close(found[name], expected[name], msg=lambda m, n=name: f"{n}: {m}")
