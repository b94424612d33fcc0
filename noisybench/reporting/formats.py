"""A report as text: for a terminal, Markdown, LaTeX, HTML, CSV, JSON.  A format is one decorated function.

A format takes both kinds of report, `Table` and `Lines`.  CSV and JSON are tidy: one record per cell
or line, as the report's `cells` has it, in full precision.
"""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from noisybench.registry import NoMetadata, Registry
from noisybench.reporting import html, latex, render_lines, terminal
from noisybench.reporting.lines import Lines
from noisybench.reporting.markdown import markdown_row, markdown_text
from noisybench.reporting.statistics import as_records
from noisybench.reporting.tables import NO_RUN, Cell, Table

if TYPE_CHECKING:
    from pandas import DataFrame

FORMATS = Registry("format", "noisybench.reporting.formats", NoMetadata)

Document = Table | Lines


@FORMATS.register("table")
def table(document: Document, *, width: int | None) -> str:
    """Plain text; without a terminal (no `width`), lines are as long as they are."""
    if isinstance(document, Lines):
        return render_lines.plain(document, width)
    return terminal.render(document, width)


@FORMATS.register("markdown")
def markdown(table: Document) -> str:
    """GitHub's Markdown, one table per block or section."""
    if isinstance(table, Lines):
        return render_lines.markdown(table)
    marked = f" {table.marks_best} in bold." if table.marks_best else ""
    parts = [markdown_text(table.caption) + marked]
    for block in table.blocks:
        head = [table.stub, *(f"{column.group} {column.heading}".strip() for column in block.columns)]
        lines = [
            markdown_row([markdown_text(text) for text in head]),
            markdown_row(["---", *["---:"] * len(block.columns)]),
        ]
        for row, of_row in block.rows.items():
            cells = [_markdown_cell(of_row.get(column, NO_RUN)) for column in block.columns]
            lines.append(markdown_row([markdown_text(row), *cells]))
        parts += [f"**{markdown_text(block.title)}**", "\n".join(lines)]
    return "\n\n".join([*parts, *(markdown_text(note) for note in table.notes)])


def _markdown_cell(cell: Cell) -> str:
    return f"**{cell.text}**" if cell.best else cell.text


@FORMATS.register("latex")
def latex_(document: Document) -> str:
    """LaTeX with booktabs, all blocks in one table as in the paper."""
    if isinstance(document, Lines):
        return render_lines.latex(document)
    return latex.render(document)


@FORMATS.register("html")
def html_(document: Document, *, runs: "DataFrame", epochs: Callable[[], "DataFrame"]) -> str:
    """One page with nothing outside it: the table, its figures, and the runs behind each cell."""
    return html.render(document, runs, epochs())


@FORMATS.register("csv")
def csv(document: Document) -> str:
    """Tidy CSV, one line per cell; what is missing is empty."""
    return str(document.cells.to_csv(index=False, lineterminator="\n")).rstrip("\n")


@FORMATS.register("json")
def json_(document: Document) -> str:
    """Tidy JSON, one object per cell; what is missing is null."""
    return json.dumps(as_records(document.cells), indent=2, ensure_ascii=False, allow_nan=False)
