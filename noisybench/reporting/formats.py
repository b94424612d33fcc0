"""The formats of a table, each one decorated function: text, Markdown, LaTeX, HTML, CSV, JSON.

CSV and JSON are tidy: one record per cell or row, as the table's `cells` has it, in full precision.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from noisybench.registry import Registry
from noisybench.reporting import html, latex, terminal
from noisybench.reporting.figures import Curves
from noisybench.reporting.statistics import as_records
from noisybench.reporting.tables import Cell, Table

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class FormatInfo:
    """suffix: of the files that are written in this format unless another is named."""

    suffix: str = ""


FORMATS = Registry("format", "noisybench.reporting.formats", FormatInfo)


@FORMATS.register("table")
def text(table: Table, *, width: int | None) -> str:
    """Plain text; without a terminal (no `width`), lines are as long as they are."""
    return terminal.render(table, width)


@FORMATS.register("markdown", suffix=".md")
def markdown(table: Table) -> str:
    """GitHub's Markdown, one table per block."""
    marked = f" {table.marks_best} in bold." if table.marks_best else ""
    parts = [_escaped(table.caption) + marked]
    for block in table.blocks:
        head = [*table.stub, *(f"{column.group} {column.heading}".strip() for column in block.columns)]
        lines = [
            _row([_escaped(heading) for heading in head]),
            _row(["---"] * len(table.stub) + ["---:"] * len(block.columns)),
            *(
                _row([*map(_escaped, row.labels), *(_cell(row.cell(column)) for column in block.columns)])
                for row in block.rows
            ),
        ]
        parts += [f"**{_escaped(block.title)}**", "\n".join(lines)]
    return "\n\n".join([*parts, *(_escaped(note) for note in table.notes)])


def _cell(cell: Cell) -> str:
    return f"**{_escaped(cell.text)}**" if cell.best else _escaped(cell.text)


def _row(cells: Sequence[str]) -> str:
    """A row of cells that are Markdown already."""
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """Text as Markdown shows it, character by character."""
    return re.sub(r"([\\|*_<\[\]])", r"\\\1", text)


@FORMATS.register("latex", suffix=".tex")
def latex_(table: Table) -> str:
    """LaTeX with booktabs, all blocks in one table as in the paper."""
    return latex.render(table)


@FORMATS.register("html", suffix=".html")
def html_(table: Table, *, runs: "DataFrame", curves: Curves, command: str) -> str:
    """One page with nothing outside it: the table, its figures, and the runs behind each cell."""
    return html.render(table, runs, curves, csv(table), command)


@FORMATS.register("csv", suffix=".csv")
def csv(table: Table) -> str:
    """Tidy CSV, one line per cell; what is missing is empty."""
    return str(table.cells.to_csv(index=False, lineterminator="\n")).rstrip("\n")


@FORMATS.register("json", suffix=".json")
def json_(table: Table) -> str:
    """Tidy JSON, one object per cell; what is missing is null."""
    return json.dumps(as_records(table.cells), indent=2, ensure_ascii=False, allow_nan=False)
