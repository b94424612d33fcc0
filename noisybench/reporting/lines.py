"""A report of lines: rows of text under one heading, in sections, free of any format.

`tables.Table` puts losses against noises, a number in each place.  What needs a line for each place,
with several things said of it, is `Lines`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Section:
    """Rows of one kind, such as those of one data set.  rows: a text for each heading."""

    title: str
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Lines:
    """A report of lines, ready for any format.

    headings: those of all sections.  labels: how many of the leading columns say what a row is about;
    they are set to the left, and repeated where a terminal is too narrow for all columns.
    notes: what is to be said below.  cells: the same in numbers, one record each.
    """

    name: str
    caption: str
    headings: Sequence[str]
    labels: int
    sections: Sequence[Section]
    notes: Sequence[str]
    cells: "DataFrame"
