"""The kinds of table: which numbers they show, and what is a row, a column and a block of them."""

from collections import Counter
from collections.abc import Hashable, Sequence
from functools import cache
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

from noisybench.errors import InputError
from noisybench.labels.noise import noise_of
from noisybench.registry import METHODS, NOISES
from noisybench.reporting import formatting
from noisybench.reporting.formatting import Record
from noisybench.reporting.selection import stem
from noisybench.reporting.statistics import (
    DATA,
    METHOD,
    ORDER,
    SCHEDULE,
    SETTINGS,
    as_records,
    rank,
    summarise,
)
from noisybench.reporting.tables import NO_RUNS, TABLES, Block, Cell, Column, Row, Table

if TYPE_CHECKING:
    from pandas import DataFrame

FILES = "labels from a file"
FILES_NOTE = "Labels from a file: in brackets the measured rate, the share of labels known to be wrong."

# What a table may show, in words.
MEASURES = {
    "test_accuracy": "Test accuracy in percent at the epoch of highest noisy-validation accuracy",
    "last_test_accuracy": "Test accuracy in percent at the last epoch",
}


@TABLES.register("closed-set", measure="test_accuracy")
def closed_set(runs: "DataFrame") -> Table:
    """Table 1 of the paper: test accuracy at the epoch of highest noisy-validation accuracy."""
    cells = summarise(runs, "test_accuracy")
    usual = formatting.usual_n(cells)
    shown = _with_sources(cells)
    columns = list(dict.fromkeys(map(noise_column, _noises(shown, "source"))))
    of_block = [list(own) for _, own in groupby(as_records(shown), key=itemgetter("dataset", *SETTINGS))]
    titles = formatting.titles([records[0] for records in of_block], SETTINGS)
    blocks = []
    for title, records in zip(titles, of_block, strict=True):
        noises = list(map(noise_column, records))
        rows = _rows(records, usual, rows=_names(records, ()), columns=noises, competing=noises)
        used = [column for column in columns if any(column in row for row in rows.values())]
        blocks.append(Block(title, used, [Row((name,), row) for name, row in rows.items()]))
    return Table(
        name="closed-set",
        caption=_caption(cells, "test_accuracy"),
        columns=columns,
        blocks=blocks,
        notes=[
            *formatting.marking(cells, "column"),
            *formatting.notes(runs),
            *formatting.idle_prunings(runs),
            *([FILES_NOTE] if any(column.group == FILES for column in columns) else []),
        ],
        cells=cells,
        stub=["loss"],
        best_of="column",
    )


def _with_sources(cells: "DataFrame") -> "DataFrame":
    """The cells with a `source`: what tells labels that a file gives from others of their name; else empty.

    Labels of a file are no setting of a block then, but a column, as those of a noise.
    """
    is_file = cells["noise"].map(_label_key).notna()
    source = cells["labels"].where(is_file, "")
    # The hash of the labels is shown only where two files have labels of one name and rate.
    same = source.groupby([cells["dataset"], cells["noise"], cells["rate"]]).transform("nunique")
    return cells.assign(
        source=source.str[:8].where(same > 1, ""), labels=cells["labels"].mask(is_file, "")
    ).sort_values([*ORDER], key=rank)


@cache
def _label_key(noise: str) -> str | None:
    """The key of the labels that a file gives, which may be empty; None for other noises."""
    try:
        bound = NOISES.bind(noise)
    except InputError:
        # The store may come from a noisybench that knows more.
        return None
    return str(bound.arguments["key"]) if noise_of(bound).from_file else None


def _noises(cells: "DataFrame", *more: str) -> Sequence[Record]:
    """The noises and rates of all cells, in the order of a report."""
    places = cells[["noise", "rate", *more]].drop_duplicates()
    return as_records(places.sort_values(["noise", "rate"], key=rank))


def noise_column(place: Record) -> Column:
    """The column of a noise and its rate; of labels from a file, that of their key and measured rate."""
    key = _label_key(place["noise"])
    if key is not None:
        # Without true labels none is known to be wrong.
        rate = f"{100 * place['rate']:.2f} %" if place["rate"] else "rate unknown"
        return Column(FILES, f"{key or 'labels'} ({', '.join(filter(None, (rate, place['source'])))})")
    return Column(place["noise"], f"η = {formatting.number(place['rate'])}")


@TABLES.register("open-set", measure="last_test_accuracy")
def open_set(runs: "DataFrame") -> Table:
    """Table 2 of the paper: test accuracy at the last epoch, with a column for each method."""
    order = ["dataset", *DATA, "loss", *METHOD, *SCHEDULE, "noise", "rate"]
    cells = summarise(runs, "last_test_accuracy").sort_values(order, key=rank, ignore_index=True)
    usual = formatting.usual_n(cells)
    of_block = [list(own) for _, own in groupby(as_records(cells), key=itemgetter("dataset", *DATA))]
    of_most = list(map(_common, of_block))
    titles = formatting.titles(of_most, DATA)
    blocks, notes = [], []
    for title, records, common in zip(titles, of_block, of_most, strict=True):
        columns = [Column("", name) for name in _names(records, METHOD)]
        noises = list(map(formatting.noise_label, records))
        rows = _rows(records, usual, rows=noises, columns=columns, competing=noises)
        in_order = dict.fromkeys(map(formatting.noise_label, _noises(cells)))
        ordered = [Row((noise,), rows[noise]) for noise in in_order if noise in rows]
        blocks.append(Block(title, list(dict.fromkeys(columns)), ordered))
        where = f"In the table of {title}: " if len(of_block) > 1 else ""
        notes += [f"{where}{note}" for note in _own_settings(records, common)]
    return Table(
        name="open-set",
        caption=_caption(cells, "last_test_accuracy"),
        columns=list(dict.fromkeys(column for block in blocks for column in block.columns)),
        blocks=blocks,
        notes=[*notes, *formatting.marking(cells, "row"), *formatting.notes(runs)],
        cells=cells,
        stub=["noise"],
        best_of="row",
    )


def _caption(cells: "DataFrame", measure: str) -> str:
    return NO_RUNS if cells.empty else f"{MEASURES[measure]}{formatting.over_seeds(cells)}."


def _rows(
    records: Sequence[Record],
    usual: int,
    *,
    rows: Sequence[str],
    columns: Sequence[Column],
    competing: Sequence[Hashable],
) -> dict[str, dict[Column, Cell]]:
    """The cells of a block, by row and column.

    rows, columns: of each record, where its cell stands.  competing: records of the same value compete with
    each other, see `formatting.best`.  usual: see `formatting.text`.
    """
    groups: dict[Hashable, list[Record]] = {}
    for record, group in zip(records, competing, strict=True):
        groups.setdefault(group, []).append(record)
    best = {id(record) for group in groups.values() for record in formatting.best(group)}
    placed: dict[str, dict[Column, Cell]] = {}
    for record, row, column in zip(records, rows, columns, strict=True):
        cell = Cell(formatting.text(record, usual), id(record) in best, tuple(record["runs"].split()))
        placed.setdefault(row, {})[column] = cell
    return placed


def _names(records: Sequence[Record], settings: Sequence[str]) -> list[str]:
    """The method of each record of a block: its loss and, where the loss has several variants, what is its
    own of the `settings` and of its schedule."""
    protocols = _protocols(records, settings)
    names = []
    for record in records:
        protocol = protocols.get(id(record))
        siblings = [
            other
            for other in records
            if other["loss"] == record["loss"] and protocols.get(id(other)) == protocol
        ]
        own = [f"protocol of {protocol}"] if protocol else []
        own += [formatting.setting(name, record) for name in formatting.differing(siblings, settings)]
        differing = formatting.differing(siblings, SCHEDULE)
        if "code" in differing:
            own.append(record["code"])
        if "revision" in differing:
            own.append(f"revision {record['revision']}")
        if {"prune_from", "prune_every"} & set(differing):
            own.append(formatting.pruned(record))
        names.append(", ".join([record["loss"], *own]))
    return names


def _protocols(records: Sequence[Record], settings: Sequence[str]) -> dict[int, str]:
    """By the id of a record, the method of the block that has a protocol of its own, whose `settings` the
    record shares, where the record's loss was trained under other settings too."""
    own = {entry.name for entry in METHODS if getattr(entry.definition, "protocol", None)}
    of_settings = {
        tuple(record[name] for name in settings): stem(record["loss"])
        for record in records
        if settings and stem(record["loss"]) in own
    }
    return {
        id(record): name
        for record in records
        if (name := of_settings.get(tuple(record[each] for each in settings)))
        and name != stem(record["loss"])
        and formatting.differing([r for r in records if r["loss"] == record["loss"]], settings)
    }


def _common(records: Sequence[Record]) -> Record:
    """The settings that most methods of a block have, each by itself; of ties, the first."""
    methods = {itemgetter("loss", *SCHEDULE, *METHOD)(record): record for record in records}.values()
    most = {name: Counter(m[name] for m in methods).most_common(1)[0][0] for name in METHOD}
    return {**records[0], **most}


def _own_settings(records: Sequence[Record], common: Record) -> list[str]:
    """What methods have that neither the title of their block nor their names say, a sentence for each."""
    protocols = _protocols(records, METHOD)
    sentences = [
        f"Under the protocol of {name}, a method has the settings of {name}; what is part of {name} itself,"
        " such as its input and its penalties, it has not."
        for name in sorted(set(protocols.values()))
    ]
    for loss, group in groupby(records, key=itemgetter("loss")):
        methods = [record for record in group if id(record) not in protocols]
        told = formatting.differing(methods, METHOD)
        own = [
            formatting.setting(name, methods[0])
            for name in METHOD
            if name not in told and methods[0][name] != common[name]
        ]
        if own:
            sentences.append(f"{loss} has settings of its own: {', '.join(own)}.")
    return sentences
