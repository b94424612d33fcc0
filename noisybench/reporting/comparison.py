"""Losses compared with each other, seed by seed: both runs of a pair saw the same noisy labels.

What is compared, and with what result, is here; how it is laid out is in `comparison_lines`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, groupby
from typing import TYPE_CHECKING, Any

from noisybench.errors import InvalidValue, UnknownName
from noisybench.reporting.cells import Record, pruned
from noisybench.reporting.layout import DATA, METHOD
from noisybench.reporting.paired import Paired, holm, paired
from noisybench.reporting.selection import select
from noisybench.reporting.statistics import SCHEDULE, SETTINGS, WHOLE, as_records, rank

if TYPE_CHECKING:
    from pandas import DataFrame

# Where runs of two methods can be pairs: these settings and the seed give the noisy labels and the split.
PLACE = ("dataset", *DATA, "noise", "rate")

# The runs of one method at one place, by their settings METHOD, then by seed.
Variants = dict[tuple[Any, ...], dict[int, Record]]


@dataclass(frozen=True)
class Comparison:
    """Two methods at one place.  first, second: their completed runs, in pairs of one seed.

    found: of the accuracies in percent, second − first.  p_holm: its p, corrected for all tests.
    """

    methods: tuple[str, str]
    first: Sequence[Record]
    second: Sequence[Record]
    found: Paired
    p_holm: float | None = None

    @property
    def differing(self) -> list[str]:
        """The settings in which the two are not the same; a loss that does not prune has no schedule."""
        one, other = self.first[0], self.second[0]
        schedule = [name for name in SCHEDULE if None not in (one[name], other[name])]
        return [name for name in (*METHOD, *schedule) if one[name] != other[name]]


def comparisons(
    runs: "DataFrame", losses: Sequence[str], measure: str
) -> tuple[list[str], list[Comparison], dict[tuple[str, str], list[Record]]]:
    """Compare all pairs of the losses, in the order given, wherever both have completed runs.

    losses: names as in --where; one without parentheses stands for all its hyper-parameters, each a
    method of its own, and so are the schedules of pruning where a loss has several in the same settings.
    measure: a column of accuracies, fractions from 0 to 1.
    Returns the methods, the comparisons, and for (method, other) the runs that have no counterpart.
    Raises UnknownName for a loss that no run has, InvalidValue for less than two methods.
    """
    records = with_methods(chosen(runs, losses))
    methods = list(dict.fromkeys(record["method"] for record in records))
    if len(methods) < 2:
        raise InvalidValue(
            "--compare needs at least two losses: write `report --compare lq cce`."
            f" Here {' '.join(losses)} is {methods[0]} alone."
        )
    made: list[Comparison] = []
    alone: dict[tuple[str, str], list[Record]] = {}
    completed = [record for record in records if record["status"] == "completed"]
    # The records come loss by loss, in the order given; sorting is stable, and keeps the places in order.
    places = {place: position for position, place in enumerate(_places(runs))}
    completed.sort(key=lambda record: places[_place(record)])
    for _, group in groupby(completed, key=_place):
        variants: dict[str, Variants] = {method: {} for method in methods}
        for record in group:
            how = tuple(record[name] for name in METHOD)
            variants[record["method"]].setdefault(how, {})[record["seed"]] = record
        for one, other in combinations(methods, 2):
            pairs = list(_pairs(variants[one], variants[other]))
            for first, second in pairs:
                a, b = ([100 * record[measure] for record in side] for side in (first, second))
                made.append(Comparison((one, other), first, second, paired(a, b)))
            used = {record["id"] for pair in pairs for side in pair for record in side}
            for key in ((one, other), (other, one)):
                left = [r for by_seed in variants[key[0]].values() for r in by_seed.values()]
                alone.setdefault(key, []).extend(r for r in left if r["id"] not in used)
    return methods, _corrected(made), {key: left for key, left in alone.items() if left}


def chosen(runs: "DataFrame", losses: Sequence[str]) -> "DataFrame":
    """The runs of the losses, loss by loss as they are given, each by its settings and seed."""
    ordered = runs.sort_values(["loss", *SCHEDULE, *METHOD, "seed"], key=rank)
    ids: dict[str, None] = {}
    for name in losses:
        found, unmatched = select(ordered, [f"loss={name}"])
        if unmatched:
            raise UnknownName("loss of these runs", name, runs["loss"].unique())
        ids |= dict.fromkeys(found["id"])
    return ordered.set_index("id", drop=False).loc[list(ids)]


def with_methods(runs: "DataFrame") -> list[Record]:
    """The runs with the `method` that each is a run of."""
    records = as_records(runs.astype(WHOLE))
    schedules: dict[tuple[Any, ...], set[tuple[Any, ...]]] = {}
    for record in records:
        schedules.setdefault(_settings(record), set()).add(_schedule(record))
    return [{**r, "method": _method(r, several=len(schedules[_settings(r)]) > 1)} for r in records]


def _method(record: Record, several: bool) -> str:
    loss: str = record["loss"]
    return f"{loss}, {pruned(record)}" if several else loss


def _settings(record: Record) -> tuple[Any, ...]:
    return tuple(record[name] for name in ("dataset", "loss", *SETTINGS))


def _schedule(record: Record) -> tuple[Any, ...]:
    return tuple(record[name] for name in SCHEDULE)


def _place(record: Record) -> tuple[Any, ...]:
    return tuple(record[name] for name in PLACE)


def _places(runs: "DataFrame") -> list[tuple[Any, ...]]:
    """Where there are runs, in the order of a report."""
    places = runs.astype(WHOLE)[list(PLACE)].drop_duplicates().sort_values(list(PLACE), key=rank)
    return [_place(record) for record in as_records(places)]


def _pairs(one: Variants, other: Variants) -> Iterator[tuple[list[Record], list[Record]]]:
    """The runs of both, seed by seed: in the same settings, if any are the same; otherwise, where each
    method has but one, in these: it may be the method's own."""
    both = [(one[how], other[how]) for how in one if how in other]
    if not both and len(one) == len(other) == 1:
        both = list(zip(one.values(), other.values(), strict=True))
    for first, second in both:
        seeds = sorted(first.keys() & second.keys())
        if seeds:
            yield [first[seed] for seed in seeds], [second[seed] for seed in seeds]


def _corrected(made: Sequence[Comparison]) -> list[Comparison]:
    """With Holm's correction over all comparisons that have a test."""
    adjusted = iter(holm([each.found.p for each in made if each.found.p is not None]))
    return [each if each.found.p is None else replace(each, p_holm=next(adjusted)) for each in made]
