"""The kinds of table: which numbers they show, and what is a row, a column and a block of them."""

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from noisybench.reporting import cells as said
from noisybench.reporting.cells import Record
from noisybench.reporting.statistics import SCHEDULE, SETTINGS, as_records, rank, summarise
from noisybench.reporting.tables import NO_RUNS, TABLES, Block, Cell, Column, Table

if TYPE_CHECKING:
    from pandas import DataFrame

# What a run learns from.  The other settings are how: in the open-set table, methods have their own.
DATA = ("draws", "labels", "keep", "train_size", "validation")
METHOD = tuple(name for name in SETTINGS if name not in DATA)

Rows = dict[str, dict[Column, Cell]]


# What a table may show, in words.
MEASURES = {
    "test_accuracy": "Test accuracy in percent at the epoch of highest noisy-validation accuracy",
    "last_test_accuracy": "Test accuracy in percent at the last epoch",
}


@TABLES.register("closed-set", measure="test_accuracy")
def closed_set(runs: "DataFrame") -> Table:
    """Table 1 of the paper: test accuracy at the epoch of highest noisy-validation accuracy."""
    cells = summarise(runs, "test_accuracy")
    usual = said.usual_n(cells)
    columns = [noise_column(place) for place in _noises(cells)]
    blocks = []
    for dataset, group in groupby(as_records(cells), key=itemgetter("dataset")):
        of_dataset = list(group)
        differing = said.differing(of_dataset, SETTINGS)
        for _, of_block in groupby(of_dataset, key=itemgetter(*SETTINGS)):
            records = list(of_block)
            rows = _losses_by_noise(records, usual)
            used = [column for column in columns if any(column in row for row in rows.values())]
            blocks.append(Block(said.title(dataset, records[0], differing), used, rows))
    return Table(
        name="closed-set",
        caption=f"{MEASURES['test_accuracy']}{said.over_seeds(cells)}." if blocks else NO_RUNS,
        columns=columns,
        blocks=blocks,
        notes=[*said.notes(runs), *said.idle_prunings(runs)],
        cells=cells,
        stub="loss",
        best_of="column",
    )


def _noises(cells: "DataFrame") -> Sequence[Record]:
    """The noises and rates of all cells, in the order of a report."""
    return as_records(cells[["noise", "rate"]].drop_duplicates().sort_values(["noise", "rate"], key=rank))


def noise_column(place: Record) -> Column:
    """The column of a noise and its rate."""
    return Column(place["noise"], f"η = {said.number(place['rate'])}")


def noise_label(place: Record) -> str:
    """A noise and its rate in a line."""
    return f"{place['noise']}, η = {said.number(place['rate'])}"


def _losses_by_noise(records: Sequence[Record], usual: int) -> Rows:
    """The cells of a block of closed_set: methods as rows, noises as columns."""
    of_column: dict[Column, list[Record]] = {}
    for record in records:
        of_column.setdefault(noise_column(record), []).append(record)
    cells = {
        id(record): cell
        for column in of_column.values()
        for record, cell in zip(column, said.competitors(column, usual), strict=True)
    }
    names = _names(records, ())
    rows: Rows = {}
    for record in records:
        rows.setdefault(names[_variant(record, ())], {})[noise_column(record)] = cells[id(record)]
    return rows


@TABLES.register("open-set", measure="last_test_accuracy")
def open_set(runs: "DataFrame") -> Table:
    """Table 2 of the paper: test accuracy at the last epoch, with a column for each method."""
    order = ["dataset", *DATA, "loss", *METHOD, *SCHEDULE, "noise", "rate"]
    cells = summarise(runs, "last_test_accuracy").sort_values(order, key=rank, ignore_index=True)
    usual = said.usual_n(cells)
    noises = [noise_label(place) for place in _noises(cells)]
    blocks, own_settings = [], []
    for dataset, group in groupby(as_records(cells), key=itemgetter("dataset")):
        of_dataset = list(group)
        differing = said.differing(of_dataset, DATA)
        for _, of_block in groupby(of_dataset, key=itemgetter(*DATA)):
            records = list(of_block)
            common = _common(records)
            title = said.title(dataset, common, differing)
            rows = _noises_by_method(records, usual)
            columns = list(dict.fromkeys(Column("", name) for name in _names(records, METHOD).values()))
            blocks.append(Block(title, columns, {row: rows[row] for row in noises if row in rows}))
            own_settings += [(title, note) for note in _own_settings(records, common)]
    several = len(blocks) > 1
    return Table(
        name="open-set",
        caption=(f"{MEASURES['last_test_accuracy']}{said.over_seeds(cells)}." if blocks else NO_RUNS),
        columns=list(dict.fromkeys(column for block in blocks for column in block.columns)),
        blocks=blocks,
        notes=[
            *(f"In the table of {title}: {note}" if several else note for title, note in own_settings),
            *said.notes(runs),
        ],
        cells=cells,
        stub="noise",
        best_of="row",
    )


def _noises_by_method(records: Sequence[Record], usual: int) -> Rows:
    """The cells of a block of open_set: noises as rows, methods as columns."""
    names = _names(records, METHOD)
    of_row: dict[str, list[Record]] = {}
    for record in records:
        of_row.setdefault(noise_label(record), []).append(record)
    return {
        row: {
            Column("", names[_variant(record, METHOD)]): cell
            for record, cell in zip(competing, said.competitors(competing, usual), strict=True)
        }
        for row, competing in of_row.items()
    }


def _variant(record: Record, settings: Sequence[str]) -> tuple[Any, ...]:
    """What makes a method of a block: its loss, when it prunes, and those `settings`."""
    return tuple(record[name] for name in ("loss", *SCHEDULE, *settings))


def _names(records: Sequence[Record], settings: Sequence[str]) -> dict[tuple[Any, ...], str]:
    """The names of a block's methods: the loss and, where it has several variants, what is its own."""
    names = {}
    for record in records:
        siblings = [other for other in records if other["loss"] == record["loss"]]
        own = [said.setting(name, record) for name in said.differing(siblings, settings)]
        differing = said.differing(siblings, SCHEDULE)
        if "code" in differing:
            own.append(record["code"])
        if {"prune_from", "prune_every"} & set(differing):
            own.append(said.pruned(record))
        names[_variant(record, settings)] = ", ".join([record["loss"], *own])
    return names


def _common(records: Sequence[Record]) -> Record:
    """The settings that most methods of a block have, each by itself; of ties, the first."""
    methods = {_variant(record, METHOD): record for record in records}.values()
    most = {name: Counter(m[name] for m in methods).most_common(1)[0][0] for name in METHOD}
    return {**records[0], **most}


def _own_settings(records: Sequence[Record], common: Record) -> list[str]:
    """What methods have that neither the title of their block nor their names say, a sentence for each."""
    sentences = []
    for loss, group in groupby(records, key=itemgetter("loss")):
        methods = list(group)
        told = said.differing(methods, METHOD)
        own = [
            said.setting(name, methods[0])
            for name in METHOD
            if name not in told and methods[0][name] != common[name]
        ]
        if own:
            sentences.append(f"{loss} has settings of its own: {', '.join(own)}.")
    return sentences
