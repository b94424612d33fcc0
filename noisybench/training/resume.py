"""What a run needs to go on where it was killed: its state after an epoch, in one file that holds no code.

A resumed run is the run: order and augmentation derive from (seed, epoch), so the state of the network, of
the optimiser and of the choice of samples is all there is.  What its epochs measured is in the store.
"""

import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import noisybench
from noisybench.errors import DataError
from noisybench.training.checkpoints import save
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

    def read(self) -> dict[str, Any] | None:
        """The state in the file, with its `epoch`; None if there is none to go on from: the file is missing,
        damaged, or of another precision or version of noisybench."""
        try:
            state: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
            return state if {name: state[name] for name in self.key} == self.key else None
        except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, TypeError, KeyError):
            return None

    @staticmethod
    def remove(folder: Path) -> None:
        """Remove the file, if there is one, of a run that has completed."""
        (folder / FILE).unlink(missing_ok=True)


def state_of(training: Training) -> dict[str, Any]:
    """All that a run needs to go on after its last epoch, as tensors and plain values."""
    return {
        "model": training.model.state_dict(),
        "optimiser": training.optimiser.state_dict(),
        "best": vars(training.best),
        "lowest": None if training.lowest is None else vars(training.lowest),
        "kept_rows": torch.from_numpy(training.kept_rows),
        "n_kept": training.n_kept,
        "ended_early": training.ended_early,
        "method": training.state,
    }


def restore(training: Training, state: dict[str, Any]) -> None:
    """Put a run that has not begun into a state that `Resume.read` read; its `epochs` are left alone."""
    training.model.load_state_dict(state["model"])
    training.optimiser.load_state_dict(state["optimiser"])
    for name in ("best", "lowest"):
        kept = state[name]
        if kept is not None:
            networks = {key: value.to(training.device) for key, value in kept["state"].items()}
            setattr(training, name, type(getattr(training, name))(**{**kept, "state": networks}))
    training.kept_rows = state["kept_rows"].numpy()
    training.n_kept, training.ended_early = state["n_kept"], state["ended_early"]
    for name, value in state["method"].items():
        # In place: what has recorded a step reads the same memory.
        training.state[name].copy_(value)
