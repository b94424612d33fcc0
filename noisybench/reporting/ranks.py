"""Methods ranked over settings: mean ranks, Friedman's test, and Wilcoxon's test of each pair (Demšar 2006).

A setting is one data set, noise and rate in one column (or row) of a table, in which the methods compete for
the best mean.  scipy is imported where it is used.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from statistics import fmean
from typing import TYPE_CHECKING

from noisybench.errors import InvalidValue, join_limited
from noisybench.reporting import formatting
from noisybench.reporting.significance import ALPHA, SAME, holm
from noisybench.reporting.tables import NO_RUN, Block, Cell, Column, Row, Table

if TYPE_CHECKING:
    from pandas import DataFrame

# Accuracies in percent by method, then by seed.
Accuracies = Mapping[str, Mapping[int, float]]

CELLS = (
    *("first", "second", "rank_first", "rank_second", "difference", "n", "statistic", "p", "p_holm"),
    *("settings", "friedman_chi2", "friedman_p", "measure", "unit"),
)


@dataclass(frozen=True)
class Pair:
    """Two methods over all pairs of runs of one setting and one seed.

    difference: mean of second − first, in percentage points.  statistic, p: of Wilcoxon's signed-rank test,
    two-sided, zeros split between both signs.  p_holm: corrected for all pairs of methods.
    """

    first: str
    second: str
    n: int
    difference: float
    statistic: float
    p: float
    p_holm: float


@dataclass(frozen=True)
class Ranking:
    """Methods from the lowest mean rank to the highest.

    ranks: mean over the settings, 1 is best, ties share the mean of their ranks.  best: in how many settings
    a method has rank 1, alone or shared.  chi2, p: Friedman's test with its correction for ties; None for
    fewer than three methods or two settings, or where all methods tie everywhere.
    """

    settings: int
    ranks: Mapping[str, float]
    best: Mapping[str, int]
    chi2: float | None
    p: float | None
    pairs: Sequence[Pair]

    @property
    def groups(self) -> list[tuple[str, ...]]:
        """The largest groups of neighbours in rank that no test tells apart, of two methods or more.

        Where Friedman's test does not reject, pairs are not looked at: all methods are one group.
        """
        methods = list(self.ranks)
        if self.p is not None and self.p >= ALPHA:
            return [tuple(methods)]
        apart = {frozenset((pair.first, pair.second)) for pair in self.pairs if pair.p_holm < ALPHA}
        found: list[tuple[str, ...]] = []
        reached = 0
        for start in range(len(methods)):
            end = start + 1
            while end < len(methods) and not any(
                frozenset((one, methods[end])) in apart for one in methods[start:end]
            ):
                end += 1
            if end - start > 1 and end > reached:
                found.append(tuple(methods[start:end]))
                reached = end
        return found


def ranked(settings: Sequence[Accuracies]) -> Ranking:
    """Rank the methods, which are the same in every setting; in one setting, all have the same seeds."""
    import numpy as np
    from scipy.stats import friedmanchisquare, rankdata

    methods = list(settings[0])
    means = np.array([[fmean(of[method].values()) for method in methods] for of in settings]).round(SAME)
    ranks = rankdata(-means, axis=1)
    chi2 = p = None
    if len(methods) > 2 and len(settings) > 1 and np.ptp(ranks):
        chi2, p = map(float, friedmanchisquare(*means.T))
    mean_ranks = dict(zip(methods, map(float, ranks.mean(0)), strict=True))
    is_best = ranks == ranks.min(1, keepdims=True)
    best = dict(zip(methods, map(int, is_best.sum(0)), strict=True))
    order = sorted(methods, key=lambda method: mean_ranks[method])
    return Ranking(
        settings=len(settings),
        ranks={method: mean_ranks[method] for method in order},
        best=best,
        chi2=chi2,
        p=p,
        pairs=_pairs(settings, order),
    )


def _pairs(settings: Sequence[Accuracies], methods: Sequence[str]) -> list[Pair]:
    """The test of each pair of methods, over all settings and seeds."""
    from scipy.stats import wilcoxon

    tested = []
    for first, second in combinations(methods, 2):
        # What differs by rounding error alone is a tie.
        differences = [
            round(of[second][seed] - accuracy, SAME)
            for of in settings
            for seed, accuracy in of[first].items()
        ]
        test = wilcoxon(differences, zero_method="zsplit")
        tested.append((first, second, differences, float(test.statistic), float(test.pvalue)))
    corrected = holm([p for *_, p in tested])
    return [
        Pair(first, second, len(differences), fmean(differences), statistic, p, p_holm)
        for (first, second, differences, statistic, p), p_holm in zip(tested, corrected, strict=True)
    ]


def ranking(table: Table, runs: "DataFrame") -> tuple[Ranking, list[str]]:
    """Rank the methods of a table, and say what is left out: settings that not all methods have
    completed, and seeds of the others that not all methods have.

    runs: rows of `Store.results` that the table was made of.  Raises InvalidValue for fewer than two methods,
    and where no setting has all methods.
    """
    measured: dict[str, tuple[int, float]] = {}
    if table.measure:
        completed = runs[runs["status"].eq("completed")]
        of_run = zip(completed["seed"], 100 * completed[table.measure].astype(float), strict=True)
        measured = dict(zip(completed["id"], of_run, strict=True))
    methods = list(dict.fromkeys(method for _, cells in table.settings for method in cells))
    if len(methods) < 2 or not measured:
        raise InvalidValue(
            f"Ranks need at least two methods in one setting; here: {join_limited(methods) or 'none'}."
        )
    complete, incomplete, unpaired = [], [], 0
    missing = dict.fromkeys(methods, 0)
    for title, cells in table.settings:
        of = {
            method: dict(measured[run] for run in cells.get(method, NO_RUN).runs if run in measured)
            for method in methods
        }
        shared = set.intersection(*(set(by_seed) for by_seed in of.values()))
        if shared:
            paired = {m: {seed: by_seed[seed] for seed in sorted(shared)} for m, by_seed in of.items()}
            complete.append(paired)
            unpaired += sum(len(by_seed) - len(shared) for by_seed in of.values())
        else:
            incomplete.append(title)
            for method, by_seed in of.items():
                missing[method] += not by_seed
    lacking = ", ".join(f"{method} ({count})" for method, count in missing.items() if count)
    if not complete:
        raise InvalidValue(
            f"There is no setting in which all of {len(methods)} methods have a completed run of one seed."
            f" Settings that a method lacks: {lacking or 'none, but seeds differ'}."
            " Choose methods by --where loss=NAME, or settings by --where noise=NAME."
        )
    notes = []
    if incomplete:
        notes.append(
            f"Left out, as not all methods have completed runs of one seed: {join_limited(incomplete)}."
            + (f" Settings that a method lacks: {lacking}." if lacking else "")
        )
    if unpaired:
        notes.append(f"Left out, as other methods lack their seeds: {unpaired} runs.")
    return ranked(complete), notes


def rank_table(table: Table, runs: "DataFrame") -> Table:
    """A line for each method: its mean rank, and the p-value of the test against each other method.

    What it takes and raises: as for `ranking`.
    """
    found, left_out = ranking(table, runs)
    methods = list(found.ranks)
    p_holm = {frozenset((pair.first, pair.second)): pair.p_holm for pair in found.pairs}
    rank, best = Column("", "mean rank"), Column("", "best in")
    against = {method: Column("p (Holm) against", str(place)) for place, method in enumerate(methods, 1)}
    rows = []
    for place, method in enumerate(methods, 1):
        cells = {rank: Cell(f"{found.ranks[method]:.2f}"), best: Cell(f"{found.best[method]}")}
        for other, column in against.items():
            if other != method:
                cells[column] = Cell(formatting.p_value(p_holm[frozenset((method, other))]))
        rows.append(Row((str(place), method), cells))
    columns = [rank, best, *against.values()]
    common = {
        "settings": found.settings,
        "friedman_chi2": found.chi2,
        "friedman_p": found.p,
        "measure": table.measure,
        "unit": "percent",
    }
    pairs = [
        {
            **asdict(pair),
            "rank_first": found.ranks[pair.first],
            "rank_second": found.ranks[pair.second],
            **common,
        }
        for pair in found.pairs
    ]
    return Table(
        name="ranks",
        caption=_caption(found, table.measure),
        stub=["#", "method"],
        columns=columns,
        blocks=[Block(f"{len(methods)} methods in {found.settings} settings", columns, rows)],
        notes=[*notes(found), *left_out, *formatting.notes(runs)],
        cells=type(runs)(pairs, columns=CELLS, dtype=object),
    )


def _caption(found: Ranking, measure: str) -> str:
    return (
        f"Mean ranks of methods by {measure.replace('_', ' ')} (1 is best; mean over seeds) in settings of"
        f" one data set, noise and rate. Best in: settings, ties included. {friedman(found)} p (Holm):"
        f" Wilcoxon's signed-rank test of runs in pairs of one setting and one seed, corrected for all"
        f" {len(found.pairs)} pairs of methods."
    )


def friedman(found: Ranking) -> str:
    """What Friedman's test found, as a sentence."""
    if found.chi2 is None or found.p is None:
        return "Friedman's test needs three methods and two settings that are not all tied: none here."
    degrees = len(found.ranks) - 1
    p = formatting.p_value(found.p)
    return f"Friedman's test: χ²({degrees}) = {found.chi2:.2f}, p {p if p.startswith('<') else f'= {p}'}."


def notes(found: Ranking) -> list[str]:
    """Which methods are not told apart, and what the tests do not cover."""
    groups = "; ".join(", ".join(group) for group in found.groups)
    sentences = [f"Not told apart at α = {ALPHA:g}: {groups or 'none: all pairs differ'}."]
    if found.p is not None and found.p >= ALPHA:
        sentences.append("Friedman's test finds no difference between the methods: pairs are not to be read.")
    return [
        *sentences,
        "Seeds of one setting are no further settings: the tests of pairs speak of these settings, not of"
        " others.",
    ]
