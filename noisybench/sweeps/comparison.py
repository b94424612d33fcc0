"""Losses compared on one data set by noisy validation, as a search over them: which one to train with."""

from dataclasses import dataclass
from math import sqrt

from noisybench.registry import METHODS
from noisybench.sweeps.search import Search, Trial

# Of the standard error of a difference, within which two losses are not told apart.
CONFIDENCE = 1.96


def candidates() -> dict[str, int]:
    """The losses that the registry marks for comparison, with their hyper-parameters, and for each the passes
    of the images through a network in an epoch."""
    return {
        f"{entry.name}({setting})" if setting else entry.name: entry.metadata.passes
        for entry in METHODS
        for setting in entry.metadata.compared
    }


@dataclass(frozen=True)
class Compared:
    """A loss that was compared.

    state: as of `Trial`.  val_accuracy: of the best epoch on the noisy validation images, a fraction; None
    unless it completed.
    """

    loss: str
    state: str
    val_accuracy: float | None


@dataclass(frozen=True)
class Suggestion:
    """The loss of highest noisy-validation accuracy.

    losses: all that were compared, the best first.  n_validation: validation images.  standard_error: of the
    accuracy of the best.  alike: the losses that are not told apart from the best.
    """

    loss: str
    losses: tuple[Compared, ...]
    n_validation: int
    standard_error: float
    alike: tuple[str, ...]


def suggestion(search: Search) -> Suggestion | None:
    """What a search over losses has found; None if none of them completed.

    Two accuracies on the same images differ by chance as those on two sets of images do, or less.
    """
    completed = sorted((t for t in search.trials if t.state == "completed"), key=lambda t: -t.accuracy)
    if not completed:
        return None
    best = completed[0]
    error = best.standard_error
    least = best.accuracy - CONFIDENCE * sqrt(2) * error
    others = [trial for trial in search.trials if trial.state != "completed"]
    return Suggestion(
        loss=_loss(best),
        losses=tuple(
            Compared(_loss(trial), trial.state, trial.accuracy if trial.state == "completed" else None)
            for trial in [*completed, *others]
        ),
        n_validation=best.n_validation,
        standard_error=error,
        alike=tuple(_loss(trial) for trial in completed[1:] if trial.accuracy >= least),
    )


def _loss(trial: Trial) -> str:
    return str(trial.setting["loss"])
