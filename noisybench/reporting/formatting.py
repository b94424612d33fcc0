"""The texts that tables share: titles, numbers, cells, the best two, and notes."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import count, product
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

from noisybench.config import Config
from noisybench.errors import InputError, UnknownName, join_limited
from noisybench.methods import method_of, needs
from noisybench.registry import METHODS
from noisybench.reporting.statistics import PLACE, SCHEDULE, SETTINGS, UNFINISHED, WHOLE, as_records
from noisybench.reporting.tables import NO_RUN, Block, Column, Row, Table

if TYPE_CHECKING:
    from pandas import DataFrame

Record = Mapping[str, Any]


def usual_n(cells: "DataFrame") -> int:
    """The number of seeds that most cells have, the larger one on ties; 0 if there is none."""
    counts = cells["n"][cells["n"] > 0].mode()
    return int(counts.max()) if len(counts) else 0


def over_seeds(cells: "DataFrame") -> str:
    """What the numbers are, as the rest of the caption."""
    usual = usual_n(cells)
    if usual == 0:
        return "; no run has completed"
    if cells["n"].max() == 1:
        return "; one seed (n = 1), so no standard deviation"
    exceptions = "" if cells["n"].isin([0, usual]).all() else " unless a cell says otherwise"
    return f"; mean ± sample standard deviation (n−1) over seeds, n = {usual}{exceptions}"


def title(dataset: str, settings: Record, differing: Sequence[str]) -> str:
    """The data set, model, epochs and images (with those that validate); of the other settings, those
    that tell blocks apart or are not what the data set's protocol says.

    The latter are written as --where takes them.
    """
    images = f"{settings['train_size']:,}" if settings["train_size"] else "all"
    text = f"{dataset}: {settings['model']}, {settings['epochs']} epochs, {images} images"
    always = ("model", "epochs", "train_size")
    try:
        usual = Config.create(dataset=dataset, **{name: settings[name] for name in always}).row()
    except UnknownName:
        # The store may come from a noisybench that knows more.
        usual = dict(settings)
    others = [
        name
        for name in SETTINGS
        if name not in always and settings[name] and (name in differing or settings[name] != usual[name])
    ]
    return "; ".join([text, *(setting(name, settings) for name in others)])


def titles(records: Sequence[Record], settings: Sequence[str]) -> list[str]:
    """The title of each record: see `title`.  settings: told where records of one data set differ in them."""
    of_dataset: dict[str, list[Record]] = {}
    for record in records:
        of_dataset.setdefault(record["dataset"], []).append(record)
    told = {dataset: differing(of, settings) for dataset, of in of_dataset.items()}
    return [title(record["dataset"], record, told[record["dataset"]]) for record in records]


def setting(name: str, settings: Record) -> str:
    """A setting and its value as --where takes them: ``lr=0.01``."""
    value = settings[name]
    return f"{name}={'none' if value is None else number(value) if isinstance(value, float) else value}"


def number(value: float) -> str:
    """A number in as many digits as tell it from any other: what differs looks different."""
    return repr(value).removesuffix(".0")


def noise_label(place: Record) -> str:
    """A noise and its rate in a line."""
    return f"{place['noise']}, η = {number(place['rate'])}"


def places(cells: "DataFrame") -> str:
    """Where there are cells, in words: each loss with its data set and noise, the first few of them."""
    return join_limited(
        dict.fromkeys(
            f"{record['loss']} on {record['dataset']} with {noise_label(record)}"
            for record in as_records(cells)
        )
    )


def signed(number: float | None) -> str:
    """A difference with two decimals and a sign, but for what rounds to zero."""
    if number is None:
        return NO_RUN.text
    text = minus(f"{number:+.2f}")
    return "0.00" if text in ("+0.00", "−0.00") else text


def minus(number: str) -> str:
    """A number with a minus sign in place of the hyphen."""
    return number.replace("-", "−")


def p_value(p: float | None) -> str:
    """A p-value in three decimals."""
    return NO_RUN.text if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"


def pruned(record: Record) -> str:
    """When the runs of a cell were pruned."""
    return f"pruned from {record['prune_from']} every {record['prune_every']}"


def with_methods(runs: "DataFrame", within: Sequence[str] = ("dataset", "loss", *SETTINGS)) -> "DataFrame":
    """The runs with a column `method`: the loss, and when it prunes where runs of one loss have several
    schedules.  within: what such runs have in common."""
    runs = runs.astype(WHOLE)
    schedules = runs.groupby([*within], dropna=False)[[*SCHEDULE]].transform("nunique", dropna=False)
    names = [
        f"{record['loss']}, {pruned(record)}" if has_several else record["loss"]
        for record, has_several in zip(as_records(runs), schedules.gt(1).any(axis=1), strict=True)
    ]
    return runs.assign(method=names)


def letters() -> Iterator[str]:
    """A, B, …, Z, AA, AB, …"""
    return ("".join(letters) for size in count(1) for letters in product(ascii_uppercase, repeat=size))


def differing(records: Sequence[Record], names: Sequence[str]) -> list[str]:
    """Those of the `names` in which the records do not all agree."""
    return [name for name in names if len({record[name] for record in records}) > 1]


def best(records: Sequence[Record]) -> list[Record]:
    """The best two of three or more means, the best of two, none of one; ties included.

    Means are compared as they are printed. Those over the number of runs that most of the records have
    compete (the larger number on ties): a mean over fewer runs would win by luck more often. A mean over
    the runs that were left when others failed does not compete.
    """
    counts = Counter(record["n"] for record in records if record["n"])
    n = max(counts, key=lambda n: (counts[n], n), default=0)
    competing = [record for record in records if record["n"] == n > 0 and not record["failed"]]
    if len(competing) < 2:
        return []
    printed = sorted((float(mean(record)) for record in competing), reverse=True)
    last = printed[1] if len(competing) > 2 else printed[0]
    return [record for record in competing if float(mean(record)) >= last]


def marking(cells: "DataFrame", place: str) -> list[str]:
    """The rule of `best` where some cell has another number of runs; place: a row or a column."""
    completed = cells[cells["n"] > 0]
    if completed["n"].nunique() < 2 and not completed["failed"].any():
        return []
    return [
        f"Marks: a mean competes if its n is the most frequent of its {place} and none of its runs failed;"
        " of two that compete, the best is marked."
    ]


def methods_as_rows(table: Table) -> Table:
    """A table whose columns are methods, without groups of them, with its rows and columns exchanged."""
    columns = [Column("", row.labels[0]) for block in table.blocks for row in block.rows]
    blocks = []
    for block in table.blocks:
        own = {row.labels[0]: row for row in block.rows}
        rows = [
            Row((column.heading,), {Column("", name): row.cell(column) for name, row in own.items()})
            for column in block.columns
        ]
        blocks.append(Block(block.title, [Column("", name) for name in own], rows))
    rules = dict(zip(marking(table.cells, "row"), marking(table.cells, "column"), strict=True))
    return replace(
        table,
        stub=["method"],
        columns=list(dict.fromkeys(columns)),
        blocks=blocks,
        notes=[rules.get(note, note) for note in table.notes],
        best_of="column",
    )


def mean(record: Record) -> str:
    """A mean in percent as tables print it."""
    return f"{record['mean']:.2f}"


def text(record: Record, usual: int) -> str:
    """Mean and, of more than one seed, ± std; n where it is not the usual one or where runs failed; of a
    cell without a completed run, the status of its runs."""
    n, failed = record["n"], record["failed"]
    if n == 0:
        return next(status for status in UNFINISHED if record[status])
    spread = f" ± {record['std']:.2f}" if n > 1 else ""
    counts = f" (n={n}; {failed} failed)" if failed else f" (n={n})" if n != usual else ""
    return f"{mean(record)}{spread}{counts}"


def notes(runs: "DataFrame") -> list[str]:
    """What the numbers alone do not tell: which runs are in no average, which ended early and
    why, and which were not the first of their kind."""
    unfinished = [
        f"{len(ids)} {status} ({join_limited(ids)})"
        for status in UNFINISHED
        if (ids := sorted(runs["id"][runs["status"].eq(status)]))
    ]
    sentences = [f"Not in the averages: {', '.join(unfinished)}."] if unfinished else []
    completed = runs[runs["status"].eq("completed")]
    early = completed[completed["id"].isin(ended_early(completed))]
    for reason, group in early.groupby("reason"):
        sentences.append(f"Ended before the last epoch ({reason}): {join_limited(sorted(group['id']))}.")
    again = completed["id"][completed["attempt"] > 1]
    if len(again):
        sentences.append(f"Trained more than once: {join_limited(sorted(again))}.")
    for method, group in completed.groupby("loss"):
        ids = sorted(group["id"][group["revision"] < _revision(str(method))])
        if ids:
            sentences.append(
                f"Trained by an earlier revision of {method}, whose numbers differ: {join_limited(ids)}."
            )
    return [*sentences, *_precisions(completed), *_needs(runs)]


def _needs(runs: "DataFrame") -> list[str]:
    """Which losses need more than cross entropy: passes of the images in an epoch, the noise, true labels."""
    words = []
    for loss in sorted(set(runs["loss"])):
        with suppress(InputError):  # a loss of a noisybench that knows more
            if found := needs(METHODS.bind(loss)):
                words.append(f"{loss.partition('(')[0]} ({', '.join(found)})")
    return [f"Need more than cross entropy: {', '.join(dict.fromkeys(words))}."] if words else []


def _revision(loss: str) -> int:
    """The revision of a method today; 0 for a method that is not known here."""
    try:
        return method_of(METHODS.bind(loss)).revision
    except InputError:
        return 0


def ended_early(runs: "DataFrame") -> set[str]:
    """The ids of the completed runs that ended before their last epoch."""
    early = runs["status"].eq("completed") & runs["reason"].notna() & runs["reason"].ne("")
    return set(runs["id"][early])


def _precisions(completed: "DataFrame") -> list[str]:
    """Where the runs did not all compute in one precision: how many in each, and which means are over
    several."""
    counts = completed["computed_in"].value_counts().sort_index()
    if len(counts) < 2:
        return []
    kept = [*PLACE, *SCHEDULE, *SETTINGS]
    several = completed.astype(WHOLE).groupby(kept, dropna=False)["computed_in"].nunique().reset_index()
    mixed = several[several["computed_in"] > 1]
    means = f" Means over several: {places(mixed)}." if len(mixed) else " No mean is over several."
    runs = ", ".join(f"{precision} ({count} runs)" for precision, count in counts.items())
    return [f"Computed in different precisions: {runs}.{means} --where computed_in={counts.index[0]} is one."]


def idle_prunings(runs: "DataFrame") -> list[str]:
    """Whose best epoch, the one reported, was before pruning had begun."""
    pruning = runs[runs["status"].eq("completed") & runs["prune_from"].notna()]
    sentences = []
    for loss, group in pruning.groupby("loss"):
        early = int((group["best_epoch"] <= group["prune_from"]).sum())
        if early:
            sentences.append(
                f"{early} of {len(group)} runs of {loss} were best before their first pruning: those"
                " accuracies are of networks that no pruning has touched."
            )
    return sentences
