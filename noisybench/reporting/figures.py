"""The kinds of figure, and what is in them, free of any format.

A kind is one decorated function from runs and their epochs to a `Figure`; its name is the value of
``--figure``, the first line of its docstring its help, and `needs` says which runs it is made from.
"""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from string import ascii_lowercase
from typing import TYPE_CHECKING, NamedTuple

from noisybench.errors import InvalidValue, join_limited
from noisybench.registry import METHODS, Registry
from noisybench.reporting import formatting
from noisybench.reporting.formatting import Record, number
from noisybench.reporting.selection import stem
from noisybench.reporting.statistics import SCHEDULE, SETTINGS, WHOLE, as_records, rank

if TYPE_CHECKING:
    from pandas import DataFrame

# What the figures are drawn of, beside the number of the epoch.
EPOCHS = ("test_accuracy", "val_loss", "softmax_correct", "softmax_wrong")


@dataclass(frozen=True)
class FigureInfo:
    """needs: the runs that the figure is drawn from, in words."""

    needs: str


FIGURES = Registry("figure", "noisybench.reporting.figures", FigureInfo)

ACCURACY = "Test accuracy (%)"
SOFTMAX = "Mean softmax of the given label"
VAL_LOSS = "Noisy-validation loss"

# Panels beside each other where nothing else says how many.
ABREAST = 3


# With one curve there is nothing to compare.
FEWEST = 2


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


class Place(NamedTuple):
    """What the runs of a panel share.  noise: empty where the rate is 0, whatever its kind."""

    dataset: str
    noise: str
    rate: float

    def __str__(self) -> str:
        """As the heading of a panel."""
        noise = f"{self.noise}, η = {formatting.number(self.rate)}" if self.noise else "clean labels"
        return f"{self.dataset}, {noise}"


@dataclass(frozen=True)
class Setting:
    """The completed runs of one place and one setting.  title: the setting as in the title of a table."""

    place: Place
    title: str
    runs: "DataFrame"


def settings(runs: "DataFrame", figure: str) -> Iterator[Setting]:
    """The runs to compare, place by place in the order of a report.

    A setting that has runs of fewer losses than FEWEST is left out.  Raises InvalidValue for a place
    that has several settings: they are never averaged, and one panel cannot tell them apart.
    """
    ordered = runs.astype(WHOLE).sort_values(["dataset", "noise", "rate", "loss", "seed"], key=rank)
    # The kind of a noise that never strikes is no part of the place, yet tells runs apart.
    places = [ordered["dataset"], ordered["noise"].where(ordered["rate"] > 0, ""), ordered["rate"]]
    for _, of_place in ordered.groupby(places, sort=False):
        first = as_records(of_place.head(1))[0]
        place = Place(first["dataset"], first["noise"] if first["rate"] > 0 else "", first["rate"])
        by = [*SETTINGS, *SCHEDULE, *([] if place.noise else ["noise"])]
        found = [own for _, own in of_place.groupby(by, dropna=False) if own["loss"].nunique() >= FEWEST]
        records = [as_records(own.head(1))[0] for own in found]
        if len(records) > 1:
            raise InvalidValue(_ambiguous(figure, place, records, by))
        for record, own in zip(records, found, strict=True):
            yield Setting(place, formatting.title(place.dataset, record, ()), own)


def line(
    of: "DataFrame", epochs: "DataFrame", measure: str, label: str, shade: float, dashed: bool = False
) -> Line:
    """The curve of these runs.

    measure: a column of `Store.epochs`; accuracies become percent.
    """
    scale = 100 if measure.endswith("accuracy") else 1
    # Runs are put in order so that the last bit of a mean does not depend on the order of the rows.
    own = epochs[epochs["run"].isin(of["id"])].sort_values(["run", "epoch"])
    values = (scale * own[measure].astype(float)).groupby(own["epoch"])
    points = values.agg(mean="mean", std="std", n="count").reset_index()
    return Line(label, shade, dashed, len(of), points[points["n"] > 0])


def _ambiguous(figure: str, place: Place, records: Sequence[Record], by: Sequence[str]) -> str:
    """The settings that differ, and how to choose one."""
    choices = []
    for name in formatting.differing(records, by):
        values = dict.fromkeys(formatting.setting(name, record) for record in records)
        choices.append(f"{name}: {join_limited(f'--where {shlex.quote(value)}' for value in values)}")
    return (
        f"{figure} would average runs of different settings ({place}), which differ in these."
        f" Choose one value of each. {'; '.join(choices)}."
    )


@dataclass(frozen=True)
class Panel:
    """Lines over epochs.  ylabel: what they measure, with its unit.  setting: that of all their runs."""

    title: str
    ylabel: str
    setting: str
    lines: Sequence[Line]


@dataclass(frozen=True)
class Figure:
    """A figure, ready for any format.

    rows: its panels, from top to bottom.  remark: what is to be known of a measure.  shared_legend:
    whether one legend holds for all panels.
    """

    name: str
    title: str
    rows: Sequence[Sequence[Panel]]
    remark: str = ""
    shared_legend: bool = False

    @property
    def panels(self) -> list[tuple[str, Panel]]:
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
        return [f"{self._statistics()} {self.remark}".rstrip(), *titles]

    def _statistics(self) -> str:
        """How many runs a line is the mean of, and what its band is."""
        placed = [(letter, line) for letter, panel in self.panels for line in panel.lines]
        counts = [line.n for _, line in placed]
        usual = max(counts, key=lambda n: (counts.count(n), n))
        if max(counts) == 1:
            return "One seed (n = 1)."
        others = [f"{line.n} for {line.label} in {letter}" for letter, line in placed if line.n != usual]
        exceptions = f" ({', '.join(others)})" if others else ""
        return f"Mean over seeds ± one sample standard deviation (n−1), n = {usual}{exceptions}."


def build_figure(name: str, runs: "DataFrame", epochs: "DataFrame") -> Figure:
    """The figure of this name; without rows where no panel has its runs.

    runs: rows of `Store.results`; of these, the completed ones are drawn.  epochs: `Store.epochs`.
    Raises UnknownName, or InvalidValue where a panel has runs of several settings.
    """
    drawn = runs["status"].eq("completed") & runs["id"].isin(epochs["run"])
    figure: Figure = FIGURES.bind(name)(runs[drawn], epochs)
    return figure


def no_runs(name: str) -> str:
    """What to do about a figure without rows."""
    return (
        f"There are no runs for {name}: it needs {FIGURES[name].metadata.needs}. `noisybench sweep {name}`"
        " makes them; if --where was given, it may leave none."
    )


@FIGURES.register(
    "fig1", needs="completed runs of cce and mae at noise rate 0, or of cce and lq(q=0.7) at a higher one"
)
def fig1(runs: "DataFrame", epochs: "DataFrame") -> Figure:
    """Figure 1 of the paper: cce and mae on clean data; softmax of right and wrong labels under noise."""
    clean, noisy = runs["rate"].eq(0), runs["rate"].gt(0)
    accuracy = [
        Panel(
            str(of.place),
            ACCURACY,
            of.title,
            [line(own, epochs, "test_accuracy", loss, _shade(loss)) for loss, own in _by_loss(of)],
        )
        for of in settings(runs[clean & runs["loss"].isin(["cce", "mae"])], "fig1")
    ]
    softmax = [
        Panel(
            str(of.place),
            SOFTMAX,
            of.title,
            [
                line(own, epochs, f"softmax_{which}", f"{loss}, {which}", _shade(loss), dashed)
                for loss, own in _by_loss(of)
                for which, dashed in (("correct", False), ("wrong", True))
            ],
        )
        for of in settings(runs[noisy & runs["loss"].isin(["cce", "lq(q=0.7)"])], "fig1")
    ]
    panels = [*accuracy, *softmax]
    rows = [panels[start : start + ABREAST] for start in range(0, len(panels), ABREAST)]
    title = "Figure 1: test accuracy on clean labels, and softmax of correct and of wrong labels under noise"
    remark = "Softmax: over the correctly and over the wrongly labelled training samples." if softmax else ""
    return Figure("fig1", title, rows, remark)


@FIGURES.register("fig2", needs="completed runs of lq at several q and the same noise rate")
def fig2(runs: "DataFrame", epochs: "DataFrame") -> Figure:
    """Figure 2 of the paper: test accuracy and validation loss of lq for each q, by noise rate."""
    own = runs[runs["loss"].map(stem).eq("lq")]
    places = list(settings(own, "fig2"))
    # Every q has one colour in all panels.  The smallest, next to cce, is the lightest, as cce in fig1.
    values = sorted({_q(loss) for of in places for loss in of.runs["loss"]}, reverse=True)
    shades = {q: position / (len(values) - 1) for position, q in enumerate(values)}

    def panel(of: Setting, measure: str, ylabel: str) -> Panel:
        lines = [
            line(runs, epochs, measure, f"q = {number(_q(loss))}", shades[_q(loss)])
            for loss, runs in _by_loss(of)
        ]
        return Panel(str(of.place), ylabel, of.title, lines)

    rows = []
    for _, group in groupby(places, key=lambda of: (of.place.dataset, of.runs["noise"].iloc[0])):
        columns = list(group)
        rows.append([panel(of, "test_accuracy", ACCURACY) for of in columns])
        rows.append([panel(of, "val_loss", VAL_LOSS) for of in columns])
    title = "Figure 2: test accuracy and validation loss of lq for each q"
    return Figure("fig2", title, rows, "The validation loss is each q's own.", shared_legend=True)


def _by_loss(of: Setting) -> Iterator[tuple[str, "DataFrame"]]:
    """The runs of each loss, in the order of a report."""
    for loss, own in of.runs.groupby("loss", sort=False):
        yield str(loss), own


def _shade(loss: str) -> float:
    """In fig1, cce is the lighter of two, as in the paper."""
    return 1.0 if loss == "cce" else 0.0


def _q(loss: str) -> float:
    return float(METHODS.bind(loss).arguments["q"])
