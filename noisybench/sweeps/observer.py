"""RunObserver: what a run reports while it trains."""

from collections.abc import Sequence

from noisybench.config import Config
from noisybench.results import Epoch, Pruning


class RunObserver:
    """Receives the events of runs.  Each method passes its event to `on`, and this base class ignores it."""

    def job(self) -> "RunObserver":
        """Return an observer for one of several runs that train at the same time."""
        return self

    def start(self, config: Config) -> None:
        """A run starts."""
        self.on("start", config)

    def resume(self, epochs: Sequence[Epoch]) -> None:
        """The run continues after these epochs; there may be none."""
        self.on("resume", epochs)

    def show(self, event: Epoch | Pruning) -> None:
        """An epoch or a pruning has ended."""
        self.on("show", event)

    def tell(self, message: str) -> None:
        """The run has a message for the user."""
        self.on("tell", message)

    def end(self, failure: str = "") -> None:
        """The run has ended.  failure: why it did not complete; empty if it did."""
        self.on("end", failure)

    def on(self, event: str, argument: object) -> None:
        """An event that no other method handles: the name of its method, and the argument."""
