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
    marked = (
        f" Best two of a column, with ties, {'marked *' if star else 'in bold'}." if table.marks_best else ""
    )
    parts = [fill(table.caption + marked, width)]
    for block in table.blocks:
        pieces = [_piece(block, columns, star) for columns in _fitting(block, width, star)]
        parts.append("\n\n".join([fill(block.title, width), *pieces]))
    return "\n\n".join([*parts, *(fill(note, width) for note in table.notes)])


def fill(text: str, width: int | None) -> str:
    """Text in lines of the terminal's width; one line where there is no terminal."""
    return textwrap.fill(text, width, break_on_hyphens=False) if width else text


def _text(cell: Cell, star: str) -> str:
    """What a cell says; those without the star leave its place blank, so that digits stay aligned."""
    return cell.text + (star if cell.best else " " * len(star))


def _label_width(block: Block) -> int:
    return max(len(loss) for loss in ("loss", *block.rows))


def _widths(block: Block, columns: Sequence[Column], star: str) -> list[int]:
    """Characters of each column; the last one of a noise makes room for the noise's name."""
    widths: list[int] = []
    for noise, group in groupby(columns, key=lambda column: column.noise):
        own = []
        for column in group:
            texts = [_text(row.get(column, NO_RUN), star) for row in block.rows.values()]
            own.append(max(len(text) for text in [column.heading + " " * len(star), *texts]))
        own[-1] += max(0, len(f" {noise} ") - span(own))
        widths += own
    return widths


def span(widths: Sequence[int]) -> int:
    """Characters of columns with the gaps between them."""
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _fitting(block: Block, width: int | None, star: str) -> Iterator[Sequence[Column]]:
    """Cut the columns to the width: all at once, else noise by noise, else as many rates as fit."""

    def fits(columns: Sequence[Column]) -> bool:
        return width is None or span([_label_width(block), *_widths(block, columns, star)]) <= width

    if fits(block.columns):
        yield block.columns
        return
    for _, group in groupby(block.columns, key=lambda column: column.noise):
        piece: list[Column] = []
        for column in group:
            if piece and not fits([*piece, column]):
                yield piece
                piece = []
            piece.append(column)
        yield piece


def _piece(block: Block, columns: Sequence[Column], star: str) -> str:
    """Some columns of a block: the noises over their rates, then a line for each loss."""
    label, widths = _label_width(block), _widths(block, columns, star)
    placed = list(zip(columns, widths, strict=True))
    noises = []
    for noise, group in groupby(placed, key=lambda place: place[0].noise):
        noises.append(f" {noise} ".center(span([width for _, width in group]), "─"))
    headings = [(column.heading + " " * len(star)).rjust(width) for column, width in placed]
    lines = [
        GAP.join([" " * label, *noises]),
        GAP.join(["loss".ljust(label), *headings]),
        "─" * span([label, *widths]),
    ]
    for loss, row in block.rows.items():
        cells = []
        for column, width in placed:
            cell = row.get(column, NO_RUN)
            text = _text(cell, star).rjust(width)
            cells.append(BOLD.format(text) if cell.best and not star else text)
        lines.append(GAP.join([loss.ljust(label), *cells]))
    return "\n".join(line.rstrip() for line in lines)
