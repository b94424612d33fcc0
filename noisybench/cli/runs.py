"""`noisybench runs`: list, show, delete, merge and export runs of a store."""

from typing import Annotated, Any

import typer

from noisybench.cli import export, merge
from noisybench.cli.arguments import DATABASE, AsJson, Database, RunName, Where
from noisybench.cli.console import cell, console, is_terminal, print_json, say, warn
from noisybench.cli.corrupt import MATRIX_CLASSES
from noisybench.cli.lines import measures
from noisybench.config import Epoch, Pruning, declared_fields
from noisybench.registry import shortened

app = typer.Typer(
    help="List, show, delete, merge and export runs of the store.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

COLUMNS = ("id", "status", "dataset", "noise", "rate", "loss", "seed", "test_accuracy", "started")
# On a narrow terminal these keep their width and the others wrap: an id is there to be copied.
NARROW = ("id", "status", "rate", "seed")


@app.command("list")
def list_runs(
    db: Database = DATABASE,
    where: Where = None,
    limit: Annotated[int | None, typer.Option(min=1, help="So many at most.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """List runs, the newest first."""
    from noisybench.store import Store

    rows = Store.read(db).runs()
    total = len(rows)
    if rows and where:
        rows = _matching(rows, where)
    rows = rows[:limit]
    if as_json:
        print_json(rows)
        return
    if not rows:
        say(f"None of the {total} runs in {db} is such a one." if total else f"No runs in {db} yet.")
        return
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for name in COLUMNS:
        table.add_column(name.replace("_", " "), no_wrap=name in NARROW)
    for row in rows:
        shown = {
            **row,
            "noise": shortened(row["noise"]),
            "test_accuracy": _percent(row["test_accuracy"]),
            "started": row["started"][:16],
        }
        table.add_row(*(cell(shown[name]) for name in COLUMNS))
    if not is_terminal():
        # A pipe has no width: each run keeps to its line.
        console().width = 200
    console().print(table)


@app.command()
def show(run: RunName, db: Database = DATABASE, as_json: AsJson = False) -> None:
    """Show how one run was set up, where it ran and what it measured."""
    from noisybench.store import Store

    store = Store.read(db)
    row = store.find(run)
    details = {
        table: store.details(table, row["id"])
        for table in ("epochs", "prunings", "transitions", "evaluations")
    }
    for matrices in details["transitions"]:
        matrices["estimated"], matrices["actual"] = store.matrices(matrices)
    if as_json:
        print_json({**row, "details": details})
        return
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
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Ids of runs, or their beginnings.")],
    db: Database = DATABASE,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete runs, all that they measured, and their networks."""
    from noisybench.store import Store

    store = Store.open(db, create=False)
    names = [store.find(run)["id"] for run in runs]
    if not yes:
        typer.confirm(f"Delete {', '.join(names)} from {db}, with the network files?", abort=True)
    store.delete(names)
    say(f"Deleted {', '.join(names)}.")


app.command()(merge.merge)
app.command()(export.export)


def _show_transition(matrices: dict[str, Any]) -> None:
    """The estimated transition matrix below the actual one, row by row, where they fit a line."""
    import numpy as np

    from noisybench.labels.drawing import transition_error

    estimated = np.array(matrices["estimated"])
    say(f"Transition matrix estimated by run {matrices['estimated_by']}")
    shown = {"T̂": estimated}
    if matrices["actual"] is None:
        say("  There is no actual one to hold it against: open-set images belong to no class.")
    else:
        actual = np.array(matrices["actual"])
        error = transition_error(estimated, actual)
        say(f"  error {error:.4f}: the total variation distance of a row to the actual one, mean of classes")
        shown = {"T": actual, **shown}
    if len(estimated) > MATRIX_CLASSES:
        say("  It is in --json.")
        return
    say(f"  {' and '.join(shown)} in % of the true class")
    for true in range(len(estimated)):
        for name, matrix in shown.items():
            say(f"  {true} {name:2} " + " ".join(f"{100 * share:5.1f}" for share in matrix[true]))


def _as(kind: type, row: dict[str, Any]) -> Any:
    return kind(**{name: value for name, value in row.items() if name != "run"})


def _matching(rows: list[dict[str, Any]], where: list[str]) -> list[dict[str, Any]]:
    """The runs that meet the conditions; a value that no run has is told."""
    import pandas as pd

    from noisybench.reporting.selection import select

    selected, unmatched = select(pd.DataFrame(rows), where)
    for sentence in unmatched:
        warn(sentence)
    return [rows[number] for number in selected.index]


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.2%}"
