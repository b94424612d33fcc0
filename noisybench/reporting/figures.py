"""What a figure is, free of any format, and the registry of the kinds of figure.

A kind is one decorated function from runs and their curves to a `Figure`; its name is the value of
``--figure``, the first line of its docstring its help, and `needs` says which runs it is made from.
Keyword-only parameters without a default are options of `report`: `table`, the table whose methods and
settings the figure shows, and `by`, the column of which each value is a line.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from noisybench.errors import join_limited
from noisybench.registry import Registry
from noisybench.reporting.formatting import letters

if TYPE_CHECKING:
    from pandas import DataFrame

# As `Store.mean_curves`: from the group of each run and the names of measures to means and deviations.
Curves = Callable[[Mapping[str, int], Sequence[str]], "DataFrame"]


@dataclass(frozen=True)
class FigureInfo:
    """needs: the runs that the figure is drawn from, in words.  experiment: which makes them, if one does."""

    needs: str
    experiment: str = ""


FIGURES = Registry("figure", "noisybench.reporting.figure_kinds", FigureInfo)

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
    group_of = {run: at for at, own in enumerate(groups.values()) for run in own["id"]}
    of_group = dict(iter(curves(group_of, measures).groupby("group")))
    found: dict[str, list[Line]] = {measure: [] for measure in measures}
    for at, label in enumerate(groups):
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


@dataclass(frozen=True)
class RankAxis:
    """Mean ranks on an axis, 1 on the left.  groups: methods that are joined by a bar."""

    title: str
    setting: str
    ranks: Mapping[str, float]
    groups: Sequence[Sequence[str]]


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
        return [
            (f"({letter.lower()})", panel)
            for letter, panel in zip(letters(), chain(*self.rows), strict=False)
        ]

    @property
    def notes(self) -> list[str]:
        """What the lines are, and the setting of each panel."""
        by_setting: dict[str, list[str]] = {}
        for letter, panel in self.panels:
            by_setting.setdefault(panel.setting, []).append(letter)
        only = len(by_setting) == 1
        settings = [
            f"{setting}." if only else f"{', '.join(places)} {setting}."
            for setting, places in by_setting.items()
        ]
        return [" ".join([*self._statistics(), *self.remarks]), *settings]

    def _statistics(self) -> list[str]:
        """How many runs a line is the mean of, what its band is, and which lines some panels lack that others
        of their quantity have."""
        curves = [(letter, panel) for letter, panel in self.panels if isinstance(panel, Panel)]
        drawn = [(letter, line) for letter, panel in curves for line in panel.lines]
        counts = Counter(line.n for _, line in drawn)
        if not counts:
            return []
        if max(counts) == 1:
            return ["One seed (n = 1)."]
        usual = max(counts, key=lambda n: (counts[n], n))
        others = [f"{line.n} for {line.label} in {letter}" for letter, line in drawn if line.n != usual]
        exceptions = f" ({join_limited(others)})" if others else ""
        sentences = [f"Mean over seeds ± one sample standard deviation (n−1), n = {usual}{exceptions}."]
        known: dict[str, dict[str, None]] = {}
        for _, panel in curves:
            known.setdefault(panel.ylabel, {}).update(dict.fromkeys(line.label for line in panel.lines))
        lacking = [
            f"{label} in {letter}"
            for letter, panel in curves
            for label in known[panel.ylabel]
            if label not in {line.label for line in panel.lines}
        ]
        return [*sentences, *([f"No completed runs of {join_limited(lacking)}."] if lacking else [])]


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
