"""A table as text: for a terminal, Markdown, LaTeX, CSV, JSON.  A format is one decorated function.

CSV and JSON are tidy: one record per cell, as `statistics.summarise` returns it, in full precision.
"""

import json
import re
from collections.abc import Sequence

from noisybench.registry import Registry
from noisybench.reporting import latex, terminal
from noisybench.reporting.statistics import as_records
from noisybench.reporting.tables import NO_RUN, Cell, Table

FORMATS = Registry("format", "noisybench.reporting.formats")


@FORMATS.register("table")
def table(table: Table, *, width: int | None) -> str:
    """Plain text; without a terminal (no `width`), lines are as long as they are."""
    return terminal.render(table, width)


@FORMATS.register("markdown")
def markdown(table: Table) -> str:
    """GitHub's Markdown, one table per block."""
    marked = f" {table.marks_best} in bold." if table.marks_best else ""
    parts = [_markdown_text(table.caption) + marked]
    for block in table.blocks:
        head = [table.stub, *(f"{column.group} {column.heading}".strip() for column in block.columns)]
        lines = [
            _markdown_row([_markdown_text(text) for text in head]),
            _markdown_row(["---", *("---" if column.words else "---:" for column in block.columns)]),
        ]
        for row, of_row in block.rows.items():
            cells = [_markdown_cell(of_row.get(column, NO_RUN)) for column in block.columns]
            label = ", ".join(filter(None, [row.group, row.label]))
            lines.append(_markdown_row([_markdown_text(label), *cells]))
        parts += [f"**{_markdown_text(block.title)}**", "\n".join(lines)]
    return "\n\n".join([*parts, *(_markdown_text(note) for note in table.notes)])


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown_cell(cell: Cell) -> str:
    return f"**{cell.text}**" if cell.best else cell.text


def _markdown_text(text: str) -> str:
    return re.sub(r"([\\|*_<\[\]])", r"\\\1", text)


@FORMATS.register("latex")
def latex_(table: Table) -> str:
    """LaTeX with booktabs, all blocks in one table as in the paper."""
    return latex.render(table)


@FORMATS.register("csv")
def csv(table: Table) -> str:
    """Tidy CSV, one line per cell; what is missing is empty."""
    return str(table.cells.to_csv(index=False, lineterminator="\n")).rstrip("\n")


@FORMATS.register("json")
def json_(table: Table) -> str:
    """Tidy JSON, one object per cell; what is missing is null."""
    return json.dumps(as_records(table.cells), indent=2, ensure_ascii=False, allow_nan=False)
