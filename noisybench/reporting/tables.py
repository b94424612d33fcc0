"""What a table is, in no particular format, and the registry of the kinds of table.

A kind is one decorated function from runs to a `Table`; its name is the value of ``--table``, the
first line of its docstring its help.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from noisybench.registry import Registry

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class TableInfo:
    """measure: the column of `runs` that the cells are made of."""

    measure: str


TABLES = Registry("table", "noisybench.reporting.paper_tables", TableInfo)

NO_RUNS = (
    "There are no runs to report. `noisybench sweep demo` makes some, `noisybench train` makes one;"
    " if --where was given, it may leave none."
)


class Column(NamedTuple):
    """The heading of a column, and of the group of columns that it belongs to, if any."""

    group: str
    heading: str


@dataclass(frozen=True)
class Cell:
    """The text of a cell, whether it is among the best two, and the ids of the runs behind it."""

    text: str = "–"
    best: bool = False
    runs: tuple[str, ...] = ()


NO_RUN = Cell()


@dataclass(frozen=True)
class Row:
    """A row of a table.  labels: what it is about.  cells: by column, where there is a run."""

    labels: tuple[str, ...]
    cells: Mapping[Column, Cell]

    def cell(self, column: Column) -> Cell:
        """The cell in a column; NO_RUN where there is no run."""
        return self.cells.get(column, NO_RUN)


@dataclass(frozen=True)
class Block:
    """Rows under one title, such as the runs of one data set and one setting."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Row]

    @property
    def texts(self) -> list[list[str]]:
        """The texts of each row: its labels, then its cells."""
        return [[*row.labels, *(row.cell(column).text for column in self.columns)] for row in self.rows]


@dataclass(frozen=True)
class Table:
    """A table, ready for any format.

    stub: the headings of the labels of the rows.  columns: those of all blocks.  notes: sentences to stand
    below.  cells: the same in numbers, one record per cell or row.  best_of: among what the best two are
    marked; empty where nothing is marked.
    """

    name: str
    caption: str
    stub: Sequence[str]
    columns: Sequence[Column]
    blocks: Sequence[Block]
    notes: Sequence[str]
    cells: "DataFrame"
    best_of: str = ""

    @property
    def measure(self) -> str:
        """The column of `runs` that the cells are made of."""
        return str(self.cells["measure"].iloc[0]) if len(self.cells) else ""

    @property
    def settings(self) -> list[tuple[str, dict[str, Cell]]]:
        """The settings of all blocks, each with a title and the cell of each method."""
        return [
            (f"{block.title}; {' '.join(place).strip()}", cells)
            for block in self.blocks
            for place, cells in self.settings_of(block)
        ]

    def settings_of(self, block: Block) -> list[tuple[Column, dict[str, Cell]]]:
        """The settings of a block, in which methods compete for the best, each with the cell of each method.

        They are the columns or the rows, by `best_of`; a table without marks has none.
        """
        if self.best_of == "column":
            return [
                (column, {row.labels[0]: row.cells[column] for row in block.rows if column in row.cells})
                for column in block.columns
            ]
        if self.best_of == "row":
            return [
                (Column("", row.labels[0]), {column.heading: cell for column, cell in row.cells.items()})
                for row in block.rows
            ]
        return []

    @property
    def marks_best(self) -> str:
        """What the marked cells are, as the beginning of a sentence; empty if none is marked."""
        cells = (cell for block in self.blocks for row in block.rows for cell in row.cells.values())
        return f"Best two of a {self.best_of}, with ties," if any(cell.best for cell in cells) else ""


def list_table(
    name: str,
    caption: str,
    stub: Sequence[str],
    headings: Sequence[str],
    sections: Sequence[tuple[str, Sequence[Sequence[str]]]],
    notes: Sequence[str],
    cells: "DataFrame",
) -> Table:
    """A table of texts without groups of columns.

    sections: titles with their rows, each row a text for every heading of the stub, then for the others.
    """
    columns = [Column("", heading) for heading in headings]
    blocks = [
        Block(
            title,
            columns,
            [
                Row(
                    tuple(row[: len(stub)]),
                    {column: Cell(text) for column, text in zip(columns, row[len(stub) :], strict=True)},
                )
                for row in rows
            ],
        )
        for title, rows in sections
    ]
    return Table(name, caption, stub, columns, blocks, notes, cells)
