"""A table as plain text, cut to the width of a terminal."""

import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby

from noisybench.reporting.tables import NO_RUN, Block, Cell, Column, Table

GAP = "  "
BOLD = "\033[1m{}\033[0m"


def render(table: Table, width: int | None) -> str:
    """Caption, blocks and notes.

    width: characters of the terminal, to which blocks are cut and in which the best are bold.  None
    where there is no terminal: lines are as long as they are, and the best have a star.
    """
    star = "" if width else "*"
    marked = f" {table.marks_best} {'marked *' if star else 'in bold'}." if table.marks_best else ""
    parts = [fill(table.caption + marked, width)]
    for block in table.blocks:
        label = max(map(len, [table.stub, *block.rows]))
        pieces = [
            _piece(table.stub, block, columns, label, star) for columns in _fitting(block, width, label, star)
        ]
        parts.append("\n\n".join([fill(block.title, width), *pieces]))
    return "\n\n".join([*parts, *(fill(note, width) for note in table.notes)])


def fill(text: str, width: int | None) -> str:
    """Text in lines of the terminal's width; one line where there is no terminal."""
    return textwrap.fill(text, width, break_on_hyphens=False) if width else text


def _text(cell: Cell, star: str) -> str:
    """What a cell says; those without the star leave its place blank, so that digits stay aligned."""
    return cell.text + (star if cell.best else " " * len(star))


def _widths(block: Block, columns: Sequence[Column], star: str) -> list[int]:
    """Characters of each column; the last one of a group makes room for the group's name."""
    widths: list[int] = []
    for name, group in groupby(columns, key=lambda column: column.group):
        own = []
        for column in group:
            texts = [_text(row.get(column, NO_RUN), star) for row in block.rows.values()]
            own.append(max(len(text) for text in [column.heading + " " * len(star), *texts]))
        own[-1] += max(0, len(f" {name} ") - span(own))
        widths += own
    return widths


def span(widths: Sequence[int]) -> int:
    """Characters of columns with the gaps between them."""
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _fitting(block: Block, width: int | None, label: int, star: str) -> Iterator[Sequence[Column]]:
    """Cut the columns to the width: all at once, else group by group, else as many as fit."""

    def fits(columns: Sequence[Column]) -> bool:
        return width is None or span([label, *_widths(block, columns, star)]) <= width

    if fits(block.columns):
        yield block.columns
        return
    for _, group in groupby(block.columns, key=lambda column: column.group):
        piece: list[Column] = []
        for column in group:
            if piece and not fits([*piece, column]):
                yield piece
                piece = []
            piece.append(column)
        yield piece


def _piece(stub: str, block: Block, columns: Sequence[Column], label: int, star: str) -> str:
    """Some columns of a block: the groups over their headings, then a line for each row."""
    placed = list(zip(columns, _widths(block, columns, star), strict=True))
    groups = []
    for name, group in groupby(placed, key=lambda place: place[0].group):
        groups.append(f" {name} ".center(span([width for _, width in group]), "─"))
    headings = [(column.heading + " " * len(star)).rjust(width) for column, width in placed]
    lines = [
        *([GAP.join([" " * label, *groups])] if any(column.group for column in columns) else []),
        GAP.join([stub.ljust(label), *headings]),
        "─" * span([label, *(width for _, width in placed)]),
    ]
    for row, of_row in block.rows.items():
        cells = []
        for column, width in placed:
            cell = of_row.get(column, NO_RUN)
            text = _text(cell, star).rjust(width)
            cells.append(BOLD.format(text) if cell.best and not star else text)
        lines.append(GAP.join([row.ljust(label), *cells]))
    return "\n".join(line.rstrip() for line in lines)
