"""When a run that says nothing any more is taken for hung.

An epoch takes as long as it takes, a hundredth of a second or an hour: a run is measured by itself.
"""

from dataclasses import dataclass

# By default, so many times the slowest epoch of the run so far, but at least so many seconds ...
TIMES = 10
LEAST = 30 * 60.0
# ... and so many while its first has not ended: one of a large network on a CPU takes hours.
FIRST = 12 * 3600.0


@dataclass(frozen=True)
class Patience:
    """How many seconds a run may end no epoch: `given`, or what its own epochs suggest."""

    given: float | None = None

    def after(self, slowest: float | None) -> float:
        """As long as that, for a run whose slowest epoch, if one has ended, took so many seconds."""
        if self.given is not None:
            return self.given
        return FIRST if slowest is None else max(LEAST, TIMES * slowest)


class Silence:
    """The time since a run last ended an epoch or a pruning."""

    def __init__(self, patience: Patience) -> None:
        self.patience = patience
        self.seconds = 0.0
        self.slowest: float | None = None

    @property
    def left(self) -> float:
        """The seconds until the run is taken for hung."""
        return self.patience.after(self.slowest) - self.seconds

    def lasts(self, seconds: float) -> None:
        """So much more time has passed."""
        self.seconds += seconds

    def ends(self) -> None:
        """The run has told an epoch or a pruning."""
        self.slowest = max(self.slowest or 0.0, self.seconds)
        self.seconds = 0.0
