"""`noisybench report`: the tables and figures of the paper from the runs of a store."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from noisybench.cli.arguments import DATABASE, Database, Where
from noisybench.cli.console import console, say, warn, write
from noisybench.errors import InvalidValue
from noisybench.reporting.drawing import FILE_TYPES, check_suffix, draw
from noisybench.reporting.figures import FIGURES, draw_up, no_runs
from noisybench.reporting.formats import FORMATS
from noisybench.reporting.selection import select
from noisybench.reporting.tables import TABLES

if TYPE_CHECKING:
    from pandas import DataFrame

KINDS_OF_TABLE = "; ".join(f"{entry.name}: {entry.help}" for entry in TABLES)
KINDS_OF_FIGURE = "; ".join(f"{entry.name}: {entry.help}" for entry in FIGURES)
KNOWN_FORMATS = ", ".join(entry.name for entry in FORMATS)


def report(
    table: Annotated[str, typer.Option("--table", help=KINDS_OF_TABLE)] = "closed-set",
    figure: Annotated[
        str | None,
        typer.Option(
            "--figure",
            help=f"A figure instead, which needs --out: {', '.join(FILE_TYPES)}. {KINDS_OF_FIGURE}",
            show_default=False,
        ),
    ] = None,
    form: Annotated[str, typer.Option("--format", help=f"One of {KNOWN_FORMATS}.")] = "table",
    where: Where = None,
    db: Database = DATABASE,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write to this file instead of stdout.", show_default=False)
    ] = None,
) -> None:
    """Print a table of mean ± sample standard deviation over seeds; accuracies are in percent."""
    from noisybench.store import Store

    store = Store.open(db, create=False)
    runs, unmatched = select(store.results(), where or [])
    for sentence in unmatched:
        warn(sentence)
    if figure is None:
        print_table(runs, table, form, out, store.epochs)
    else:
        write_figure(runs, store.epochs, figure, out)


def write_figure(runs: "DataFrame", epochs: Callable[[], "DataFrame"], figure: str, out: Path | None) -> None:
    """Draw the figure of these rows of `Store.results`; the suffix of `out` says as what."""
    name = str(FIGURES.bind(figure))
    if out is None:
        raise InvalidValue(
            f"A figure is written to a file: give --out, such as --out {name}.pdf ({', '.join(FILE_TYPES)})."
        )
    suffix = check_suffix(out)
    drawn_up = draw_up(name, runs, epochs())
    if not drawn_up.rows:
        raise InvalidValue(no_runs(name))
    write(out, draw(drawn_up, suffix))


def print_table(
    runs: "DataFrame",
    table: str = "closed-set",
    form: str = "table",
    out: Path | None = None,
    epochs: Callable[[], "DataFrame"] | None = None,
) -> None:
    """Print the table of these rows of `Store.results`, or write it to `out`.

    epochs: `Store.epochs`, which the format html needs.
    """
    to_terminal = out is None and console().is_terminal and not console().is_dumb_terminal
    width = console().width if to_terminal else None
    text = FORMATS.bind(form)(TABLES.bind(table)(runs), width=width, runs=runs, epochs=epochs)
    if out is None:
        say(text)
    else:
        write(out, f"{text}\n".encode())
