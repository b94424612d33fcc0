"""Predictions of a network and what is measured on them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from noisybench.batches import Images

# Images at a time: on a CPU, so few that what passes from layer to layer stays in the cache.
ON_CPU, ELSEWHERE = 125, 500
CALIBRATION_BINS = 15


@torch.no_grad()
def predict(
    model: nn.Module,
    images: Images,
    state: Mapping[str, Tensor] | None = None,
    forward: Callable[[nn.Module, Tensor], Tensor] = lambda model, batch: model(batch),
) -> Tensor:
    """Logits (n, classes) of all images, unaugmented, with batch norm in evaluation mode.

    With `state`, the network has those parameters and buffers for this call; its own are not touched.
    forward: how a method predicts with its network.
    """
    predicting = Predicting(model, forward).eval()
    if state is None:
        return torch.cat([predicting(batch) for batch in batches(images)])
    named = {f"model.{name}": value for name, value in state.items()}
    return torch.cat([functional_call(predicting, named, (batch,)) for batch in batches(images)])


class Predicting(nn.Module):
    """A network as a method predicts with it."""

    def __init__(self, model: nn.Module, forward: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.model, self._forward = model, forward

    def forward(self, images: Tensor) -> Tensor:
        return self._forward(self.model, images)


def batches(images: Images) -> Iterator[Tensor]:
    """All images, unaugmented, in order, so many at a time as is fast on their device."""
    size = ON_CPU if images.device.type == "cpu" else ELSEWHERE
    return (images.plain(start, start + size) for start in range(0, len(images), size))


def accuracy(logits: Tensor, target: Tensor) -> float:
    """The fraction of rows whose largest logit is the target's."""
    return int((logits.argmax(dim=1) == target).sum()) / len(target)


@dataclass(frozen=True)
class Evaluation:
    """Accuracies and ECE are fractions; confusion[i][j] counts images of class i predicted as j.

    per_class is None for a class without images.
    """

    n: int
    accuracy: float
    ece: float
    per_class: list[float | None]
    confusion: list[list[int]]


def evaluate(logits: Tensor, target: Tensor) -> Evaluation:
    """Measure logits (n, classes) against the labels `target` (n,)."""
    logits, target = logits.cpu(), target.cpu()
    classes = logits.shape[1]
    predicted = logits.argmax(dim=1)
    confusion = torch.bincount(target * classes + predicted, minlength=classes**2).reshape(classes, classes)
    counts = confusion.sum(dim=1).tolist()
    return Evaluation(
        n=len(target),
        accuracy=accuracy(logits, target),
        ece=expected_calibration_error(logits, target),
        per_class=[
            hits / count if count else None
            for hits, count in zip(confusion.diag().tolist(), counts, strict=True)
        ],
        confusion=confusion.tolist(),
    )


def expected_calibration_error(logits: Tensor, target: Tensor) -> float:
    """ECE over 15 bins of equal width (Guo et al. 2017), of tensors on the CPU: the mean gap between
    the accuracy and the mean confidence of a bin, weighted by its samples."""
    confidence, predicted = logits.double().softmax(dim=1).max(dim=1)
    bins = (confidence * CALIBRATION_BINS).ceil().long() - 1
    gap = (predicted == target).double() - confidence
    sums = torch.zeros(CALIBRATION_BINS, dtype=torch.float64).index_add(0, bins, gap)
    return (sums.abs().sum() / len(target)).item()
