"""From runs to cells: mean and sample standard deviation over seeds, and how many there are."""

from typing import TYPE_CHECKING, Any

from noisybench.config import declared_fields
from noisybench.registry import REGISTRIES
from noisybench.reporting.selection import stem

if TYPE_CHECKING:
    from pandas import DataFrame, Series

# A run that has not completed has no place in an average, and is shown in this order of concern.
UNFINISHED = ("failed", "interrupted", "running")

# Runs that differ in any of these are never averaged together: what is left is the seed.
# When to prune belongs to the method, as only some losses prune; the settings hold for all of a table.
PLACE = ("dataset", "loss", "noise", "rate")
SCHEDULE = ("prune_from", "prune_every", "code", "revision")
SETTINGS = tuple(name for name in declared_fields() if name not in (*PLACE, *SCHEDULE, "seed"))

# What a run learns from.  The other settings are how: in the open-set table, methods have their own.
DATA = ("draws", "labels", "keep", "train_size", "validation", "trusted")
METHOD = tuple(name for name in SETTINGS if name not in DATA)

# The order of a report, column by column: see `rank`.
ORDER = ("dataset", *SETTINGS, "loss", *SCHEDULE, "noise", "rate")

# What pandas would read as floats where some run has none.
WHOLE = {name: "Int64" for name, d in declared_fields().items() if d.optional and d.type is int}


def summarise(runs: "DataFrame", measure: str) -> "DataFrame":
    """One row per cell, in the order of a report.

    measure: a column of accuracies, fractions from 0 to 1.
    Returns the columns PLACE; `mean` and `std` in percent, where `std` is the sample standard
    deviation (n - 1), missing for one run; `n`, the completed runs that were averaged; a count for
    each of UNFINISHED; `measure` and its `unit`; then SCHEDULE and SETTINGS; `runs`, the ids of all runs
    behind the cell, completed or not, by seed, with spaces between.
    """
    completed = runs["status"].eq("completed")
    assert runs.loc[completed, "identity"].is_unique, "the store counts each identity once"
    # Seeds are put in order so that the last bit of a mean does not depend on the order of the rows.
    frame = runs.assign(
        measured=100 * runs[measure].astype(float).where(completed),
        **{status: runs["status"].eq(status) for status in UNFINISHED},
    ).sort_values("seed")
    cells = (
        frame.astype(WHOLE)
        .groupby([*PLACE, *SCHEDULE, *SETTINGS], dropna=False, as_index=False)
        .agg(
            mean=("measured", "mean"),
            std=("measured", "std"),
            n=("measured", "count"),
            **{status: (status, "sum") for status in UNFINISHED},
            runs=("id", " ".join),
        )
    )
    ordered = cells.sort_values([*ORDER], key=rank, ignore_index=True)
    labelled = ordered.assign(measure=measure, unit="percent")
    statistics = ["mean", "std", "n", *UNFINISHED, "measure", "unit"]
    return labelled[[*PLACE, *statistics, *SCHEDULE, *SETTINGS, "runs"]]


def as_records(cells: "DataFrame") -> list[dict[str, Any]]:
    """The rows as plain Python values by column, None where a value is missing."""
    plain = cells.astype(object)
    return plain.where(plain.notna(), None).to_dict(orient="records")  # type: ignore[return-value]


def rank(values: "Series[Any]") -> "Series[Any]":
    """A column of Config for sorting: names go as their registry has them, unknown ones last."""
    kind = declared_fields()[str(values.name)].option.kind
    if not kind:
        return values
    registered = {entry.name: position for position, entry in enumerate(REGISTRIES[kind])}
    ordered = sorted(values.unique(), key=lambda name: (registered.get(stem(name), len(registered)), name))
    return values.map({name: position for position, name in enumerate(ordered)})
