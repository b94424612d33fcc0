"""Figures of any runs: learning curves, accuracy by method and noise, accuracy by cost, and ranks."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from statistics import fmean
from typing import TYPE_CHECKING, Any

from noisybench.config import declared_fields
from noisybench.errors import InputError, UnknownName, join_limited
from noisybench.registry import METHODS
from noisybench.reporting import formatting
from noisybench.reporting.figures import (
    ACCURACY,
    FIGURES,
    VAL_ACCURACY,
    Curves,
    Figure,
    HeatMap,
    Panel,
    Point,
    RankAxis,
    Scatter,
    lines,
)
from noisybench.reporting.formatting import Record
from noisybench.reporting.paper_figures import ABREAST
from noisybench.reporting.ranks import friedman, notes, ranking
from noisybench.reporting.statistics import SCHEDULE, SETTINGS, WHOLE, as_records, rank
from noisybench.reporting.tables import NO_RUN, Cell, Table

if TYPE_CHECKING:
    from pandas import DataFrame, Series

ANY_TWO = "completed runs of two methods in one setting"


@FIGURES.register("curves", needs="completed runs, with their epochs")
def curves(runs: "DataFrame", curves: Curves, *, by: str) -> Figure:
    """Learning curves: test and noisy-validation accuracy, a line for each value of --by."""
    names = declared_fields()
    if by not in names or by == "seed":
        raise UnknownName("column to draw lines by", by, [name for name in names if name != "seed"])
    # When to prune belongs to the method.
    own = ["loss", *SCHEDULE] if by == "loss" else [by]
    shared = [name for name in ("dataset", "noise", "rate", *SETTINGS, "loss", *SCHEDULE) if name not in own]
    ordered = runs.astype(WHOLE).sort_values([*shared, *own, "seed"], key=rank)
    panels, varying = [], [name for name in SETTINGS if name not in own and runs[name].nunique(False) > 1]
    labels = _labels(ordered, own)
    distinct = list(dict.fromkeys(labels))
    shades = {label: 1 - at / max(1, len(distinct) - 1) for at, label in enumerate(distinct)}
    for _, of_panel in ordered.groupby(shared, dropna=False, sort=False):
        groups = dict(iter(of_panel.groupby(labels.loc[of_panel.index], sort=False)))
        first = as_records(of_panel.head(1))[0]
        setting = formatting.title(first["dataset"], first, [name for name in varying if name not in own])
        title = ", ".join(_heading(first, own))
        drawn = lines(curves, groups, ["test_accuracy", "val_accuracy"], shades)
        if drawn["test_accuracy"]:
            panels.append(
                (
                    Panel(title, ACCURACY, setting, drawn["test_accuracy"]),
                    Panel(title, VAL_ACCURACY, setting, drawn["val_accuracy"]),
                )
            )
    rows = []
    for start in range(0, len(panels), ABREAST):
        top, bottom = zip(*panels[start : start + ABREAST], strict=True)
        rows += [top, bottom]
    return Figure("curves", f"Learning curves by {by}", rows, shared_legend=True)


def _labels(runs: "DataFrame", own: Sequence[str]) -> "Series[Any]":
    """The label of each run's line."""
    import pandas as pd

    several = runs.groupby("loss")[list(SCHEDULE)].transform("nunique", dropna=False).gt(1).any(axis=1)

    def label(record: Record, has_variants: bool) -> str:
        if own[0] != "loss":
            return formatting.setting(own[0], record)
        return f"{record['loss']}, {formatting.pruned(record)}" if has_variants else str(record["loss"])

    named = map(label, as_records(runs), several)
    return pd.Series(list(named), index=runs.index, dtype=object)


def _heading(first: Record, own: Sequence[str]) -> Iterator[str]:
    """What the runs of a panel share, but for their setting."""
    if "dataset" not in own:
        yield str(first["dataset"])
    if "noise" not in own and "rate" not in own:
        yield formatting.noise_label(first) if first["rate"] else "clean labels"
    elif "noise" not in own:
        yield str(first["noise"])
    elif "rate" not in own:
        yield f"η = {formatting.number(first['rate'])}"
    if "loss" not in own:
        yield str(first["loss"])


@FIGURES.register("heatmap", needs="completed runs")
def heatmap(runs: "DataFrame", curves: Curves, *, table: Table) -> Figure:
    """Accuracy as colour: methods by noise and rate, for each setting of --table."""
    measured = accuracies(runs, table)
    usual, rows = formatting.usual_n(table.cells) if measured else 0, []
    for block in table.blocks:
        of_block = table.settings_of(block)
        methods = list(dict.fromkeys(method for _, cells in of_block for method in cells))
        panels = []
        for group, own in groupby(of_block, key=lambda setting: setting[0].group):
            columns = list(own)
            values = [
                [_mean(cells.get(method, NO_RUN), measured) for _, cells in columns] for method in methods
            ]
            if any(value is not None for row in values for value in row):
                texts = [
                    [_text(cells.get(m, NO_RUN), measured, usual) for _, cells in columns] for m in methods
                ]
                headings = [column.heading for column, _ in columns]
                title = ", ".join(filter(None, (block.title.partition(":")[0], group)))
                panels.append(HeatMap(title, block.title, methods, headings, values, texts))
        rows += [panels] if panels else []
    remark = f"{_measure(table)}, mean over n = {usual} seeds unless a number in brackets says otherwise."
    return Figure("heatmap", "Accuracy by method and noise", rows, [remark])


def _text(cell: Cell, measured: Mapping[str, float], usual: int) -> str:
    """A mean, and its number of seeds if that is not the usual one."""
    value, n = _mean(cell, measured), sum(run in measured for run in cell.runs)
    return "–" if value is None else f"{value:.1f}" + (f" ({n})" if n != usual else "")


@FIGURES.register("cost", needs=ANY_TWO)
def cost(runs: "DataFrame", curves: Curves, *, table: Table) -> Figure:
    """Accuracy against cost: seconds of training, and passes of the images through a network in an epoch."""
    measured = accuracies(runs, table)
    seconds = dict(zip(runs["id"], runs["seconds"], strict=True))
    losses = dict(zip(runs["id"], runs["loss"], strict=True))
    rows, left_out = [], []
    for block in table.blocks:
        settings = [cells for _, cells in table.settings_of(block)]
        methods = [
            method
            for method in dict.fromkeys(method for cells in settings for method in cells)
            if any(_mean(cells.get(method, NO_RUN), measured) is not None for cells in settings)
        ]
        common = [
            cells
            for cells in settings
            if all(_mean(cells.get(method, NO_RUN), measured) is not None for method in methods)
        ]
        if len(methods) < 2 or not common:
            left_out.append(block.title)
            continue
        times, passes = [], []
        for at, method in enumerate(methods):
            shade = 1 - at / (len(methods) - 1)
            cells = [of[method] for of in common]
            accuracy = fmean(value for cell in cells if (value := _mean(cell, measured)) is not None)
            ids = [run for cell in cells for run in cell.runs if run in measured]
            times.append(Point(method, shade, fmean(float(seconds[run]) for run in ids), accuracy))
            if (count := _passes(losses[ids[0]])) is not None:
                passes.append(Point(method, shade, count, accuracy))
        note = f"{block.title}; mean over the {len(common)} of {len(settings)} noises that all methods have"
        title = block.title.partition(":")[0]
        rows.append(
            [
                Scatter(title, "Training time (s)", ACCURACY, note, times, is_log=True),
                Scatter(title, "Passes in an epoch", ACCURACY, note, passes, is_log=False),
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


def accuracies(runs: "DataFrame", table: Table) -> dict[str, float]:
    """What the table measures of each completed run, in percent, by the run's id."""
    completed = runs[runs["status"].eq("completed")]
    if not table.settings:
        return {}
    return dict(zip(completed["id"], 100 * completed[table.measure].astype(float), strict=True))


def _mean(cell: Cell, measured: Mapping[str, float]) -> float | None:
    found = [measured[run] for run in cell.runs if run in measured]
    return fmean(found) if found else None


def _measure(table: Table) -> str:
    return table.caption.partition(";")[0].removesuffix(".")
