"""The kinds of table, and their layout, free of any format.

A kind is one decorated function from runs to a `Table`; its name is the value of ``--table``, the
first line of its docstring its help.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from noisybench.config import Config
from noisybench.errors import UnknownName
from noisybench.registry import Registry
from noisybench.reporting.statistics import SCHEDULE, SETTINGS, UNFINISHED, as_records, rank, summarise
from noisybench.reporting.wording import listing

if TYPE_CHECKING:
    from pandas import DataFrame

Record = Mapping[str, Any]

TABLES = Registry("table", "noisybench.reporting.tables")

NO_RUNS = (
    "There are no runs to report. `noisybench sweep demo` makes some, `noisybench train` makes one;"
    " if --where was given, it may leave none."
)

# Means that agree to this many decimals of a percent are tied: what is left is rounding error.
TIED = 9


class Column(NamedTuple):
    """Where a column stands: a noise, and its rate as a fraction from 0 to 1."""

    noise: str
    rate: float

    @property
    def heading(self) -> str:
        return f"η = {self.rate:g}"


@dataclass(frozen=True)
class Cell:
    """What a cell says, and whether it is among the best two of its column."""

    text: str = "–"
    best: bool = False


NO_RUN = Cell()


@dataclass(frozen=True)
class Block:
    """The runs of one data set and one setting.  rows: by loss, with a cell where there is a run."""

    title: str
    columns: Sequence[Column]
    rows: Mapping[str, Mapping[Column, Cell]]


@dataclass(frozen=True)
class Table:
    """A table, ready for any format.

    columns: those of all blocks together.  notes: what is to be said below.  cells: the same in
    numbers, as `statistics.summarise` returns them.
    """

    name: str
    caption: str
    columns: Sequence[Column]
    blocks: Sequence[Block]
    notes: Sequence[str]
    cells: "DataFrame"

    @property
    def marks_best(self) -> bool:
        return any(cell.best for block in self.blocks for row in block.rows.values() for cell in row.values())


@TABLES.register("closed-set")
def closed_set(runs: "DataFrame") -> Table:
    """Table 1 of the paper: test accuracy at the epoch of highest noisy-validation accuracy."""
    what = "Test accuracy in percent at the epoch of highest noisy-validation accuracy"
    return _lay_out("closed-set", runs, "test_accuracy", what)


def _lay_out(name: str, runs: "DataFrame", measure: str, what: str) -> Table:
    """One block per data set and setting; losses as rows, noise and rate as columns."""
    cells = summarise(runs, measure)
    usual_n = _most_common(cells)
    columns = _columns(cells)
    blocks = []
    for dataset, group in groupby(as_records(cells), key=itemgetter("dataset")):
        of_dataset = list(group)
        differing = [s for s in SETTINGS if len({record[s] for record in of_dataset}) > 1]
        for _, of_block in groupby(of_dataset, key=itemgetter(*SETTINGS)):
            records = list(of_block)
            rows = _rows(records, usual_n)
            used = [column for column in columns if any(column in row for row in rows.values())]
            blocks.append(Block(title_of(dataset, records[0], differing), used, rows))
    return Table(
        name=name,
        caption=f"{what}{_over_seeds(cells, usual_n)}." if blocks else NO_RUNS,
        columns=columns,
        blocks=blocks,
        notes=_notes(runs),
        cells=cells,
    )


def _most_common(cells: "DataFrame") -> int:
    """The number of seeds that most cells have, the larger one on ties; 0 if there is none."""
    counts = cells["n"][cells["n"] > 0].mode()
    return int(counts.max()) if len(counts) else 0


def _over_seeds(cells: "DataFrame", usual_n: int) -> str:
    """What the numbers are, as the rest of the caption."""
    if usual_n == 0:
        return "; no run has completed"
    if cells["n"].max() == 1:
        return "; one seed (n = 1), so no standard deviation"
    exceptions = "" if cells["n"].isin([0, usual_n]).all() else " unless a cell says otherwise"
    return f"; mean ± sample standard deviation (n−1) over seeds, n = {usual_n}{exceptions}"


def _columns(cells: "DataFrame") -> list[Column]:
    places = cells[["noise", "rate"]].drop_duplicates().sort_values(["noise", "rate"], key=rank)
    return [Column(*place) for place in places.itertuples(index=False)]


def title_of(dataset: str, settings: Record, differing: Sequence[str]) -> str:
    """The data set, model, epochs and images (with those that validate); of the other settings, those
    that tell blocks apart or are not what the data set's protocol says.

    The latter are written as --where takes them.
    """
    images = f"{settings['train_size']:,}" if settings["train_size"] else "all"
    title = f"{dataset}: {settings['model']}, {settings['epochs']} epochs, {images} images"
    said = ("model", "epochs", "train_size")
    try:
        usual = Config.create(dataset=dataset, **{name: settings[name] for name in said}).row()
    except UnknownName:
        # The store may come from a noisybench that knows more.
        usual = dict(settings)
    others = [
        name
        for name in SETTINGS
        if name not in said and settings[name] and (name in differing or settings[name] != usual[name])
    ]
    return "; ".join([title, *(f"{name}={_value(settings[name])}" for name in others)])


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _rows(records: Sequence[Record], usual_n: int) -> dict[str, dict[Column, Cell]]:
    """The cells of a block, by method and column."""
    of_column: dict[Column, list[Record]] = {}
    for record in records:
        of_column.setdefault(_column(record), []).append(record)
    best = [record for column in of_column.values() for record in _best(column)]
    schedules = {(record["loss"], *(record[s] for s in SCHEDULE)) for record in records}
    several = {loss for loss, *_ in schedules if [other for other, *_ in schedules].count(loss) > 1}
    rows: dict[str, dict[Column, Cell]] = {}
    for record in records:
        method = record["loss"]
        if method in several:
            method += f", pruned from {record['prune_from']} every {record['prune_every']}"
        cell = Cell(_text(record, usual_n), any(record is other for other in best))
        rows.setdefault(method, {})[_column(record)] = cell
    return rows


def _column(record: Record) -> Column:
    return Column(record["noise"], record["rate"])


def _best(column: Sequence[Record]) -> list[Record]:
    """The best two of a column, and what ties with the second; of two methods, none.

    A mean over fewer seeds than others have does not compete: it would win by luck more often.
    """
    most = max(record["n"] for record in column)
    competing = [record for record in column if record["n"] == most > 0]
    if len(competing) < 3:
        return []
    means = {id(record): round(record["mean"], TIED) for record in competing}
    second = sorted(means.values())[-2]
    return [record for record in competing if means[id(record)] >= second]


def _text(record: Record, usual_n: int) -> str:
    """Mean and, of more than one seed, ± std; n where it is not the usual one; else what went wrong."""
    n = record["n"]
    if n == 0:
        return next(status for status in UNFINISHED if record[status])
    spread = f" ± {record['std']:.2f}" if n > 1 else ""
    unusual = f" (n={n})" if n != usual_n else ""
    return f"{record['mean']:.2f}{spread}{unusual}"


def _notes(runs: "DataFrame") -> list[str]:
    """What the numbers alone do not tell: which runs are in no average, whose pruning came to nothing,
    and which were not the first of their kind."""
    unfinished = [
        f"{len(ids)} {status} ({listing(ids)})"
        for status in UNFINISHED
        if (ids := sorted(runs["id"][runs["status"].eq(status)]))
    ]
    notes = [f"Not in the averages: {', '.join(unfinished)}."] if unfinished else []
    completed = runs[runs["status"].eq("completed")]
    pruning = completed[completed["prune_from"].notna()]
    for loss, group in pruning.groupby("loss"):
        early = int((group["best_epoch"] <= group["prune_from"]).sum())
        if early:
            notes.append(
                f"{early} of {len(group)} runs of {loss} were best before their first pruning: those"
                " accuracies are of networks that no pruning has touched."
            )
    again = completed["id"][completed["attempt"] > 1]
    if len(again):
        notes.append(f"Trained more than once, with --force: {listing(sorted(again))}.")
    return notes
