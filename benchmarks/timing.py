"""Measuring alternatives alternately, so that a drift of the machine meets all of them alike."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["speed-up", "cost", "seconds"]


@dataclass(frozen=True)
class Goal:
    """A bound on the value of a row: at least `value` for a speed-up, at most for a cost or for seconds."""

    kind: Kind
    value: float

    def __str__(self) -> str:
        return f"{'≥' if self.kind == 'speed-up' else '≤'} {self.value:g}"

    def met(self, value: float, slack: float = 1.0) -> bool:
        """Whether a value meets the goal; with slack 2, whether it is half as good at least."""
        return value * slack >= self.value if self.kind == "speed-up" else value <= self.value * slack


@dataclass(frozen=True)
class Row:
    """Ours beside the alternative, in seconds for the same work, each round's pair measured in turn.

    kind: what `value` is. "speed-up": how many times faster ours is than the alternative; "cost": ours as a
    multiple of it; "seconds": ours alone.
    """

    what: str
    ours: list[float]
    alternative: str = ""
    other: list[float] | None = None
    goal: Goal | None = None
    kind: Kind = "speed-up"
    unit: str = ""
    count: float = 0

    @property
    def values(self) -> list[float]:
        """The value of each round."""
        if self.other is None:
            return self.ours
        pairs = zip(self.ours, self.other, strict=True)
        return [b / a if self.kind == "speed-up" else a / b for a, b in pairs]

    @property
    def value(self) -> float:
        return statistics.median(self.values)


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


def compare(
    what: str,
    ours: Callable[[], object],
    alternative: str,
    other: Callable[[], object],
    repeats: int,
    *,
    kind: Kind = "speed-up",
    goal: float | None = None,
    count: float = 0,
    unit: str = "",
) -> Row:
    """Measure two ways of the same work alternately.  count: how many `unit`s that work is, if it counts."""
    seconds = alternate({"ours": ours, "other": other}, repeats)
    bound = None if goal is None else Goal(kind, goal)
    return Row(what, seconds["ours"], alternative, seconds["other"], bound, kind, unit, count)


def against(
    alternative: str,
    other: Callable[[], object],
    actions: Mapping[str, Callable[[], object]],
    repeats: int,
    *,
    kind: Kind = "speed-up",
    goal: float | None = None,
    count: float = 0,
    unit: str = "",
) -> list[Row]:
    """As `compare`, for several ways of the same work at once: a row for each of the `actions`."""
    seconds = alternate({alternative: other, **actions}, repeats)
    bound = None if goal is None else Goal(kind, goal)
    theirs = seconds.pop(alternative)
    return [Row(what, ours, alternative, theirs, bound, kind, unit, count) for what, ours in seconds.items()]
