"""What a run needs to go on where it was killed: its state after an epoch, in one file that holds no code.

A resumed run is the run: order and augmentation derive from (seed, epoch), so the state of the network, of
the optimiser and of the choice of samples is all there is.  What its epochs measured is in the store.

The file lies beside a store that colleagues send, so that nothing in it is believed unseen.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import noisybench
from noisybench.errors import DataError
from noisybench.results import Epoch, Pruning
from noisybench.training.checkpoints import read_tensors, save
from noisybench.training.loop import Training

FILE = "resume.pt"

# Of the time of a run, at most so much goes into writing its state.
COST = 0.02


class Resume:
    """The file of one run.

    folder: where it lies; identity: of the run's Config; precision: what it computes in.  before: called
    before a state is written, to have on the disk what it counts on.  With `always`, that is after each
    epoch, whatever it costs.
    """

    def __init__(
        self,
        folder: Path,
        identity: str,
        precision: str,
        before: Callable[[], None] = lambda: None,
        always: bool = False,
    ) -> None:
        self.path = folder / FILE
        self.key = {"identity": identity, "precision": precision, "noisybench": noisybench.__version__}
        self.before, self.always = before, always
        self.written = time.perf_counter()
        self.cost = 0.0

    def offer(self, training: Training, epoch: int) -> None:
        """Write the state after an epoch, unless the last writing was too short a time ago.

        The file is replaced as a whole, once the new one is on the disk.  Raises DataError.
        """
        start = time.perf_counter()
        if not self.always and COST * (start - self.written) < self.cost:
            return
        self.before()
        try:
            save({**self.key, "epoch": epoch, **state_of(training)}, self.path)
        except OSError as error:
            raise DataError(
                f"The state of the run cannot be written to {self.path}: {error.strerror}."
            ) from None
        self.written = time.perf_counter()
        self.cost = self.written - start

    def read(self, training: Training) -> tuple[int, dict[str, Any]] | None:
        """The epoch and the state in the file; None if there is none that `training` can go on from: the file
        is missing, damaged, of another precision or version of noisybench, or holds what does not fit."""
        try:
            content = read_tensors(self.path)
            epoch, state = content.pop("epoch"), {name: content[name] for name in content.keys() - self.key}
            same_key = {name: content[name] for name in self.key} == self.key
            known = type(epoch) is int and 1 <= epoch <= training.config.epochs
            return (epoch, state) if same_key and known and fits(state, training) else None
        except Exception:  # damage can make torch raise anything, and any type may stand for any other
            return None

    @staticmethod
    def remove(folder: Path) -> None:
        """Remove the file, if there is one, of a run that has completed."""
        (folder / FILE).unlink(missing_ok=True)


def state_of(training: Training) -> dict[str, Any]:
    """All that a run needs to go on after its last epoch, besides what its epochs and prunings measured."""
    return {
        "model": training.model.state_dict(),
        "optimiser": training.optimiser.state_dict()["state"],
        "best": training.best.state,
        "lowest": None if training.lowest is None else training.lowest.state,
        "kept_rows": torch.from_numpy(training.kept_rows),
        "method": training.state,
    }


def restore(
    training: Training, state: dict[str, Any], epochs: Sequence[Epoch], prunings: Sequence[Pruning]
) -> None:
    """Put a run that has not begun into a state after so many epochs and prunings, which it measured."""
    training.model.load_state_dict(state["model"])
    groups = training.optimiser.state_dict()["param_groups"]
    training.optimiser.load_state_dict({"state": state["optimiser"], "param_groups": groups})
    training.epochs, training.prunings = list(epochs), list(prunings)
    for epoch in epochs:
        training.offer(epoch)
    for name, best in (("best", training.best), ("lowest", training.lowest)):
        if best is not None:
            best.state = {key: value.to(training.device) for key, value in state[name].items()}
    training.keep(state["kept_rows"].numpy())
    training.n_kept = prunings[-1].n_kept if prunings else len(training.kept_rows)
    for name, value in state["method"].items():
        # In place: what has recorded a step reads the same memory.
        training.state[name].copy_(value)


def fits(state: dict[str, Any], training: Training) -> bool:
    """Whether a state is one of this run, by its parts, their shapes and types, and the range of numbers."""
    fresh = state_of(training)
    networks = [state["model"], state["best"]]
    if fresh["lowest"] is not None:
        networks.append(state["lowest"])
    rows, n = state["kept_rows"], len(training.given)
    return (
        state.keys() == fresh.keys()
        and all(_like(network, fresh["model"]) and _finite(network) for network in networks)
        and _fits_optimiser(state["optimiser"], training)
        and _like(state["method"], fresh["method"])
        and _like({"": rows}, {"": fresh["kept_rows"][: len(rows)]})
        and bool((rows.diff() > 0).all() and (rows >= 0).all() and (rows < n).all())
    )


def _fits_optimiser(state: dict[int, dict[str, Tensor]], training: Training) -> bool:
    """Whether an optimiser's memory is that of all parameters that this run trains, with all its parts."""
    parts = {"momentum_buffer"} if training.config.momentum else set()
    if training.config.optimiser == "adam":
        parts = {"step", "exp_avg", "exp_avg_sq"}
    trained = {n: p for n, p in enumerate(training.model.parameters()) if p.requires_grad and parts}
    return state.keys() == trained.keys() and all(
        _like(state[n], {name: torch.zeros(()) if name == "step" else p.detach() for name in parts})
        and _finite(state[n])
        and all((state[n][name] >= 0).all() for name in parts & {"step", "exp_avg_sq"})
        for n, p in trained.items()
    )


def _like(tensors: dict[str, Tensor], expected: Mapping[str, Tensor]) -> bool:
    """Whether tensors have the names, shapes and types that are expected, and memory of their own."""
    return tensors.keys() == expected.keys() and all(
        (value.shape, value.dtype, value.layout) == (other.shape, other.dtype, torch.strided)
        and value.untyped_storage().nbytes() >= value.numel() * value.element_size()
        for value, other in ((tensors[name], expected[name]) for name in expected)
    )


def _finite(tensors: Mapping[str, Tensor]) -> bool:
    return all(bool(value.isfinite().all()) for value in tensors.values())
