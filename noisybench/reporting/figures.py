"""What a figure is, free of any format, and the registry of the kinds of figure.

A kind is one decorated function from runs and their curves to a `Figure`; its name is the value of
``--figure``, the first line of its docstring its help, and `needs` says which runs it is made from.
Keyword-only parameters without a default are options of `report`: `table`, the table whose methods and
settings the figure shows, and `by`, the column of which each value is a line.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any

from noisybench.errors import join_limited
from noisybench.registry import Registry

if TYPE_CHECKING:
    from pandas import DataFrame

# As `Store.mean_curves`: from the group of each run and the names of measures to means and deviations.
Curves = Callable[[Mapping[str, int], Sequence[str]], "DataFrame"]


@dataclass(frozen=True)
class FigureInfo:
    """needs: the runs that the figure is drawn from, in words.  experiment: which makes them, if one does."""

    needs: str
    experiment: str = ""


FIGURES = Registry("figure", "noisybench.reporting.run_figures", FigureInfo)

ACCURACY = "Test accuracy (%)"
VAL_ACCURACY = "Noisy-validation accuracy (%)"
SOFTMAX = "Mean softmax of the given label"
VAL_LOSS = "Noisy-validation loss"


@dataclass(frozen=True)
class Line:
    """One measure of one method against epochs.

    shade: where its colour lies between the darkest (0) and the lightest (1); lines of one shade have one
    colour and one marker.  n: the runs behind it.  points: one row per epoch, with the columns `epoch`,
    `mean`, `std` (sample standard deviation, n - 1; missing for one run) and `n`.
    """

    label: str
    shade: float
    dashed: bool
    n: int
    points: "DataFrame"


def lines(
    curves: Curves,
    groups: Mapping[str, "DataFrame"],
    measures: Sequence[str],
    shades: Mapping[str, float],
) -> dict[str, list[Line]]:
    """The lines of each measure: one for each group of runs that has epochs, by the group's label.

    measures: columns of `Epoch`; accuracies become percent.
    """
    labels = list(groups)
    group_of = {run: at for at, label in enumerate(labels) for run in groups[label]["id"]}
    means = curves(group_of, measures)
    found: dict[str, list[Line]] = {measure: [] for measure in measures}
    of_group = dict(iter(means.groupby("group")))
    for at, label in enumerate(labels):
        for measure in measures if at in of_group else ():
            scale = 100 if measure.endswith("accuracy") else 1
            own = of_group[at]
            points = own[["epoch"]].assign(
                mean=scale * own[measure], std=scale * own[f"{measure}_std"], n=own[f"{measure}_n"]
            )
            points = points[points["n"] > 0].reset_index(drop=True)
            if len(points):
                n = int(points["n"].max())
                found[measure].append(Line(label, shades[label], False, n, points))
    return found


@dataclass(frozen=True)
class Panel:
    """Lines over epochs.  ylabel: what they measure, with its unit.  setting: that of all their runs."""

    title: str
    ylabel: str
    setting: str
    lines: Sequence[Line]

    @property
    def counts(self) -> list[tuple[str, int]]:
        """The number of runs behind each line."""
        return [(line.label, line.n) for line in self.lines]


@dataclass(frozen=True)
class HeatMap:
    """Numbers in percent as colours, a row for each method.  values: None where there is no run.  texts: what
    stands in each cell."""

    title: str
    setting: str
    rows: Sequence[str]
    columns: Sequence[str]
    values: Sequence[Sequence[float | None]]
    texts: Sequence[Sequence[str]]

    counts = ()


@dataclass(frozen=True)
class Point:
    """A method in a scatter plot.  shade: as that of a line."""

    label: str
    shade: float
    x: float
    y: float


@dataclass(frozen=True)
class Scatter:
    """Methods by their cost and accuracy.  is_log: whether the cost is on a logarithmic axis."""

    title: str
    xlabel: str
    ylabel: str
    setting: str
    points: Sequence[Point]
    is_log: bool

    counts = ()


@dataclass(frozen=True)
class RankAxis:
    """Mean ranks on an axis, 1 on the left.  groups: methods that are joined by a bar."""

    title: str
    setting: str
    ranks: Mapping[str, float]
    groups: Sequence[Sequence[str]]

    counts = ()


AnyPanel = Panel | HeatMap | Scatter | RankAxis


@dataclass(frozen=True)
class Figure:
    """A figure, ready for any format.

    rows: its panels, from top to bottom.  remarks: what is to be known of its numbers.  shared_legend:
    whether one legend holds for all panels.
    """

    name: str
    title: str
    rows: Sequence[Sequence[AnyPanel]]
    remarks: Sequence[str] = ()
    shared_legend: bool = False

    @property
    def panels(self) -> list[tuple[str, AnyPanel]]:
        """The panels with their letters: (a), (b), …"""
        letters = chain(ascii_lowercase, (a + b for a in ascii_lowercase for b in ascii_lowercase))
        return [(f"({letter})", p) for letter, p in zip(letters, chain(*self.rows), strict=False)]

    @property
    def notes(self) -> list[str]:
        """What the lines are, and the setting of each panel."""
        by_setting: dict[str, list[str]] = {}
        for letter, panel in self.panels:
            by_setting.setdefault(panel.setting, []).append(letter)
        if len(by_setting) == 1:
            titles = [f"{setting}." for setting in by_setting]
        else:
            titles = [f"{', '.join(letters)} {setting}." for setting, letters in by_setting.items()]
        return [" ".join([*self._statistics(), *self.remarks]), *titles]

    def _statistics(self) -> list[str]:
        """How many runs a line is the mean of, and what its band is."""
        placed = [(letter, *count) for letter, panel in self.panels for count in panel.counts]
        counts = [n for _, _, n in placed]
        if not counts:
            return []
        usual = max(counts, key=lambda n: (counts.count(n), n))
        if max(counts) == 1:
            return ["One seed (n = 1)."]
        others = [f"{n} for {label} in {letter}" for letter, label, n in placed if n != usual]
        exceptions = f" ({join_limited(others)})" if others else ""
        mean = f"Mean over seeds ± one sample standard deviation (n−1), n = {usual}{exceptions}."
        return [mean, *self._missing()]

    def _missing(self) -> list[str]:
        """Which lines some panels lack that others of their quantity have."""
        curves = [(letter, panel) for letter, panel in self.panels if isinstance(panel, Panel)]
        known: dict[str, dict[str, None]] = {}
        for _, panel in curves:
            known.setdefault(panel.ylabel, {}).update(dict.fromkeys(line.label for line in panel.lines))
        lacking = [
            f"{label} in {letter}"
            for letter, panel in curves
            for label in known[panel.ylabel]
            if label not in {line.label for line in panel.lines}
        ]
        return [f"No completed runs of {join_limited(lacking)}."] if lacking else []


def build_figure(name: str, runs: "DataFrame", curves: Curves, **options: Any) -> Figure:
    """The figure of this name; without rows where no panel has its runs.

    runs: rows of `Store.results`; of these, the completed ones are drawn.  options: `table` and `by`, of
    which the figure takes its own.  Raises UnknownName, or InvalidValue where a panel has runs of several
    settings.
    """
    completed = runs[runs["status"].eq("completed")]
    if completed.empty:
        return Figure(name, name, [])
    figure: Figure = FIGURES.bind(name)(completed, curves, **options)
    return figure


def no_runs(name: str) -> str:
    """What to do about a figure without rows."""
    known = FIGURES[name].metadata
    made = f" `noisybench sweep {known.experiment}` makes them;" if known.experiment else ""
    advice = f"{made} if --where was given, it may leave none."
    return f"There are no runs for {name}: it needs {known.needs}.{advice}"
