"""A table as plain text, cut to the width of a terminal."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from noisybench.reporting.tables import Block, Cell, Column, Table

GAP = "  "
BOLD = "\033[1m{}\033[0m"


def render(table: Table, width: int | None) -> str:
    """Caption, blocks and notes.

    width: characters of the terminal, to which blocks are cut and in which the best are bold.  None
    where there is no terminal: lines are as long as they are, and the best have a star.
    """
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


def _fill(text: str, width: int | None) -> str:
    """Text in lines of the terminal's width; one line where there is no terminal."""
    return textwrap.fill(text, width, break_on_hyphens=False) if width else text


def _text(cell: Cell, star: str) -> str:
    """The text of a cell; those without the star leave its place blank, so that digits stay aligned."""
    return cell.text + (star if cell.best else " " * len(star))


def _label_widths(table: Table, blocks: Sequence[Block]) -> list[int]:
    rows = [table.stub, *(row.labels for block in blocks for row in block.rows)]
    return [max(map(len, texts)) for texts in zip(*rows, strict=True)]


def _widths(columns: Sequence[Column], blocks: Sequence[Block], star: str) -> dict[Column, int]:
    """Characters of each column."""
    return {
        column: max(
            len(column.heading) + len(star),
            *(len(_text(row.cell(column), star)) for block in blocks for row in block.rows),
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
            text = _text(cell, star).rjust(width)
            cells.append(BOLD.format(text) if cell.best and not star else text)
        lines.append(GAP.join([*_left(row.labels, labels), *cells]))
    return "\n".join(line.rstrip() for line in lines)


def _left(texts: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [text.ljust(width) for text, width in zip(texts, widths, strict=True)]
