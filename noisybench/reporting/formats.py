"""The formats of a table, each one decorated function: text, Markdown, LaTeX, HTML, CSV, JSON.

CSV and JSON are tidy: one record per cell or row, as the table's `cells` has it, in full precision.
"""

import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from noisybench.registry import Registry
from noisybench.reporting import formatting, html, latex
from noisybench.reporting.figures import Curves
from noisybench.reporting.statistics import as_records
from noisybench.reporting.tables import Block, Cell, Column, Table

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class FormatInfo:
    """suffix: of the files that are written in this format unless another is named."""

    suffix: str = ""


GAP = "  "
# Where nothing cuts a table to a width, more columns of methods than these become rows.
MOST_COLUMNS = 12
BOLD = "\033[1m{}\033[0m"


FORMATS = Registry("format", "noisybench.reporting.formats", FormatInfo)


@FORMATS.register("table")
def text(table: Table, *, width: int | None) -> str:
    """Plain text: caption, blocks and notes.

    width: characters of the terminal, to which blocks are cut and in which the best are bold.  None
    without a terminal: lines are not cut, the best have a star, and many methods become rows.
    """
    table = table if width else _with_many_methods_as_rows(table)
    star = "*" if table.best_of and not width else ""
    marked = f" {table.marks_best} {'marked *' if star else 'in bold'}." if table.marks_best else ""
    parts = [_fill(table.caption + marked, width)]
    # A table without groups of columns is a list: its columns stand under each other in all blocks.
    is_list = not any(column.group for column in table.columns) and not table.best_of
    for block in table.blocks:
        peers = table.blocks if is_list else [block]
        labels = _label_widths(table, peers)
        widths = _widths(block.columns, peers, star)
        pieces = [
            _piece(table.stub, labels, block, {column: widths[column] for column in columns}, star)
            for columns in _fitting(block.columns, widths, width, labels)
        ]
        parts.append("\n\n".join([_fill(block.title, width), *pieces]))
    return "\n\n".join([*parts, *(_fill(note, width) for note in table.notes)])


def _with_many_methods_as_rows(table: Table) -> Table:
    """The table, turned where its columns are more than MOST_COLUMNS methods."""
    many = table.best_of == "row" and len(table.columns) > MOST_COLUMNS
    return formatting.methods_as_rows(table) if many else table


def _fill(text: str, width: int | None) -> str:
    """Text in lines of the terminal's width; one line where there is no terminal."""
    return textwrap.fill(text, width, break_on_hyphens=False) if width else text


def _starred(cell: Cell, star: str) -> str:
    """The text of a cell; those without the star leave its place blank, so that digits stay aligned."""
    return cell.text + (star if cell.best else " " * len(star))


def _label_widths(table: Table, blocks: Sequence[Block]) -> list[int]:
    """Characters of each label of the rows of these blocks, with its heading."""
    rows = [table.stub, *(row.labels for block in blocks for row in block.rows)]
    return [max(map(len, texts)) for texts in zip(*rows, strict=True)]


def _widths(columns: Sequence[Column], blocks: Sequence[Block], star: str) -> dict[Column, int]:
    """Characters of each column."""
    return {
        column: max(
            len(column.heading) + len(star),
            *(len(_starred(row.cell(column), star)) for block in blocks for row in block.rows),
        )
        for column in columns
    }


def _span(widths: Sequence[int]) -> int:
    """Characters of columns with the gaps between them."""
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _with_groups(widths: Mapping[Column, int]) -> dict[Column, int]:
    """The widths, where the last column of a group makes room for the group's name."""
    wider = dict(widths)
    for name, group in groupby(widths, key=lambda column: column.group):
        columns = list(group)
        missing = len(f" {name} ") - _span([widths[column] for column in columns])
        wider[columns[-1]] += max(0, missing) if name else 0
    return wider


def _fitting(
    columns: Sequence[Column], widths: Mapping[Column, int], width: int | None, labels: Sequence[int]
) -> Iterator[Sequence[Column]]:
    """Cut the columns to the width: all at once, else group by group, else as many as fit."""

    def fits(chosen: Sequence[Column]) -> bool:
        placed = _with_groups({column: widths[column] for column in chosen})
        return width is None or _span([*labels, *placed.values()]) <= width

    if fits(columns):
        yield columns
        return
    for _, group in groupby(columns, key=lambda column: column.group):
        piece: list[Column] = []
        for column in group:
            if piece and not fits([*piece, column]):
                yield piece
                piece = []
            piece.append(column)
        yield piece


def _piece(
    stub: Sequence[str], labels: Sequence[int], block: Block, widths: Mapping[Column, int], star: str
) -> str:
    """Some columns of a block: the groups over their headings, then a line for each row."""
    placed = _with_groups(widths)
    groups = []
    for name, group in groupby(placed, key=lambda column: column.group):
        span = _span([placed[column] for column in group])
        groups.append(f" {name} ".center(span, "─") if name else " " * span)
    headings = [(column.heading + " " * len(star)).rjust(width) for column, width in placed.items()]
    lines = [
        *([GAP.join([" " * _span(labels), *groups])] if any(column.group for column in placed) else []),
        GAP.join([*_left(stub, labels), *headings]),
        "─" * _span([*labels, *placed.values()]),
    ]
    for row in block.rows:
        cells = []
        for column, width in placed.items():
            cell = row.cell(column)
            text = _starred(cell, star).rjust(width)
            cells.append(BOLD.format(text) if cell.best and not star else text)
        lines.append(GAP.join([*_left(row.labels, labels), *cells]))
    return "\n".join(line.rstrip() for line in lines)


def _left(texts: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [text.ljust(width) for text, width in zip(texts, widths, strict=True)]


@FORMATS.register("markdown", suffix=".md")
def markdown(table: Table) -> str:
    """GitHub's Markdown, one table per block; many methods become rows."""
    table = _with_many_methods_as_rows(table)
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
