"""What a table is, free of any format, and the registry of the kinds of table.

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


TABLES = Registry("table", "noisybench.reporting.layout", TableInfo)

NO_RUNS = (
    "There are no runs to report. `noisybench sweep demo` makes some, `noisybench train` makes one;"
    " if --where was given, it may leave none."
)


class Column(NamedTuple):
    """What stands over a column, and over the group of columns that it belongs to, if any."""

    group: str
    heading: str


@dataclass(frozen=True)
class Cell:
    """What a cell says, whether it is among the best two, and the ids of the runs behind it."""

    text: str = "–"
    best: bool = False
    runs: tuple[str, ...] = ()


NO_RUN = Cell()


@dataclass(frozen=True)
class Block:
    """The runs of one data set and one setting.  rows: by label, with a cell where there is a run."""

    title: str
    columns: Sequence[Column]
    rows: Mapping[str, Mapping[Column, Cell]]


@dataclass(frozen=True)
class Table:
    """A table, ready for any format.

    columns: those of all blocks together.  notes: what is to be said below.  cells: the same in
    numbers, one row per cell.  stub: what the rows are.  best_of: among what the best two are marked.
    """

    name: str
    caption: str
    columns: Sequence[Column]
    blocks: Sequence[Block]
    notes: Sequence[str]
    cells: "DataFrame"
    stub: str
    best_of: str = ""

    @property
    def marks_best(self) -> str:
        """What the marked cells are, as the beginning of a sentence; empty if none is marked."""
        cells = (cell for block in self.blocks for row in block.rows.values() for cell in row.values())
        return f"Best two of a {self.best_of}, with ties," if any(cell.best for cell in cells) else ""
