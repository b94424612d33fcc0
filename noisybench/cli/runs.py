"""`noisybench runs`: list, show, delete, merge and export runs of a store."""

import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from shutil import get_terminal_size
from socket import gethostname
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated, Any

import typer

from noisybench.cli.arguments import DATABASE, AsJson, Database, Overwrite, RunName, Where
from noisybench.cli.console import (
    STDOUT,
    complain,
    in_percent,
    is_terminal,
    print_json,
    printable,
    say,
    selected,
    tell,
    write,
)
from noisybench.cli.corrupt import MATRIX_CLASSES
from noisybench.cli.progress import measures
from noisybench.config import declared_fields
from noisybench.errors import InvalidValue, RunFailed, join_limited
from noisybench.registry import shortened
from noisybench.results import Epoch, Pruning

if TYPE_CHECKING:
    from pandas import DataFrame

    from noisybench.store import Row, Store

app = typer.Typer(
    help="List, show, delete, merge and export runs of the store.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

COLUMNS = ("id", "status", "dataset", "noise", "rate", "loss", "seed", "test_accuracy", "started")


@app.command("list")
def list_runs(
    db: Database = DATABASE,
    where: Where = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Largest number of runs.")] = None,
    as_json: AsJson = False,
) -> None:
    """List runs, the newest first."""
    from noisybench.store import Store

    store = Store.read(db)
    columns = [] if as_json else [*COLUMNS, "host"]
    if where:
        ids = _matching(store, where)
        rows = store.runs(columns, ids=ids[:limit])
    else:
        rows = store.runs(columns, limit)
    if as_json:
        print_json(rows)
        return
    if not rows:
        total = len(store.runs(["id"]))
        say(f"No run in {db} matches --where ({total} runs)." if total else f"No runs in {db} yet.")
        return
    width = get_terminal_size().columns if is_terminal() else None
    say("\n".join(table_of_runs(rows, width)))
    for sentence in running_elsewhere(rows):
        tell(sentence)


def table_of_runs(rows: Sequence["Row"], width: int | None) -> Iterator[str]:
    """The lines of a table of runs; a few lines for each run if the table is wider than `width`."""
    texts = [
        [
            *(row["id"], row["status"], row["dataset"], shortened(row["noise"]), f"{row['rate']:g}"),
            *(row["loss"], str(row["seed"]), in_percent(row["test_accuracy"], 2), row["started"][:16]),
        ]
        for row in rows
    ]
    headings = [name.replace("_", " ") for name in COLUMNS]
    widths = [max(map(len, column)) for column in zip(headings, *texts, strict=True)]
    if width is None or sum(widths) + 2 * (len(widths) - 1) <= width:
        template = "  ".join(f"{{:{size}}}" for size in widths)
        for line in [headings, *texts]:
            yield template.format(*line).rstrip()
        return
    for run, status, dataset, noise, rate, loss, seed, accuracy, started in texts:
        yield f"{run}  {status}  {accuracy}"
        about = f"{loss} on {dataset}, {noise} {rate}, seed {seed}, {started}"
        yield from wrap(about, width, initial_indent="    ", subsequent_indent="    ")


def running_elsewhere(rows: Sequence["Row"]) -> list[str]:
    """What to do about runs of other hosts: this host cannot tell whether they are still running."""
    hosts: dict[str, list[Row]] = {}
    for row in rows:
        if row["status"] == "running" and row["host"] != gethostname():
            hosts.setdefault(str(row["host"]), []).append(row)
    return [
        f"Running on {host} since {min(row['started'] for row in of_host)}:"
        f" {join_limited([row['id'] for row in of_host])}. If that host is gone, give the same command here"
        " to continue the run, or remove the run with `noisybench runs delete`."
        for host, of_host in hosts.items()
    ]


@app.command()
def show(run: RunName, db: Database = DATABASE, as_json: AsJson = False) -> None:
    """Show the settings, the machine and the measurements of a run."""
    from noisybench.store import Store
    from noisybench.store.schema import DETAILS

    store = Store.read(db)
    row = store.find(run)
    details = {table: store.details(table, row["id"]) for table in DETAILS}
    for matrices in details["transitions"]:
        matrices["estimated"], matrices["actual"] = store.matrices(matrices)
    if as_json:
        print_json({**row, "details": details})
        return
    for sentence in running_elsewhere([row]):
        tell(sentence)
    config = {name: row[name] for name in declared_fields()}
    rest = {name: value for name, value in row.items() if name not in config}
    for title, values in (("Run", rest), ("Config", config)):
        say(title)
        for name, value in values.items():
            if value not in (None, ""):
                say(f"  {name:19} {value}")
    prunings = {row["epoch"]: row for row in details["prunings"]}
    say("Epochs")
    for epoch in details["epochs"]:
        say(f"  {epoch['epoch']:4}  {measures(_as(Epoch, epoch))}")
        if epoch["epoch"] in prunings:
            say(f"        {measures(_as(Pruning, prunings[epoch['epoch']]))}")
    for matrices in details["transitions"]:
        _show_transition(matrices)
    for evaluation in details["evaluations"]:
        say(
            f"Evaluation {evaluation['split']}: accuracy {evaluation['accuracy']:.2%},"
            f" ECE {evaluation['ece']:.4f}, {evaluation['n']:,} images"
        )


@app.command()
def delete(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Ids of runs, or their first characters.")
    ],
    db: Database = DATABASE,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Delete runs with their measurements and networks."""
    from noisybench.store import Store

    store = Store.open(db, create=False)
    names = [store.find(run)["id"] for run in runs]
    if not yes and not _confirmed(f"Delete {', '.join(names)} from {db}, with the network files?"):
        tell("Nothing was deleted.")
        raise typer.Exit(1)
    store.delete(names)
    say(f"Deleted {', '.join(names)}.")


def _confirmed(question: str) -> bool:
    """Ask the user.  Raises InvalidValue where nobody can answer."""
    try:
        return typer.confirm(question)
    except typer.Abort:
        if sys.stdin.isatty():
            raise
        raise InvalidValue(
            "Nothing was deleted: there is no terminal to confirm on. Give --yes (-y)."
        ) from None


@app.command()
def merge(
    stores: Annotated[
        list[Path], typer.Argument(metavar="STORE...", help="SQLite files of runs; they are not changed.")
    ],
    into: Annotated[Path, typer.Option("--into", help="Store to merge into; created if it does not exist.")],
    as_json: AsJson = False,
) -> None:
    """Merge the runs of several stores into one.

    Each run is stored once, with its network; merging again adds nothing. Completed attempts at one run with
    different measurements are all kept, and the one that completed last counts. Attempts that contradict
    each other (other noisy labels, or other numbers from one version on one kind of CPU) are listed, and the
    exit code is 1.
    """
    from noisybench.store.merge import merge as bring_together

    done = bring_together(stores, into)
    already = len(done.copies) - len(done.added)
    if as_json:
        found = [asdict(contradiction) for contradiction in done.contradictions]
        print_json(
            {
                "into": str(into),
                "added": done.added,
                "already": already,
                "left_out": done.left_out,
                "contradictions": found,
            }
        )
    else:
        unfinished = f", {done.left_out} unfinished left out" if done.left_out else ""
        added = "1 run" if len(done.added) == 1 else f"{len(done.added)} runs"
        say(f"{into}: {added} added, {already} already there{unfinished}.")
    for one in done.contradictions:
        complain(str(one))
    if done.contradictions:
        count = len(done.contradictions)
        raise RunFailed(
            f"{count} contradiction{'s' if count > 1 else ''}. {into} has all these attempts; the one that"
            " completed last counts. If you know which is wrong, remove it with `noisybench runs delete`."
        )


@app.command()
def export(
    table: Annotated[
        str,
        typer.Option(
            help="results: for each config the attempt that counts; runs: all attempts; curves: epochs with"
            " the settings of their run; or epochs, prunings, transitions, evaluations."
        ),
    ] = "results",
    where: Where = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write to this .csv or .parquet file instead of stdout.")
    ] = None,
    overwrite: Overwrite = False,
    db: Database = DATABASE,
) -> None:
    """Write a table of the store as CSV or Parquet.

    Accuracies are fractions from 0 to 1; times are UTC in ISO 8601. Failed and interrupted runs are included:
    `--where status=completed` leaves them out.
    """
    from noisybench.store import Store

    suffix = ".csv" if out is None or out in STDOUT else out.suffix
    if suffix not in ENCODERS:
        raise InvalidValue(f"{out} must end in one of: {', '.join(ENCODERS)}.")
    store = Store.read(db)
    rows = store.table(table)
    if where:
        by_run = "run" in rows.columns
        runs = selected(store.table("runs") if by_run else rows, where)
        rows = rows[rows["run"].isin(runs["id"])] if by_run else runs
    content = ENCODERS[suffix](rows)
    if out is None:
        text = content.decode()
        typer.echo(printable(text) if sys.stdout.isatty() else text, nl=False)
    else:
        write(out, content, overwrite)


def to_csv(rows: "DataFrame") -> bytes:
    return rows.to_csv(index=False).encode()


def to_parquet(rows: "DataFrame") -> bytes:
    """Raises InvalidValue without pyarrow, which is large and therefore an extra."""
    file = io.BytesIO()
    try:
        rows.to_parquet(file, engine="pyarrow", index=False)
    except ImportError:
        raise InvalidValue(
            "Parquet needs pyarrow. Install it with `pip install 'noisybench[parquet]'`, or write to a .csv"
            " file."
        ) from None
    return file.getvalue()


ENCODERS = {".csv": to_csv, ".parquet": to_parquet}


def _show_transition(matrices: dict[str, Any]) -> None:
    """Print the estimated transition matrix, each row below the actual one, if the rows fit a line."""
    import numpy as np

    from noisybench.labels.drawing import transition_error

    estimated = np.array(matrices["estimated"])
    say(f"Transition matrix estimated by run {matrices['estimated_by']}")
    shown = {"T̂": estimated}
    if matrices["actual"] is None:
        say("  There is no actual matrix to compare it with: open-set images belong to no class.")
    else:
        actual = np.array(matrices["actual"])
        error = transition_error(estimated, actual)
        say(f"  error {error:.4f}: total variation distance to the actual rows, mean over classes")
        shown = {"T": actual, **shown}
    if len(estimated) > MATRIX_CLASSES:
        say("  --json prints it.")
        return
    say(f"  {' and '.join(shown)} in % of the true class")
    for true in range(len(estimated)):
        for name, matrix in shown.items():
            say(f"  {true} {name:2} " + " ".join(f"{100 * share:5.1f}" for share in matrix[true]))


def _as(kind: type, row: dict[str, Any]) -> Any:
    return kind(**{name: value for name, value in row.items() if name != "run"})


def _matching(store: "Store", where: list[str]) -> list[str]:
    """The ids of the runs that meet the conditions, the newest first.  Warns of values that no run has."""
    import pandas as pd

    from noisybench.store.schema import tables

    columns, _ = tables()["runs"]
    named = dict.fromkeys(["id", "noise", *(condition.partition("=")[0] for condition in where)])
    # For an unknown column, the message lists all columns.
    names = list(named if named.keys() <= columns.keys() else columns)
    return selected(pd.DataFrame(store.runs(names), columns=names), where)["id"].tolist()
