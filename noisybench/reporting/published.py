"""Published numbers, and our runs beside them: the difference, and whether they agree.

A source is one line of SOURCES, and each of its tables a CSV file in the folder `published`: data set, loss,
noise and rate as the columns of a run; mean and std in percent; n, the runs that were averaged; origin, who
measured.  std and n are empty where they were not published.

Runs with other settings than the published ones are no reproduction: their difference is shown with the
settings that differ, and is not tested.
"""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import combinations, groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from noisybench.config import Config
from noisybench.errors import InvalidValue, UnknownName, join_limited
from noisybench.methods import method_of
from noisybench.registry import DATASETS, METHODS, NOISES, Registry
from noisybench.reporting import formatting
from noisybench.reporting.formatting import Record
from noisybench.reporting.selection import stem
from noisybench.reporting.significance import ALPHA, Summary, chance_to_agree, tost_p, verdict, welch_p
from noisybench.reporting.statistics import DATA, ORDER, PLACE, SCHEDULE, SETTINGS, as_records, rank
from noisybench.reporting.tables import NO_RUN, Table, list_table

if TYPE_CHECKING:
    from pandas import DataFrame

# Data set, loss, noise and rate.
Place = tuple[str, str, str, float]

MARGIN = 1.0

STUB = ("loss", "noise", "η")
HEADINGS = ("published", "ours", "difference", "power", "verdict")

# What a run computes in unless its device rounds convolutions: see `training.device.precision`.
PRECISION = "fp32"

# The columns that a comparison adds to the cells of a table.
ADDED = (
    *("published_mean", "published_std", "published_n", "origin", "difference"),
    *("welch_p", "tost_p", "power", "margin", "verdict", "deviations"),
)

NO_REPRODUCTION = "no reproduction"
SEPARATOR = "; "
NO_SPREAD = "no test: no spread published"


class PublishedValue(NamedTuple):
    """A published mean in percent, its standard deviation and number of runs if known, and who says so."""

    mean: float
    std: float | None
    n: int | None
    origin: str


@dataclass(frozen=True)
class Source:
    """A table that was published.

    protocol: how its runs differ from the protocol of their data set, by fields of Config.
    notes: what must be known to read it.
    """

    title: str
    file: str
    protocol: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def config(self, dataset: str, loss: str) -> Config:
        """How the published runs of a loss were set up; a loss's own protocol stays, but for the length."""
        own = method_of(METHODS.bind(loss)).protocol.keys() - {"epochs"}
        usual = {name: value for name, value in self.protocol.items() if name not in own}
        return Config.create(dataset=dataset, loss=loss, **usual)

    def numbers(self) -> dict[Place, PublishedValue]:
        """The numbers by data set, loss, noise and rate, names in canonical form."""
        with (Path(__file__).parent / "published" / self.file).open(encoding="utf-8", newline="") as lines:
            return {
                (
                    _canonical(DATASETS, row["dataset"]),
                    _canonical(METHODS, row["loss"]),
                    _canonical(NOISES, row["noise"]),
                    float(row["rate"]),
                ): PublishedValue(
                    mean=float(row["mean"]),
                    std=float(row["std"]) if row["std"] else None,
                    n=int(row["n"]) if row["n"] else None,
                    origin=row["origin"],
                )
                for row in csv.DictReader(lines)
            }


def _canonical(registry: Registry[Any], name: str) -> str:
    """The name as runs have it; one that is not known here stays as it is."""
    try:
        return str(registry.bind(name))
    except UnknownName:
        return name


UNIFORM = (
    "The published uniform noise is read as uniform, as section 3.1 of the paper defines it; section 4.2"
    " can also be read as uniform-inclusive, which is compared with nothing here."
)

# By the name of --against, then by that of --table.
SOURCES: dict[str, dict[str, Source]] = {
    "paper": {
        "closed-set": Source("Table 1 of Zhang & Sabuncu 2018", "table1.csv", notes=(UNIFORM,)),
        "open-set": Source(
            "Table 2 of Zhang & Sabuncu 2018",
            "table2.csv",
            protocol={
                "model": "cnn6(width=64)",
                "epochs": 100,
                "milestones": (40, 80),
                "augment": "none",
                "draws": "exact",
                "prune_from": 10,
                "prune_every": 10,
            },
            notes=(
                UNIFORM,
                "The published row Forward is read as forward-that; it, cce and wang2018 are quoted there"
                " from Wang et al. 2018.",
                "What the paper does not say of this table, such as the optimiser and its learning rate, it"
                " took from Wang et al. 2018; runs are held against the protocol of the data set there.",
            ),
        ),
    },
}


def find_source(name: str, table: str) -> Source:
    """The published table to compare with.  Raises UnknownName."""
    if name not in SOURCES:
        raise UnknownName("published source", name, SOURCES)
    if table not in SOURCES[name]:
        raise UnknownName(f"table published by {name}", table, SOURCES[name])
    return SOURCES[name][table]


def compare_with_published(table: Table, runs: "DataFrame", name: str, margin: float = MARGIN) -> Table:
    """The cells of a table that were published too, each beside its published number.

    runs: those of the table.  name: whose numbers, a key of `published.SOURCES`.  margin: means that
    differ by less agree, in percentage points, above 0.  `cells` of what is returned has the table's
    columns and, in percentage points, the published numbers and the difference, the p-values, the
    verdict and the deviations.  Raises UnknownName or InvalidValue.
    """
    known = find_source(name, table.name)
    if not 0 < margin <= 100:
        raise InvalidValue(f"margin is {margin:g}, but must be above 0 and at most 100 percentage points.")
    cells = table.cells.sort_values([*ORDER], key=rank, ignore_index=True)
    values = known.numbers()
    published = [values.get(_place(record)) for record in as_records(cells)]
    matched = cells.iloc[[at for at, value in enumerate(published) if value]]
    compared = _compared(matched, [value for value in published if value], known, margin)
    usual = formatting.usual_n(table.cells)
    groups = [
        list(records) for _, records in groupby(as_records(compared), key=itemgetter("dataset", *SETTINGS))
    ]
    sections = [(_title(records), [_line(record, usual) for record in records]) for records in groups]
    # A method of Table 2 may have settings of its own.
    order = _order(
        as_records(compared), DATA if table.name == "open-set" else SETTINGS, formatting.ended_early(runs)
    )
    notes = [*order, *_notes(compared, known, margin), *_left_out(cells, published), *_rounded(runs)]
    return list_table(
        name=f"{table.name}-against-{name}",
        caption=_caption(table, known, bool(groups)),
        stub=STUB,
        headings=HEADINGS,
        sections=sections,
        notes=[
            *(note for records in groups for note in _deviating(records)),
            *(notes if groups else []),
            # Nothing is marked here.
            *(note for note in table.notes if note not in formatting.marking(table.cells, table.best_of)),
        ],
        cells=compared,
    )


def _place(record: Record) -> Place:
    """Where a published number of this cell would be; a data set's version is left out."""
    return stem(record["dataset"]), record["loss"], record["noise"], record["rate"]


def _compared(
    cells: "DataFrame", values: Sequence[PublishedValue], known: Source, margin: float
) -> "DataFrame":
    """The cells with what was published and how the two compare."""
    import pandas as pd

    comparisons = [
        _comparison(record, value, known, margin)
        for record, value in zip(as_records(cells), values, strict=True)
    ]
    added = pd.DataFrame(comparisons, index=cells.index, columns=ADDED).astype({"published_n": "Int64"})
    front = [*PLACE, "mean", "std", "n", *ADDED]
    return cells.join(added)[[*front, *(name for name in cells.columns if name not in front)]]


def _comparison(record: Record, value: PublishedValue, known: Source, margin: float) -> dict[str, Any]:
    """What was published of a cell and how the two compare, by the names in ADDED.

    The p-values, and `power`, the chance that equal means would have come out as agrees, are None where
    there is no test.
    """
    deviations = _deviations(record, known)
    welch = tost = power = None
    if deviations:
        words = NO_REPRODUCTION
    elif value.std is None or value.n is None:
        words = NO_SPREAD
    elif record["n"] < 2:
        words = NO_RUN.text
    else:
        ours = Summary(record["mean"], record["std"], record["n"])
        published = Summary(value.mean, value.std, value.n)
        welch, tost = welch_p(ours, published), tost_p(ours, published, margin)
        power, words = chance_to_agree(ours, published, margin), verdict(welch, tost)
    return {
        "published_mean": value.mean,
        "published_std": value.std,
        "published_n": value.n,
        "origin": value.origin,
        "difference": None if record["mean"] is None else record["mean"] - value.mean,
        "welch_p": welch,
        "tost_p": tost,
        "power": power,
        "margin": margin,
        "verdict": words,
        "deviations": SEPARATOR.join(deviations),
    }


def _deviations(record: Record, known: Source) -> list[str]:
    """The settings that are not those of the published runs: ``epochs=3 (protocol: 120)``."""
    dataset = stem(record["dataset"])
    try:
        usual = known.config(dataset, record["loss"]).row()
    except UnknownName:
        # The store may come from a noisybench that knows more; nothing is taken for granted then.
        return [f"settings that cannot be checked, as {record['loss']} is not known here"]
    return [
        f"{formatting.setting(name, record)} (protocol: {_usual(name, usual[name])})"
        for name in ("dataset", *SETTINGS, *SCHEDULE)
        # Which precision a run computed in is said in a note: the paper does not state its own.
        if name != "precision" and record[name] != usual[name]
    ]


def _usual(name: str, value: Any) -> str:
    """The value of a setting in words."""
    if value is None or value == "":
        return "all" if name == "train_size" else "none"
    return formatting.number(value) if isinstance(value, float) else str(value)


def _title(records: Sequence[Record]) -> str:
    """What stands over the lines of one data set and one setting."""
    title = formatting.title(records[0]["dataset"], records[0], ())
    deviating = list(dict.fromkeys(record["loss"] for record in records if record["deviations"]))
    if not deviating:
        return title
    only = all(record["deviations"] for record in records)
    return f"{title} – {NO_REPRODUCTION}" + ("" if only else f" by {', '.join(deviating)}")


def _deviating(records: Sequence[Record]) -> list[str]:
    """What makes the lines of a section no reproduction, once where it holds for all: a note, or none."""
    deviations = [list(filter(None, record["deviations"].split(SEPARATOR))) for record in records]
    reasons = [one for one in deviations[0] if all(one in other for other in deviations)]
    shared = set(reasons)
    for record, of_record in zip(records, deviations, strict=True):
        own = [one for one in of_record if one not in shared]
        reason = f"{record['loss']} with {', '.join(own)}"
        reasons += [reason] if own and reason not in reasons else []
    return [f"{_title(records)}: {SEPARATOR.join(reasons)}."] if reasons else []


def _line(record: Record, usual_n: int) -> list[str]:
    """A text for each of STUB and HEADINGS."""
    spread = "" if record["published_std"] is None else f" ± {record['published_std']:.2f}"
    return [
        record["loss"],
        record["noise"],
        formatting.number(record["rate"]),
        f"{record['published_mean']:.2f}{spread}",
        formatting.text(record, usual_n),
        formatting.signed(record["difference"]),
        NO_RUN.text if record["power"] is None else f"{record['power']:.0%}",
        record["verdict"],
    ]


def _caption(table: Table, known: Source, any_compared: bool) -> str:
    if not table.blocks:
        return table.caption
    if not any_compared:
        places = known.numbers()
        losses, noises = (join_limited(dict.fromkeys(place[at] for place in places)) for at in (1, 2))
        datasets = join_limited(dict.fromkeys(place[0] for place in places))
        return (
            f"Nothing to compare: {known.title} has none of these runs. It has {losses}; on {datasets};"
            f" with {noises}."
        )
    return f"Against {known.title}. {table.caption} Difference: ours minus published, in percentage points."


def _notes(compared: "DataFrame", known: Source, margin: float) -> list[str]:
    """How the verdict was reached, as far as there is one, and how the published numbers were read."""
    notes = []
    if not compared["verdict"].isin([NO_REPRODUCTION, NO_SPREAD]).all():
        notes.append(
            f"Each cell by itself, at the level {ALPHA:g}. agrees: equivalent within ±{margin:g} percentage"
            " points, by two one-sided Welch tests. differs: by Welch's t-test. differs, within the margin:"
            " both. undecided: neither, so more seeds are needed. –: fewer than two runs, so no test."
            " power: the chance that equal means would have come out as agrees, with these n and spreads."
        )
    spread = compared["published_n"].dropna()
    if len(spread):
        numbers = join_limited(sorted(spread.unique()))
        notes.append(
            f"Published are mean ± standard deviation of n = {numbers} runs, whatever our n; whether theirs"
            " is the sample standard deviation (n−1) is not said, and assumed here."
        )
    if len(spread) < len(compared):
        notes.append(f"{NO_SPREAD[0].upper()}{NO_SPREAD[1:]}, nor how many runs there were.")
    if compared["verdict"].eq(NO_REPRODUCTION).any():
        notes.append(
            f"{NO_REPRODUCTION}: the runs have other settings than the published ones, so the difference is"
            " also one of settings, and not tested."
        )
    return [*notes, *known.notes]


def _order(records: Sequence[Record], shared: Sequence[str], early: Set[str]) -> list[str]:
    """How many pairs of losses stand as they were published, by data set and noise: all that a run of other
    settings can be held to.  shared: the settings that must be the same within a pair.  early: the runs that
    ended before their last epoch."""
    counts: dict[tuple[str, str], list[bool]] = {}
    with_early: Counter[str] = Counter()
    for one, other in combinations(records, 2):
        same = all(one[name] == other[name] for name in ("dataset", *shared, "noise", "rate"))
        if same and one["loss"] != other["loss"] and one["n"] and other["n"]:
            ours = one["mean"] - other["mean"]
            theirs = one["published_mean"] - other["published_mean"]
            counts.setdefault((one["dataset"], one["noise"]), []).append(ours * theirs > 0)
            for record in (one, other):
                if early & set(record["runs"].split()):
                    with_early[record["loss"]] += 1
    if not counts:
        return []
    found = [
        f"{dataset}, {noise}: {sum(pairs)} of {len(pairs)}" for (dataset, noise), pairs in counts.items()
    ]
    ended = ", ".join(f"{loss} in {count} pairs" for loss, count in with_early.items())
    return [
        f"Pairs of losses, at one rate, in the published order: {'; '.join(found)}."
        + (f" With runs that ended before their last epoch: {ended}." if ended else "")
    ]


def _left_out(cells: "DataFrame", published: Sequence[PublishedValue | None]) -> list[str]:
    """Which of the runs have no published counterpart."""
    without = cells.iloc[[at for at, value in enumerate(published) if not value]]
    return [f"Not published, so not here: {formatting.places(without)}."] if len(without) else []


def _rounded(runs: "DataFrame") -> list[str]:
    """Which of the runs did not compute in full single precision."""
    others = runs["computed_in"][runs["status"].eq("completed") & runs["computed_in"].ne(PRECISION)]
    return [
        f"{count} of the runs computed convolutions in {precision}, not {PRECISION}: that is no setting here,"
        " and so no deviation."
        for precision, count in others.value_counts().sort_index().items()
    ]
