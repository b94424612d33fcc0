"""The progress of runs on stderr, as bars on a terminal and as plain lines elsewhere; runs in words."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from noisybench.cli.console import console, in_percent, is_terminal, tell
from noisybench.config import Config
from noisybench.registry import shortened
from noisybench.results import Epoch, Pruning
from noisybench.sweeps.observer import RunObserver


def describe(config: Config) -> str:
    """A run in a few words."""
    return f"{config.dataset} {shortened(config.noise)} {config.rate:g} {config.loss} seed {config.seed}"


def measures(event: Epoch | Pruning) -> str:
    """An epoch or a pruning in a few words."""
    if isinstance(event, Pruning):
        return (
            f"pruned: kept {event.n_kept:,}, dropped {event.n_dropped:,}"
            f" (precision {in_percent(event.precision, 0)}, recall {in_percent(event.recall, 0)})"
            f" by the network of epoch {event.model_epoch}"
        )
    return (
        f"loss {event.train_loss:.3f}  val loss {event.val_loss:.3f}  val {event.val_accuracy:.1%}"
        f"  test {event.test_accuracy:.1%}  kept {event.n_kept:,}"
    )


class Lines(RunObserver):
    """A line for each epoch of a single run; of several runs, a line for each run, with its last epoch."""

    def __init__(self, runs: int, number: int = 1) -> None:
        self.runs, self.number = runs, number
        self.observers = 0
        self.config: Config | None = None
        self.last: Epoch | None = None
        self.seconds = 0.0

    def job(self) -> "Lines":
        self.observers += 1
        return Lines(self.runs, self.observers)

    def start(self, config: Config) -> None:
        self.config, self.last, self.seconds = config, None, 0.0
        if self.runs == 1:
            self._print(describe(config))

    def resume(self, epochs: Sequence[Epoch]) -> None:
        self.seconds = sum(epoch.seconds for epoch in epochs)
        if epochs and self.runs == 1:
            self._print(f"  continues after epoch {epochs[-1].epoch}")

    def show(self, event: Epoch | Pruning) -> None:
        assert self.config is not None
        if isinstance(event, Epoch):
            self.last = event
            self.seconds += event.seconds
        if self.runs > 1:
            return
        if isinstance(event, Pruning):
            self._print(f"  {measures(event)}")
            return
        left = self.seconds / event.epoch * (self.config.epochs - event.epoch)
        of_all = f"{event.epoch}/{self.config.epochs}"
        self._print(f"  epoch {of_all}  {measures(event)}  lr {event.lr:g}  {left:.0f}s left")

    def tell(self, message: str) -> None:
        self._print(f"  {message}")

    def end(self, failure: str = "") -> None:
        if self.runs == 1 or self.config is None:
            return
        last = self.last
        measured = "" if last is None else f"last epoch {last.epoch}: {measures(last)}  {self.seconds:.1f}s"
        self._print(f"{describe(self.config)}: {failure or measured}")

    def _print(self, text: str) -> None:
        tell(f"[{self.number}/{self.runs}] {text}" if self.runs > 1 else text)


@contextmanager
def progress(runs: int = 1, quiet: bool = False) -> Iterator[RunObserver]:
    """An observer that shows so many runs on stderr."""
    if quiet:
        yield RunObserver()
    elif is_terminal(stderr=True):
        from noisybench.cli.live import Bars, Live

        with Bars(console(stderr=True)) as bars:
            yield Live(bars, runs)
    else:
        yield Lines(runs)
