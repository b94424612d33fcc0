"""What a run tells of itself while it is carried out."""

from collections.abc import Sequence

from noisybench.config import Config, Epoch, Pruning


class Display:
    """Whoever shows a run's progress: here, nobody."""

    def job(self) -> "Display":
        """A display for one of several runs that are carried out at once."""
        return self

    def start(self, config: Config) -> None:
        """A run begins."""

    def resume(self, epochs: Sequence[Epoch]) -> None:
        """The run goes on after these epochs, if there are any."""

    def show(self, event: Epoch | Pruning) -> None:
        """An epoch or a pruning has ended."""

    def end(self, failure: str = "") -> None:
        """The run has ended: well, or, in these words, not."""
