"""Losses compared with each other, seed by seed: both runs of a pair saw the same noisy labels."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

from noisybench.errors import InvalidValue, UnknownName, join_limited
from noisybench.reporting.formatting import (
    Record,
    idle_prunings,
    letters,
    minus,
    notes,
    number,
    p_value,
    setting,
    signed,
    titles,
    with_methods,
)
from noisybench.reporting.paper_tables import MEASURES
from noisybench.reporting.selection import select
from noisybench.reporting.significance import MOST_PAIRS, Paired, holm, paired
from noisybench.reporting.statistics import DATA, METHOD, SCHEDULE, SETTINGS, as_records, rank
from noisybench.reporting.tables import NO_RUNS, Table, list_table

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
    runs: "DataFrame", measure: str
) -> tuple[list[Comparison], dict[tuple[str, str], list[Record]]]:
    """Compare all pairs of methods, in their order in the runs, wherever both have completed runs.

    runs: with the `method` of each.  measure: a column of accuracies, fractions from 0 to 1.
    Returns the comparisons, and for (method, other) the runs that have no counterpart.
    """
    made: list[Comparison] = []
    alone: dict[tuple[str, str], list[Record]] = {}
    completed = runs[runs["status"].eq("completed")].sort_values([*PLACE], key=rank)
    methods = runs["method"].unique()
    for _, at_place in completed.groupby([*PLACE], dropna=False, sort=False):
        variants: dict[str, Variants] = {method: {} for method in methods}
        for record in as_records(at_place):
            how = tuple(record[name] for name in METHOD)
            variants[record["method"]].setdefault(how, {})[record["seed"]] = record
        for one, other in combinations(variants, 2):
            pairs = list(_pairs(variants[one], variants[other]))
            for first, second in pairs:
                a, b = ([100 * record[measure] for record in side] for side in (first, second))
                made.append(Comparison((one, other), first, second, paired(a, b)))
            used = {record["id"] for pair in pairs for side in pair for record in side}
            for key in ((one, other), (other, one)):
                left = [r for by_seed in variants[key[0]].values() for r in by_seed.values()]
                alone.setdefault(key, []).extend(r for r in left if r["id"] not in used)
    return _corrected(made), {key: left for key, left in alone.items() if left}


def chosen(runs: "DataFrame", losses: Sequence[str]) -> "DataFrame":
    """The runs of the losses, loss by loss as they are given, each by its settings and seed.

    Raises UnknownName for a loss that no run has.
    """
    ordered = runs.sort_values(["loss", *SCHEDULE, *METHOD, "seed"], key=rank)
    ids: dict[str, None] = {}
    for name in losses:
        found, unmatched = select(ordered, [f"loss={name}"])
        if unmatched:
            raise UnknownName("loss of these runs", name, runs["loss"].unique())
        ids |= dict.fromkeys(found["id"])
    return ordered.set_index("id", drop=False).loc[list(ids)]


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


STUB = ("η", "pair")
HEADINGS = ("n", "from", "to", "diff.", "95 % CI", "p", "p Holm", "seeds")
CELLS = (
    *("dataset", "noise", "rate", "first", "second", "mean_first", "mean_second", "difference", "sd"),
    *("n", "low", "high", "p", "p_holm", "seeds_needed", "seeds", "differing", "measure", "unit"),
    *(*DATA, *METHOD),
)


def compare(runs: "DataFrame", losses: Sequence[str], measure: str) -> Table:
    """One line for each pair of methods at each data set, setting, noise and rate.

    losses: names as in --where, of at least two methods.  A name without parentheses stands for all its
    hyper-parameters, each a method of its own; so are the schedules of pruning where a loss has several in
    the same settings.  measure: one of MEASURES.
    The cells have the settings of `first`, and in `differing` those that `second` has otherwise.
    `seeds_needed` is missing where there is no test, and beside a `p` where more than MOST_PAIRS are
    needed.  Raises UnknownName for a loss that no run has, InvalidValue for less than two methods.
    """
    if runs.empty:
        return list_table("compare", NO_RUNS, STUB, HEADINGS, [], [], type(runs)(columns=CELLS))
    involved = chosen(runs, losses)
    of_methods = with_methods(involved)
    methods = list(of_methods["method"].unique())
    if len(methods) < 2:
        raise InvalidValue(
            "--compare needs at least two losses: write `report --compare lq cce`."
            f" Here {' '.join(losses)} is {methods[0]} alone."
        )
    made, alone = comparisons(of_methods, measure)
    letter_of = dict(zip(methods, letters(), strict=False))
    idle = idle_prunings(involved) if measure == "test_accuracy" else []
    return list_table(
        name="compare",
        caption=_caption(letter_of, made, measure),
        stub=STUB,
        headings=HEADINGS,
        sections=[
            (name, [_row(each, letter_of) for each in group]) for name, group in _by_title(made).items()
        ],
        notes=[*_notes(made, alone), *notes(involved), *idle],
        cells=type(runs)([_cell(each, measure) for each in made], columns=CELLS, dtype=object),
    )


def _caption(letter_of: Mapping[str, str], made: Sequence[Comparison], measure: str) -> str:
    legend = ", ".join(f"{letter} = {method}" for method, letter in letter_of.items())
    if not made:
        return f"Nothing to compare: {legend} have no completed run at the same place with the same seed."
    tests = sum(each.found.p is not None for each in made)
    return (
        f"{MEASURES[measure]}, compared seed by seed, as both runs of a pair saw the same noisy labels and"
        f" split: {legend}. From and to are means over the n pairs, diff. is to − from; p is of the"
        f" paired t-test, p Holm is corrected for all tests here ({tests}). Seeds is how many pairs this test"
        " needs to tell the two apart, at α = 0.05 with 80 % power, should differences have the mean and"
        " spread seen here: a rough guide where n is small."
    )


def _by_title(made: Sequence[Comparison]) -> dict[str, list[Comparison]]:
    """The comparisons under the title that the tables have for the settings of `first`, and the noise."""
    firsts = [each.first[0] for each in made]
    sections: dict[str, list[Comparison]] = {}
    for each, first, title in zip(made, firsts, titles(firsts, SETTINGS), strict=True):
        sections.setdefault(f"{title}; {first['noise']} noise", []).append(each)
    return sections


def _row(comparison: Comparison, letter_of: Mapping[str, str]) -> list[str]:
    """A text for each of STUB and HEADINGS."""
    cell = _cell(comparison, "")
    low, high, needed = cell["low"], cell["high"], cell["seeds_needed"]
    return [
        number(cell["rate"]),
        " to ".join(letter_of[method] for method in comparison.methods),
        str(cell["n"]),
        f"{cell['mean_first']:.2f}",
        f"{cell['mean_second']:.2f}",
        signed(cell["difference"]),
        "–" if low is None else f"[{minus(f'{low:.2f}')}, {minus(f'{high:.2f}')}]",
        *(p_value(cell[name]) for name in ("p", "p_holm")),
        "–" if cell["p"] is None else f"{needed:,}" if needed else f"> {MOST_PAIRS:,}",
    ]


def _cell(comparison: Comparison, measure: str) -> dict[str, Any]:
    """The numbers, by the names in CELLS."""
    first, second = comparison.methods
    found = comparison.found
    return {
        **{name: comparison.first[0][name] for name in (*PLACE, *METHOD)},
        "first": first,
        "second": second,
        "mean_first": found.first,
        "mean_second": found.second,
        "difference": found.mean,
        "sd": found.sd,
        "n": found.n,
        "low": found.low,
        "high": found.high,
        "p": found.p,
        "p_holm": comparison.p_holm,
        "seeds_needed": found.needed,
        "seeds": " ".join(str(run["seed"]) for run in comparison.first),
        "differing": " ".join(comparison.differing),
        "measure": measure,
        "unit": "percent",
    }


def _notes(made: Sequence[Comparison], alone: Mapping[tuple[str, str], Sequence[Record]]) -> list[str]:
    """Where there is no test, what differs beside the loss, and which runs have no counterpart."""
    sentences = []
    if any(each.found.n == 1 for each in made):
        sentences.append("Of one pair (n = 1) there is no test: nothing tells how much a difference varies.")
    if any(each.found.sd == 0 for each in made):
        sentences.append("Where all differences of a line are the same there is no test: they do not vary.")
    for each in made:
        one, other = each.first[0], each.second[0]
        if each.differing:
            theirs = ", ".join(setting(name, other) for name in each.differing)
            ours = ", ".join(setting(name, one) for name in each.differing)
            sentences.append(
                f"On {one['dataset']}, not only the loss differs: {each.methods[0]} has {ours};"
                f" {each.methods[1]} has {theirs}."
            )
    for (method, partner), left in alone.items():
        places = [f"{r['dataset']} {r['noise']} {r['rate']:g} seed {r['seed']}" for r in left]
        sentences.append(
            f"Not used, as {partner} has no completed run to pair with: {method} at {join_limited(places)}."
        )
    unlike = [
        f"{a['id']} and {b['id']}"
        for each in made
        for a, b in zip(each.first, each.second, strict=True)
        if a.get("labels_sha256") != b.get("labels_sha256")
    ]
    if unlike:
        sentences.append(
            "The noisy labels of these pairs are not the same, so that not only the losses differ: "
            f"{join_limited(unlike)}."
        )
    return list(dict.fromkeys(sentences))
