"""The kinds of audit: the results of the same runs under other rules of selection.

A kind is one decorated function from runs and their epochs to a `Table`; its name is the value of
``--audit``, the first line of its docstring its help.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from noisybench.errors import join_limited
from noisybench.registry import NoMetadata, Registry
from noisybench.reporting.formatting import Record, noise_label, notes, signed, titles, with_methods
from noisybench.reporting.statistics import DATA, METHOD, PLACE, SCHEDULE, SETTINGS, as_records, rank
from noisybench.reporting.tables import NO_RUNS, Table, list_table

if TYPE_CHECKING:
    from pandas import DataFrame

AUDITS = Registry("audit", "noisybench.reporting.audit", NoMetadata)

# A rule reports the earliest epoch of the highest value in a column; the last epoch is the highest one.
HONEST = "noisy val."
RULES = {HONEST: "val_accuracy", "last": "epoch", "clean val.": "clean_val_accuracy", "test": "test_accuracy"}
# The columns of epochs that an audit reads.
EPOCHS = ("val_accuracy", "clean_val_accuracy", "test_accuracy")
CELLS = (*PLACE, "rule", "mean", "std", "n", "leak", "unit", *SCHEDULE, *SETTINGS)


@dataclass(frozen=True)
class Audited:
    """The runs of one cell under each rule.

    run: one of them.  accuracies: test accuracies in percent, run by run; None for a rule that some of
    the runs did not measure.
    """

    run: Record
    accuracies: Mapping[str, Sequence[float] | None]

    def leak(self, rule: str) -> float | None:
        """Mean difference to the honest rule in points, run by run."""
        chosen, honest = self.accuracies[rule], self.accuracies[HONEST]
        if chosen is None or honest is None:
            return None
        return fmean(a - b for a, b in zip(chosen, honest, strict=True))


@AUDITS.register("selection")
def selection(runs: "DataFrame", epochs: "DataFrame") -> Table:
    """Test accuracy under other rules for choosing the epoch, and the leak of each in points.

    runs: rows of `Store.results`; epochs: those of `Store.epochs`, which may have more runs.
    """
    completed = runs[runs["status"].eq("completed")]
    # In order once for all rules, with names as numbers: there may be a million rows.
    epochs = epochs.assign(run=epochs["run"].astype("category")).sort_values(["run", "epoch"])
    chosen = {rule: _chosen(epochs, column) for rule, column in RULES.items()}
    cells = list(_cells(completed[completed["id"].isin(list(chosen[HONEST]))], chosen))
    of_settings = titles([cell.run for cell in cells], SETTINGS)
    under = [f"{title}; {noise_label(cell.run)}" for title, cell in zip(of_settings, cells, strict=True)]
    sections = [
        (title, [row for _, cell in group for row in _rows(cell)])
        for title, group in groupby(zip(under, cells, strict=True), key=itemgetter(0))
    ]
    return list_table(
        name="selection",
        caption=_caption(runs, cells),
        stub=["loss"],
        headings=list(RULES),
        sections=[*sections, *_summary(cells)],
        notes=[*_notes(completed, chosen), *notes(runs)],
        cells=type(runs)(
            [record for cell in cells for record in _records(cell)], columns=CELLS, dtype=object
        ),
    )


# What is chosen among must have been trained on the same data, at the same seeds.
TASK = ("dataset", "noise", "rate", *DATA)
CHOICES = {rule: column for rule, column in RULES.items() if rule != "last"}
ANY = "any"


@AUDITS.register("settings")
def settings(runs: "DataFrame", epochs: "DataFrame") -> Table:
    """Test accuracy under other rules for choosing among the losses and settings of a task, as `tune` does.

    runs, epochs: as of `selection`.
    """
    completed = runs[runs["status"].eq("completed")]
    at_best = epochs.set_index(["run", "epoch"])["clean_val_accuracy"].astype(float).to_dict()
    places = zip(completed["id"], completed["best_epoch"], strict=True)
    completed = completed.assign(clean_val_accuracy=[at_best.get(place, math.nan) for place in places])
    completed = completed.astype(dict.fromkeys(CHOICES.values(), float))
    sections, records = [], []
    for _, of_task in completed.groupby([*TASK], dropna=False):
        cells = _cells_of_task(of_task)
        candidates = _at_the_same_seeds(cells)
        if len(candidates) < 2:
            continue
        chosen = {rule: _test_accuracy(candidates, column) for rule, column in CHOICES.items()}
        chosen[ANY] = 100 * float(candidates["test_accuracy"].mean())
        run = as_records(of_task.head(1))[0]
        honest = chosen[HONEST] or 0.0
        leaks = {rule: None if value is None else value - honest for rule, value in chosen.items()}
        n = int(candidates["n"].iloc[0])
        rows = [
            [
                f"{len(candidates)} of {len(cells)} settings",
                *("–" if v is None else f"{v:.2f}" for v in chosen.values()),
            ],
            [f"leak, n = {n}", *map(signed, leaks.values())],
        ]
        sections.append((f"{run['dataset']}; {noise_label(run)}", rows))
        records += [
            {**{name: run[name] for name in TASK}, "rule": rule, "mean": value, "settings": len(candidates)}
            | {"n": n, "leak": leaks[rule], "unit": "percent"}
            for rule, value in chosen.items()
        ]
    return list_table(
        name="settings",
        caption=_settings_caption(bool(sections)),
        stub=["task"],
        headings=[*CHOICES, ANY],
        sections=sections,
        notes=notes(runs),
        cells=type(runs)(
            records, columns=[*TASK, "rule", "mean", "settings", "n", "leak", "unit"], dtype=object
        ),
    )


def _test_accuracy(candidates: "DataFrame", column: str) -> float | None:
    """The test accuracy in percent of the candidate that is highest in a column; None if it lacks a value."""
    if candidates[column].isna().any():
        return None
    best = candidates.sort_values(column, ascending=False, kind="stable").iloc[0]
    return 100 * float(best["test_accuracy"])


def _cells_of_task(runs: "DataFrame") -> "DataFrame":
    """A row for each loss with its settings: the means of the accuracies over its seeds, missing if one is;
    the seeds as text, and n, their number."""
    measured = list(CHOICES.values())
    cells = runs.sort_values("seed").groupby(["loss", *SCHEDULE, *METHOD], dropna=False)
    means = cells[measured].mean(skipna=False)
    seeds = cells["seed"].agg(seeds=lambda seeds: " ".join(map(str, seeds)), n="count")
    return means.join(seeds).reset_index()


def _at_the_same_seeds(cells: "DataFrame") -> "DataFrame":
    """The cells of the seeds that most of them have (of as many, the larger number of seeds): other seeds are
    other labels."""
    frequency = cells["seeds"].map(cells["seeds"].value_counts())
    most = cells.assign(frequency=frequency).sort_values(["frequency", "n"], kind="stable")["seeds"].iloc[-1]
    return cells[cells["seeds"].eq(most)]


def _settings_caption(is_any: bool) -> str:
    if not is_any:
        return (
            "No two settings have completed on the same labels at the same seeds: there is nothing to choose."
        )
    return (
        "Test accuracy in percent, mean over seeds, of the loss and settings that are chosen by highest"
        " noisy-validation accuracy, as a user can; by highest accuracy on validation images with their true"
        " labels; by highest test accuracy; and the mean of all. Each run at its epoch of highest"
        " noisy-validation accuracy. Settings at other seeds than most are left out. Leak: difference to"
        " noisy validation; that of test is by construction the largest."
    )


def _chosen(epochs: "DataFrame", column: str) -> dict[str, float]:
    """For each run that measured the column in all its epochs, the test accuracy at the earliest epoch
    of its maximum.  epochs: in order."""
    values = epochs[column].astype(float)
    # Ties go to the first row, as in a training that looks for a value higher than the highest so far.
    of_run = values.groupby(epochs["run"], observed=True, sort=False)
    highest = of_run.transform("max")
    best = epochs[values.eq(highest) & of_run.transform("count").eq(of_run.transform("size"))]
    best = best.drop_duplicates("run")
    return dict(zip(best["run"], best["test_accuracy"].astype(float), strict=True))


def _cells(runs: "DataFrame", chosen: Mapping[str, Mapping[str, float]]) -> Iterator[Audited]:
    """The runs that differ in nothing but the seed, in the order of a report."""
    order = ["dataset", *SETTINGS, "noise", "rate", "loss", *SCHEDULE]
    records = as_records(with_methods(runs.sort_values([*order, "seed"], key=rank)))
    for _, group in groupby(records, key=itemgetter(*order)):
        cell = list(group)
        yield Audited(
            cell[0],
            {
                rule: [100 * of_run[run["id"]] for run in cell]
                if all(run["id"] in of_run for run in cell)
                else None
                for rule, of_run in chosen.items()
            },
        )


def _rows(cell: Audited) -> list[list[str]]:
    """The accuracies of a cell, and below each what it leaks."""
    n = len(cell.accuracies[HONEST] or [])
    return [
        [cell.run["method"], *(_accuracy(accuracies) for accuracies in cell.accuracies.values())],
        [f"leak, n = {n}", *(signed(cell.leak(rule)) for rule in RULES)],
    ]


def _accuracy(accuracies: Sequence[float] | None) -> str:
    if accuracies is None:
        return "–"
    spread = f" ± {stdev(accuracies):.2f}" if len(accuracies) > 1 else ""
    return f"{fmean(accuracies):.2f}{spread}"


def _summary(cells: Sequence[Audited]) -> list[tuple[str, list[list[str]]]]:
    """A line for each method with its mean leak over cells, if one has several cells."""
    by_method: dict[str, list[Audited]] = {}
    for cell in cells:
        by_method.setdefault(cell.run["method"], []).append(cell)
    if len(by_method) == len(cells):
        return []
    rows = [
        [method, *(signed(_mean([cell.leak(rule) for cell in of_method])) for rule in RULES)]
        for method, of_method in by_method.items()
    ]
    return [("Mean leak over all of a loss's places above", rows)]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) else None


def _records(cell: Audited) -> Iterator[dict[str, Any]]:
    """One for each rule, with the names in CELLS."""
    for rule, accuracies in cell.accuracies.items():
        known = accuracies or []
        yield {
            **cell.run,
            "rule": rule,
            "mean": fmean(known) if known else None,
            "std": stdev(known) if len(known) > 1 else None,
            "n": len(known),
            "leak": cell.leak(rule),
            "unit": "percent",
        }


def _caption(runs: "DataFrame", cells: Sequence[Audited]) -> str:
    if not cells:
        return NO_RUNS if runs.empty else "No run has completed: there is nothing to audit."
    return (
        "Test accuracy in percent, mean ± sample standard deviation (n−1) over seeds, had the epoch been"
        " chosen by highest noisy-validation accuracy, as the paper does; not at all, the last one; by"
        " highest accuracy on validation images with their true labels, which a user does not have; by"
        " highest test accuracy. Leak: mean difference to noisy validation, run by run. That of test is by"
        " construction the largest; the last epoch looks at no labels, and its difference is no leak but"
        " what choosing an epoch costs or gains."
    )


def _notes(completed: "DataFrame", chosen: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Which runs a rule cannot be applied to."""
    sentences = []
    without = sorted(set(completed["id"]) - chosen[HONEST].keys())
    if without:
        sentences.append(f"Not audited, as the store has no epochs of theirs: {join_limited(without)}.")
    for rule, of_run in chosen.items():
        unmeasured = sorted(set(completed["id"]) - of_run.keys() - set(without))
        if unmeasured:
            sentences.append(
                f"{rule} is – where a run was made before noisybench measured it: {join_limited(unmeasured)}."
            )
    return sentences
