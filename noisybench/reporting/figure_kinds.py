"""The kinds of figure: those of the paper, and of any runs learning curves, accuracy by method and noise,
accuracy by cost, and ranks."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from statistics import fmean
from typing import TYPE_CHECKING

from noisybench.config import declared_fields
from noisybench.errors import InputError, InvalidValue, UnknownName, join_limited
from noisybench.registry import METHODS
from noisybench.reporting import formatting
from noisybench.reporting.figures import (
    ACCURACY,
    FIGURES,
    SOFTMAX,
    VAL_ACCURACY,
    VAL_LOSS,
    Curves,
    Figure,
    HeatMap,
    Panel,
    Point,
    RankAxis,
    Scatter,
    lines,
)
from noisybench.reporting.formatting import Record, number, with_methods
from noisybench.reporting.ranks import friedman, notes, ranking
from noisybench.reporting.selection import stem
from noisybench.reporting.statistics import SCHEDULE, SETTINGS, WHOLE, as_records, rank
from noisybench.reporting.tables import Block, Column, Table

if TYPE_CHECKING:
    from pandas import DataFrame

# Panels beside each other where nothing else says how many.
ABREAST = 3

# With one curve there is nothing to compare.
FEWEST = 2

ANY_TWO = "completed runs of two methods in one setting"


# The paper's


@dataclass(frozen=True)
class Setting:
    """The completed runs of one data set, noise and rate in one setting.

    heading: the first three, as the heading of a panel.  title: the setting as in the title of a table.
    """

    heading: str
    title: str
    runs: "DataFrame"

    @property
    def by_loss(self) -> dict[str, "DataFrame"]:
        """The runs of each loss, in the order of a report."""
        return {str(loss): own for loss, own in self.runs.groupby("loss", sort=False)}


def settings(runs: "DataFrame", figure: str) -> Iterator[Setting]:
    """The runs to compare, by data set, noise and rate in the order of a report.

    A setting that has runs of fewer losses than FEWEST is left out.  Raises InvalidValue where there are
    several settings: they are never averaged, and one panel cannot tell them apart.
    """
    ordered = runs.astype(WHOLE).sort_values(["dataset", "noise", "rate", "loss", "seed"], key=rank)
    # The kind of a noise at rate 0 makes no panel of its own, yet tells runs apart.
    places = [ordered["dataset"], ordered["noise"].where(ordered["rate"] > 0, ""), ordered["rate"]]
    by = [*SETTINGS, *SCHEDULE, "noise"]
    for _, of_place in ordered.groupby(places, sort=False):
        found = [own for _, own in of_place.groupby(by, dropna=False) if own["loss"].nunique() >= FEWEST]
        records = [as_records(own.head(1))[0] for own in found]
        if len(records) > 1:
            raise InvalidValue(_ambiguous(figure, records, by))
        for record, own in zip(records, found, strict=True):
            title = formatting.title(record["dataset"], record, ())
            yield Setting(_heading(record, ["loss"]), title, own)


def _ambiguous(figure: str, records: Sequence[Record], by: Sequence[str]) -> str:
    """The settings that differ, and how to choose one."""
    choices = []
    for name in formatting.differing(records, by):
        values = dict.fromkeys(formatting.setting(name, record) for record in records)
        choices.append(f"{name}: {join_limited(f'--where {shlex.quote(value)}' for value in values)}")
    return (
        f"{figure} would average runs of different settings ({_heading(records[0], ['loss'])}), which differ"
        f" in these. Choose one value of each. {'; '.join(choices)}."
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
        accuracy.append(Panel(of.heading, ACCURACY, of.title, drawn["test_accuracy"]))
    for of in settings(runs[noisy & runs["loss"].isin(["cce", "lq(q=0.7)"])], "fig1"):
        drawn = lines(curves, of.by_loss, ["softmax_correct", "softmax_wrong"], shades)
        # A loss may lack one of both: a store can hold epochs without it.
        both = [
            replace(line, label=f"{line.label}, {which}", dashed=which == "wrong")
            for which in ("correct", "wrong")
            for line in drawn[f"softmax_{which}"]
        ]
        both.sort(key=lambda line: line.label)
        softmax.append(Panel(of.heading, SOFTMAX, of.title, both))
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
    found = list(settings(own, "fig2"))
    # Every q has one colour in all panels.  The smallest, next to cce, is the lightest, as cce in fig1.
    values = sorted({_q(loss) for of in found for loss in of.by_loss}, reverse=True)
    shades = {f"q = {number(q)}": position / (len(values) - 1) for position, q in enumerate(values)}
    rows = []
    for _, group in groupby(found, key=lambda of: tuple(of.runs[["dataset", "noise"]].iloc[0])):
        top, bottom = [], []
        for of in group:
            by_q = {f"q = {number(_q(loss))}": of_loss for loss, of_loss in of.by_loss.items()}
            drawn = lines(curves, by_q, ["test_accuracy", "val_loss"], shades)
            if drawn["test_accuracy"]:
                top.append(Panel(of.heading, ACCURACY, of.title, drawn["test_accuracy"]))
                bottom.append(Panel(of.heading, VAL_LOSS, of.title, drawn["val_loss"]))
        rows += [top, bottom] if top else []
    title = "Figure 2: test accuracy and validation loss of lq for each q"
    return Figure("fig2", title, rows, ["The validation loss is each q's own."], shared_legend=True)


def _q(loss: str) -> float:
    return float(METHODS.bind(loss).arguments["q"])


# Of any runs


@FIGURES.register("curves", needs="completed runs, with their epochs")
def curves(runs: "DataFrame", curves: Curves, *, by: str) -> Figure:
    """Learning curves: test and noisy-validation accuracy, a line for each value of --by."""
    names = [name for name in declared_fields() if name != "seed"]
    if by not in names:
        raise UnknownName("column to draw lines by", by, names)
    # When to prune belongs to the method.
    own = ["loss", *SCHEDULE] if by == "loss" else [by]
    shared = [name for name in ("dataset", "noise", "rate", *SETTINGS, "loss", *SCHEDULE) if name not in own]
    varying = [name for name in SETTINGS if name not in own and runs[name].nunique(False) > 1]
    ordered = with_methods(runs, within=["loss"]).sort_values([*shared, *own, "seed"], key=rank)
    ordered["label"] = [
        record["method"] if by == "loss" else formatting.setting(by, record) for record in as_records(ordered)
    ]
    labels = ordered["label"].unique()
    shades = {label: 1 - at / max(1, len(labels) - 1) for at, label in enumerate(labels)}
    panels = []
    for _, of_panel in ordered.groupby(shared, dropna=False, sort=False):
        groups = {str(label): of_label for label, of_label in of_panel.groupby("label", sort=False)}
        first = as_records(of_panel.head(1))[0]
        setting = formatting.title(first["dataset"], first, varying)
        drawn = lines(curves, groups, ["test_accuracy", "val_accuracy"], shades)
        if drawn["test_accuracy"]:
            heading = _heading(first, own)
            panels.append(
                (
                    Panel(heading, ACCURACY, setting, drawn["test_accuracy"]),
                    Panel(heading, VAL_ACCURACY, setting, drawn["val_accuracy"]),
                )
            )
    rows: list[Sequence[Panel]] = []
    for start in range(0, len(panels), ABREAST):
        rows += zip(*panels[start : start + ABREAST], strict=True)
    return Figure("curves", f"Learning curves by {by}", rows, shared_legend=True)


def _heading(first: Record, own: Sequence[str]) -> str:
    """What the runs of a panel share but for their settings.  own: the columns that tell its lines apart."""
    parts = [] if "dataset" in own else [str(first["dataset"])]
    if "noise" not in own and "rate" not in own:
        parts.append(formatting.noise_label(first) if first["rate"] else "clean labels")
    elif "noise" not in own:
        parts.append(str(first["noise"]))
    elif "rate" not in own:
        parts.append(f"η = {number(first['rate'])}")
    if "loss" not in own:
        parts.append(str(first["loss"]))
    return ", ".join(parts)


@FIGURES.register("heatmap", needs="completed runs")
def heatmap(runs: "DataFrame", curves: Curves, *, table: Table) -> Figure:
    """Accuracy as colour: methods by noise and rate, for each setting of --table."""
    measured = _measured(runs, table)
    usual = formatting.usual_n(table.cells) if measured else 0
    rows: list[list[HeatMap]] = []
    for block in table.blocks:
        of_block = _runs_by_method(table, block, measured)
        methods = list(dict.fromkeys(method for _, by_method in of_block for method in by_method))
        panels = []
        for group, own in groupby(of_block, key=lambda setting: setting[0].group):
            columns = list(own)
            found = [[by_method.get(method, []) for _, by_method in columns] for method in methods]
            if any(ids for row in found for ids in row):
                values = [[_mean(ids, measured) if ids else None for ids in row] for row in found]
                texts = [[_text(ids, measured, usual) for ids in row] for row in found]
                headings = [column.heading for column, _ in columns]
                title = ", ".join(filter(None, (_dataset(block), group)))
                panels.append(HeatMap(title, block.title, methods, headings, values, texts))
        rows += [panels] if panels else []
    remark = f"{_measure(table)}, mean over n = {usual} seeds unless a number in brackets says otherwise."
    return Figure("heatmap", "Accuracy by method and noise", rows, [remark])


def _text(ids: Sequence[str], measured: Mapping[str, float], usual: int) -> str:
    """The mean of runs, and their number if that is not the usual one."""
    if not ids:
        return "–"
    return f"{_mean(ids, measured):.1f}" + (f" ({len(ids)})" if len(ids) != usual else "")


@FIGURES.register("cost", needs=ANY_TWO)
def cost(runs: "DataFrame", curves: Curves, *, table: Table) -> Figure:
    """Accuracy against cost: seconds of training, and passes of the images through a network in an epoch."""
    measured = _measured(runs, table)
    seconds = dict(zip(runs["id"], runs["seconds"].astype(float), strict=True))
    losses = dict(zip(runs["id"], runs["loss"], strict=True))
    rows, left_out = [], []
    for block in table.blocks:
        settings = [by_method for _, by_method in _runs_by_method(table, block, measured)]
        methods = list(
            dict.fromkeys(name for by_method in settings for name, ids in by_method.items() if ids)
        )
        common = [by_method for by_method in settings if all(by_method.get(name) for name in methods)]
        if len(methods) < 2 or not common:
            left_out.append(block.title)
            continue
        times, passes = [], []
        for at, method in enumerate(methods):
            shade = 1 - at / (len(methods) - 1)
            accuracy = fmean(_mean(by_method[method], measured) for by_method in common)
            ids = [run for by_method in common for run in by_method[method]]
            times.append(Point(method, shade, fmean(seconds[run] for run in ids), accuracy))
            if (count := _passes(losses[ids[0]])) is not None:
                passes.append(Point(method, shade, count, accuracy))
        note = f"{block.title}; mean over the {len(common)} of {len(settings)} noises that all methods have"
        rows.append(
            [
                Scatter(_dataset(block), "Training time (s)", ACCURACY, note, times, is_log=True),
                Scatter(_dataset(block), "Passes in an epoch", ACCURACY, note, passes, is_log=False),
            ]
        )
    remarks = [f"{_measure(table)}; time is that of a run, with its evaluations."] if rows else []
    devices = runs["device"].value_counts().sort_index()
    if len(devices) > 1:
        remarks.append(f"Times are of several devices: {', '.join(map(str, devices.index))}.")
    if left_out:
        remarks.append(f"Not drawn, as no noise has runs of all its methods: {join_limited(left_out)}.")
    return Figure("cost", "Accuracy against cost", rows, remarks, shared_legend=True)


def _passes(loss: str) -> int | None:
    """How often an epoch's images go through a network; None for a method that is not known here."""
    try:
        return METHODS.bind(loss).entry.metadata.passes
    except InputError:
        return None


@FIGURES.register("ranks", needs=ANY_TWO)
def ranks(runs: "DataFrame", curves: Curves, *, table: Table) -> Figure:
    """Critical-difference diagram: mean ranks of --rank, with bars over methods that no test tells apart."""
    if not table.settings:
        return Figure("ranks", "Mean ranks", [])
    found, left_out = ranking(table, runs)
    title = f"{len(found.ranks)} methods in {found.settings} settings"
    remarks = [
        "1 is best. A bar joins methods that are not told apart by Wilcoxon's test, seed by seed, with Holm's"
        f" correction. {friedman(found)}",
        *notes(found)[1:],
        *left_out,
    ]
    panel = RankAxis(title, _measure(table), found.ranks, found.groups)
    return Figure("ranks", "Mean ranks", [[panel]], remarks)


def _measured(runs: "DataFrame", table: Table) -> dict[str, float]:
    """What the table measures of each of the runs, in percent, by the run's id."""
    if not table.settings:
        return {}
    return dict(zip(runs["id"], 100 * runs[table.measure].astype(float), strict=True))


def _runs_by_method(
    table: Table, block: Block, measured: Mapping[str, float]
) -> list[tuple[Column, dict[str, list[str]]]]:
    """The settings of a block, each with the ids of every method's runs that were measured."""
    return [
        (column, {method: [run for run in cell.runs if run in measured] for method, cell in cells.items()})
        for column, cells in table.settings_of(block)
    ]


def _mean(ids: Sequence[str], measured: Mapping[str, float]) -> float:
    return fmean(measured[run] for run in ids)


def _dataset(block: Block) -> str:
    """The beginning of a block's title: see `formatting.title`."""
    return block.title.partition(":")[0]


def _measure(table: Table) -> str:
    """What the numbers of a table are: the beginning of its caption."""
    return table.caption.partition(";")[0].removesuffix(".")
