"""RunObserver: what a run reports while it trains."""

from collections.abc import Sequence

from noisybench.config import Config
from noisybench.results import Epoch, Pruning


class RunObserver:
    """Receives the events of runs.  This base class ignores them."""

    def job(self) -> "RunObserver":
        """Return an observer for one of several runs that train at the same time."""
        return self

    def start(self, config: Config) -> None:
        """A run starts."""

    def resume(self, epochs: Sequence[Epoch]) -> None:
        """The run continues after these epochs; there may be none."""

    def show(self, event: Epoch | Pruning) -> None:
        """An epoch or a pruning has ended."""

    def tell(self, message: str) -> None:
        """What the user should know of the run."""

    def end(self, failure: str = "") -> None:
        """The run has ended.  failure: why it did not complete; empty if it did."""
