"""When a run that reports nothing counts as hung.

An epoch can take a hundredth of a second or an hour, so the limit follows the run's own epochs.
"""

# The default limit: this many times the slowest epoch of the run so far, but at least this many seconds.
SLOWEST_EPOCHS = 10
MINIMUM = 30 * 60.0
# The default limit for the first epoch, in seconds: that of a large network on a CPU takes hours.
FIRST_EPOCH = 12 * 3600.0


class StallTimer:
    """The seconds since a run last reported an epoch or a pruning.

    given: how many seconds the run may go without; None for the default.
    """

    def __init__(self, given: float | None = None) -> None:
        self.given = given
        self.seconds = 0.0
        self.slowest: float | None = None

    @property
    def left(self) -> float:
        """The seconds until the run counts as hung."""
        if self.given is not None:
            return self.given - self.seconds
        limit = FIRST_EPOCH if self.slowest is None else max(MINIMUM, SLOWEST_EPOCHS * self.slowest)
        return limit - self.seconds

    def advance(self, seconds: float) -> None:
        """Add time that has passed."""
        self.seconds += seconds

    def restart(self) -> None:
        """Start again from zero: the run has reported an epoch or a pruning."""
        self.slowest = max(self.slowest or 0.0, self.seconds)
        self.seconds = 0.0
