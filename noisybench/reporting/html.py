"""A report as one HTML page that needs nothing outside it: table, figures, and the runs behind each cell.

The page itself is `page.html`, a Jinja template that escapes whatever it is given.
"""

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING, Any

from noisybench.config import Provenance, Result, declared_fields
from noisybench.errors import InvalidValue
from noisybench.reporting.figures import FIGURES, Curves, Figure, build_figure
from noisybench.reporting.formatting import Record, number
from noisybench.reporting.plotting import draw
from noisybench.reporting.statistics import as_records
from noisybench.reporting.tables import Block, Cell, Table

if TYPE_CHECKING:
    from pandas import DataFrame

# All that is told of a run, in groups.  Whose machine it was, and which process, is nobody's business.
TOLD: Mapping[str, Sequence[str]] = {
    "Settings": tuple(declared_fields()),
    "Measured": ("status", "reason", *(field.name for field in fields(Result))),
    "Made with": (
        *(field.name for field in fields(Provenance) if field.name not in ("host", "pid", "began")),
        *("identity", "attempt", "started", "ended"),
    ),
}


@dataclass(frozen=True)
class Place:
    """A cell in the page.  at: the anchor of its runs, empty where it has none."""

    cell: Cell
    row: str
    column: str
    at: str


@dataclass(frozen=True)
class Grid:
    """A block as a table of HTML.  groups: what stands over how many columns."""

    block: Block
    groups: Sequence[tuple[str, int]]
    rows: Sequence[tuple[Sequence[str], Sequence[Place]]]


def render(table: Table, runs: "DataFrame", curves: Curves, csv: str) -> str:
    """The page.

    runs: rows of `Store.results` that the table was made of; curves: `Store.mean_curves`; csv: the table as
    CSV, for download.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("noisybench", "reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["said"] = _said
    figures, undrawn = _figures(table, runs, curves)
    return environment.get_template("page.html").render(
        table=table,
        grids=list(_grids(table)),
        figures=[(figure, _inline(figure)) for figure in figures],
        undrawn=undrawn,
        runs={record["id"]: record for record in as_records(runs)},
        told=TOLD,
        facts=_facts(runs),
        csv=_download("text/csv", csv.encode()),
    )


def _facts(runs: "DataFrame") -> list[tuple[str, str]]:
    """What holds for the page as a whole: when its runs ended, in what they computed, and their cost."""
    completed = runs[runs["status"].eq("completed")]
    if completed.empty:
        return []
    precisions = completed["computed_in"].value_counts().sort_index()
    return [
        ("Completed runs", str(len(completed))),
        ("Last run ended", str(completed["ended"].dropna().max())),
        ("Precision", ", ".join(f"{precision} ({count})" for precision, count in precisions.items())),
        ("Training time, all runs", f"{completed['seconds'].sum() / 3600:.2f} hours"),
    ]


def _download(kind: str, content: bytes) -> str:
    """A file as an address that the page itself holds."""
    return f"data:{kind};base64,{b64encode(content).decode()}"


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
                heading = ", ".join(filter(None, column))
                places.append(
                    Place(cell, ", ".join(row.labels), heading, f"cell-{count}" if cell.runs else "")
                )
            rows.append((row.labels, places))
        groups = [(name, len(list(own))) for name, own in groupby(block.columns, key=lambda c: c.group)]
        yield Grid(block, groups if any(name for name, _ in groups) else [], rows)


def _figures(table: Table, runs: "DataFrame", curves: Curves) -> tuple[list[Figure], list[str]]:
    """The figures that the runs allow, and why others that have their runs cannot be drawn."""
    drawn, undrawn = [], []
    for kind in FIGURES:
        try:
            figure = build_figure(kind.name, runs, curves, table=table, by="loss")
        except InvalidValue as error:
            undrawn.append(str(error))
            continue
        if figure.rows:
            drawn.append(figure)
    return drawn, undrawn


def _inline(figure: Figure) -> Any:
    """The figure as an element of the page, with ids that no other figure has."""
    from markupsafe import Markup

    drawing = draw(figure, ".svg").decode()
    element = re.sub(r"<metadata>.*?</metadata>", "", drawing[drawing.index("<svg") :], flags=re.DOTALL)
    own_ids = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{figure.name}-", element)
    label = escape(" ".join([f"{figure.title}.", *figure.notes]))
    return Markup(own_ids.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1))


def _said(run: Record, name: str) -> str:
    """One thing about a run, as text."""
    value = run[name]
    if value is None or value == "":
        return "–"
    if name.endswith("accuracy"):
        return f"{100 * value:.2f} %"
    if name == "seconds":
        return f"{value:.1f}"
    return number(value) if isinstance(value, float) else str(value)
