"""Measuring alternatives alternately, so that a drift of the machine meets all of them alike."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """What was measured: the median in seconds and the spread (max - min) over `repeats` runs, and the
    goal in seconds, if there is one."""

    what: str
    median: float
    spread: float
    repeats: int
    goal: float | None = None


def alternate(actions: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """The seconds that each action took, in `repeats` rounds over all of them, after one unmeasured."""
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for repeat in range(repeats + 1):
        for name, action in actions.items():
            start = time.perf_counter()
            action()
            if repeat:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def row(what: str, seconds: list[float], goal: float | None = None) -> Row:
    return Row(what, statistics.median(seconds), max(seconds) - min(seconds), len(seconds), goal)
