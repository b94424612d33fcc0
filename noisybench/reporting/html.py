"""A report as one HTML page that needs nothing outside it: table, figures, and the runs behind each cell.

The page itself is `page.html`, a Jinja template that escapes whatever it is given; `page.js` sorts, filters
and shows the runs, which the page holds as JSON.
"""

import json
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from hashlib import sha256
from html import escape
from importlib.resources import files
from itertools import groupby
from typing import TYPE_CHECKING, Any

from noisybench import pages
from noisybench.config import declared_fields
from noisybench.datasets.dataset import DatasetName
from noisybench.errors import InvalidValue, NoisybenchError
from noisybench.registry import DATASETS
from noisybench.reporting.figures import FIGURES, Curves, Figure, build_figure
from noisybench.reporting.formatting import number
from noisybench.reporting.plotting import draw
from noisybench.reporting.statistics import SETTINGS
from noisybench.reporting.tables import Block, Cell, Table
from noisybench.results import Provenance, Result

if TYPE_CHECKING:
    from pandas import DataFrame, Series

# All that is told of a run, in groups.  Whose machine it was, and which process, is nobody's business.
TOLD: Mapping[str, Sequence[str]] = {
    "Settings": tuple(declared_fields()),
    "Measured": ("status", "reason", *(field.name for field in fields(Result))),
    "Made with": (
        *(field.name for field in fields(Provenance) if field.name not in ("host", "pid", "began")),
        *("identity", "attempt", "started", "ended"),
    ),
}

# Of a run, beside its id, in the list of a cell's runs, with headings.
LISTED = {
    "seed": "seed",
    "status": "status",
    "best_epoch": "best epoch",
    "val_accuracy": "noisy validation",
    "test_accuracy": "test",
    "last_test_accuracy": "test, last epoch",
    "seconds": "seconds",
}
# With more settings than these, learning curves are a matter of their own command.
MOST_SETTINGS = 8


@dataclass(frozen=True)
class Place:
    """A cell in the page.  at: the anchor of its runs, empty where it has none."""

    cell: Cell
    title: str
    at: str


@dataclass(frozen=True)
class Grid:
    """A block as a table of HTML.  groups: what stands over how many columns."""

    block: Block
    groups: Sequence[tuple[str, int]]
    rows: Sequence[tuple[Sequence[str], Sequence[Place]]]


def render(table: Table, runs: "DataFrame", curves: Curves, csv: str, command: str) -> str:
    """The page.

    runs: rows of `Store.results` that the table was made of; curves: `Store.mean_curves`; csv: the table as
    CSV, for download; command: what made the page, if that is known.
    """
    from markupsafe import Markup

    figures, undrawn = _figures(table, runs, curves)
    grids = list(_grids(table))
    # Only this script is allowed to run, whatever a store may contain.
    script = (files("noisybench.reporting") / "page.js").read_text(encoding="utf-8")
    return pages.render(
        "reporting",
        table=table,
        grids=grids,
        figures=[(figure, _inline(figure)) for figure in figures],
        undrawn=undrawn,
        count=len(runs),
        facts=_facts(runs, command),
        csv=f"data:text/csv;base64,{b64encode(csv.encode()).decode()}",
        data=Markup(_data(runs, grids)),
        script=Markup(script),
        script_hash=b64encode(sha256(script.encode()).digest()).decode(),
    )


def _data(runs: "DataFrame", grids: Sequence[Grid]) -> str:
    """The runs, and those of each cell, as JSON that is safe within a script element.

    A column is a list of texts, or one text that all runs share.
    """
    position = {run: at for at, run in enumerate(runs["id"])}
    columns = {name: _column(runs[name]) for names in TOLD.values() for name in names} | {
        "id": [str(run) for run in runs["id"]]
    }
    cells = {
        place.at: [f"{place.title}: {place.cell.text}", [position[run] for run in place.cell.runs]]
        for grid in grids
        for _, places in grid.rows
        for place in places
        if place.at
    }
    listed = list(LISTED.items())
    data = {"count": len(runs), "columns": columns, "listed": listed, "groups": TOLD, "cells": cells}
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _column(values: "Series[Any]") -> list[str] | str:
    name = str(values.name)
    plain = values.astype(object).where(values.notna(), None).tolist()
    if len(plain) > 1 and plain.count(plain[0]) == len(plain):
        return _said(name, plain[0])
    return [_said(name, value) for value in plain]


def _facts(runs: "DataFrame", command: str) -> list[tuple[str, str]]:
    """What holds for the page as a whole: what made it, of which runs, in what they computed, their cost."""
    made = [("Command", command)] if command else []
    completed = runs[runs["status"].eq("completed")]
    if completed.empty:
        return made
    precisions = completed["computed_in"].value_counts().sort_index()
    return [
        *made,
        ("Completed runs", f"{len(completed):,}"),
        ("Last run ended", f"{str(completed['ended'].dropna().max())[:16].replace('T', ' ')} UTC"),
        ("Precision", ", ".join(f"{precision} ({count})" for precision, count in precisions.items())),
        ("Test images", _test_images(completed)),
        ("Training time, all runs", f"{completed['seconds'].sum() / 3600:.2f} hours"),
    ]


def _test_images(runs: "DataFrame") -> str:
    """How many images of each data set a test accuracy is of, where that is known here."""
    counts = []
    for name in sorted(runs["dataset"].unique()):
        with suppress(NoisybenchError):
            counts.append(f"{name} {DATASETS[DatasetName.read(name).stem].metadata.counts[1]:,}")
    return ", ".join(counts) or "–"


def _grids(table: Table) -> Iterator[Grid]:
    """The blocks, with an anchor for each cell that has runs."""
    count = 0
    for block in table.blocks:
        rows = []
        for row in block.rows:
            places = []
            for column in block.columns:
                cell = row.cell(column)
                count += bool(cell.runs)
                title = f"{block.title}; {', '.join(row.labels)}; {', '.join(filter(None, column))}"
                places.append(Place(cell, title, f"cell-{count}" if cell.runs else ""))
            rows.append((row.labels, places))
        groups = [(name, len(list(own))) for name, own in groupby(block.columns, key=lambda c: c.group)]
        yield Grid(block, groups if any(name for name, _ in groups) else [], rows)


def _figures(table: Table, runs: "DataFrame", curves: Curves) -> tuple[list[Figure], list[str]]:
    """The figures that the runs allow, and why others that have their runs cannot be drawn."""
    drawn, undrawn = [], []
    many = len(runs[["dataset", "noise", "rate", *SETTINGS]].drop_duplicates()) > MOST_SETTINGS
    for kind in FIGURES:
        if many and "table" not in kind.context:
            continue
        try:
            figure = build_figure(kind.name, runs, curves, table=table, by="loss")
        except InvalidValue as error:
            undrawn.append(str(error))
            continue
        if figure.rows:
            drawn.append(figure)
    if many:
        undrawn.append(
            f"Learning curves of more than {MOST_SETTINGS} settings are not drawn here: choose some by"
            " --where, or write `noisybench report --figure curves --out curves.pdf`."
        )
    return drawn, undrawn


def _inline(figure: Figure) -> Any:
    """The figure as an element of the page, with ids that no other figure has."""
    from markupsafe import Markup

    drawing = draw(figure, ".svg").decode()
    element = re.sub(r"<metadata>.*?</metadata>", "", drawing[drawing.index("<svg") :], flags=re.DOTALL)
    own_ids = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{figure.name}-", element)
    label = escape(" ".join([f"{figure.title}.", *figure.notes]))
    return Markup(own_ids.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1))


def _said(name: str, value: Any) -> str:
    """One thing about a run, as text."""
    if value is None or value == "":
        return "–"
    if name.endswith("accuracy"):
        return f"{100 * value:.2f} %"
    if name == "seconds":
        return f"{value:.1f}"
    return number(value) if isinstance(value, float) else str(value)
