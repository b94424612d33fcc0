"""The figures of the paper: learning curves in one setting, and the softmax of right and of wrong labels."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from noisybench.errors import InvalidValue, join_limited
from noisybench.registry import METHODS
from noisybench.reporting import formatting
from noisybench.reporting.figures import ACCURACY, FIGURES, SOFTMAX, VAL_LOSS, Curves, Figure, Panel, lines
from noisybench.reporting.formatting import Record, number
from noisybench.reporting.selection import stem
from noisybench.reporting.statistics import SCHEDULE, SETTINGS, WHOLE, as_records, rank

if TYPE_CHECKING:
    from pandas import DataFrame

# Panels beside each other where nothing else says how many.
ABREAST = 3


# With one curve there is nothing to compare.
FEWEST = 2


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

    @property
    def by_loss(self) -> dict[str, "DataFrame"]:
        """The runs of each loss, in the order of a report."""
        return {str(loss): own for loss, own in self.runs.groupby("loss", sort=False)}


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


@FIGURES.register(
    "fig1",
    needs="completed runs of cce and mae at noise rate 0, or of cce and lq(q=0.7) at a higher one",
    experiment="fig1",
)
def fig1(runs: "DataFrame", curves: Curves) -> Figure:
    """Figure 1 of the paper: cce and mae on clean data; softmax of right and wrong labels under noise."""
    clean, noisy = runs["rate"].eq(0), runs["rate"].gt(0)
    shades = {"cce": 1.0, "mae": 0.0, "lq(q=0.7)": 0.0}  # cce is the lighter of two, as in the paper
    accuracy, softmax = [], []
    for of in settings(runs[clean & runs["loss"].isin(["cce", "mae"])], "fig1"):
        drawn = lines(curves, of.by_loss, ["test_accuracy"], shades)
        accuracy.append(Panel(str(of.place), ACCURACY, of.title, drawn["test_accuracy"]))
    for of in settings(runs[noisy & runs["loss"].isin(["cce", "lq(q=0.7)"])], "fig1"):
        drawn = lines(curves, of.by_loss, ["softmax_correct", "softmax_wrong"], shades)
        # A loss may lack one of both: a store can hold epochs without it.
        both = [
            replace(line, label=f"{line.label}, {which}", dashed=which == "wrong")
            for which in ("correct", "wrong")
            for line in drawn[f"softmax_{which}"]
        ]
        both.sort(key=lambda line: line.label)
        softmax.append(Panel(str(of.place), SOFTMAX, of.title, both))
    panels = [panel for panel in (*accuracy, *softmax) if panel.lines]
    rows = [panels[start : start + ABREAST] for start in range(0, len(panels), ABREAST)]
    title = "Figure 1: test accuracy on clean labels, and softmax of correct and of wrong labels under noise"
    remarks = (
        ["Softmax: over the correctly and over the wrongly labelled training samples."] if softmax else []
    )
    for drawn_panels, missing in ((accuracy, "accuracy on clean labels"), (softmax, "softmax under noise")):
        if panels and not drawn_panels:
            remarks.append(f"Not drawn, for want of runs: {missing}.")
    return Figure("fig1", title, rows, remarks)


@FIGURES.register(
    "fig2", needs="completed runs of lq at several q and the same noise rate", experiment="fig2"
)
def fig2(runs: "DataFrame", curves: Curves) -> Figure:
    """Figure 2 of the paper: test accuracy and validation loss of lq for each q, by noise rate."""
    own = runs[runs["loss"].map(stem).eq("lq")]
    places = list(settings(own, "fig2"))
    # Every q has one colour in all panels.  The smallest, next to cce, is the lightest, as cce in fig1.
    values = sorted({_q(loss) for of in places for loss in of.by_loss}, reverse=True)
    shades = {f"q = {number(q)}": position / (len(values) - 1) for position, q in enumerate(values)}
    rows = []
    for _, group in groupby(places, key=lambda of: (of.place.dataset, of.runs["noise"].iloc[0])):
        top, bottom = [], []
        for of in group:
            by_q = {f"q = {number(_q(loss))}": of_loss for loss, of_loss in of.by_loss.items()}
            drawn = lines(curves, by_q, ["test_accuracy", "val_loss"], shades)
            if drawn["test_accuracy"]:
                top.append(Panel(str(of.place), ACCURACY, of.title, drawn["test_accuracy"]))
                bottom.append(Panel(str(of.place), VAL_LOSS, of.title, drawn["val_loss"]))
        rows += [top, bottom] if top else []
    title = "Figure 2: test accuracy and validation loss of lq for each q"
    return Figure("fig2", title, rows, ["The validation loss is each q's own."], shared_legend=True)


def _q(loss: str) -> float:
    return float(METHODS.bind(loss).arguments["q"])
