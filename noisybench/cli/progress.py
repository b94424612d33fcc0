"""Which display the progress of runs gets: live bars on a terminal, plain lines elsewhere, or none."""

from collections.abc import Iterator
from contextlib import contextmanager

from noisybench.cli.console import console, is_terminal
from noisybench.cli.lines import Lines
from noisybench.sweeps.observer import RunObserver


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
