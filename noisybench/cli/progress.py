"""Which display the progress of runs gets: live bars on a terminal, plain lines elsewhere, or none."""

from collections.abc import Iterator
from contextlib import contextmanager

from noisybench.cli.console import console
from noisybench.cli.lines import Lines
from noisybench.sweeps.observer import RunObserver


@contextmanager
def progress(runs: int = 1, quiet: bool = False) -> Iterator[RunObserver]:
    """An observer that shows so many runs on stderr."""
    stderr = console(stderr=True)
    if quiet:
        yield RunObserver()
    elif stderr.is_terminal and not stderr.is_dumb_terminal:
        from noisybench.cli.live import Bars, Live

        with Bars(stderr) as bars:
            yield Live(bars, runs)
    else:
        yield Lines(runs)
