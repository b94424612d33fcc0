"""`noisybench report`: the tables of the paper from the runs of a store."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from noisybench.cli.arguments import DATABASE, Database, Where
from noisybench.cli.console import console, say, tell, warn
from noisybench.errors import InvalidValue
from noisybench.reporting.against import MARGIN, against
from noisybench.reporting.formats import FORMATS, Document
from noisybench.reporting.published import SOURCES
from noisybench.reporting.selection import select
from noisybench.reporting.tables import TABLES

if TYPE_CHECKING:
    from pandas import DataFrame

KINDS_OF_TABLE = "; ".join(f"{entry.name}: {entry.help}" for entry in TABLES)
KNOWN_FORMATS = ", ".join(entry.name for entry in FORMATS)


def report(
    table: Annotated[str, typer.Option("--table", help=KINDS_OF_TABLE)] = "closed-set",
    form: Annotated[str, typer.Option("--format", help=f"One of {KNOWN_FORMATS}.")] = "table",
    published: Annotated[
        str | None,
        typer.Option(
            "--against",
            help=f"Set beside published numbers, and say whether they agree: {', '.join(SOURCES)}.",
            show_default=False,
        ),
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option(
            help="With --against: means that differ by less agree, in percentage points."
            f" [default: {MARGIN:g}]",
            show_default=False,
        ),
    ] = None,
    where: Where = None,
    db: Database = DATABASE,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write to this file instead of stdout.", show_default=False)
    ] = None,
) -> None:
    """Print a table of mean ± sample standard deviation over seeds; accuracies are in percent."""
    from noisybench.store import Store

    runs, unmatched = select(Store.open(db, create=False).results(), where or [])
    for sentence in unmatched:
        warn(sentence)
    document = TABLES.bind(table)(runs)
    if published is not None:
        document = against(document, runs, published, MARGIN if margin is None else margin)
    elif margin is not None:
        raise InvalidValue("--margin is that of --against: give --against paper too.")
    print_document(document, form, out)


def print_table(runs: "DataFrame", table: str) -> None:
    """Print the table of these rows of `Store.results`."""
    print_document(TABLES.bind(table)(runs))


def print_document(document: Document, form: str = "table", out: Path | None = None) -> None:
    """Print a report in a format, or write it to `out`."""
    to_terminal = out is None and console().is_terminal and not console().is_dumb_terminal
    width = console().width if to_terminal else None
    text = FORMATS.bind(form)(document, width=width)
    if out is None:
        say(text)
        return
    try:
        out.write_text(text + "\n", encoding="utf-8")
        tell(f"Wrote {out}.")
    except OSError as error:
        raise InvalidValue(f"{out} cannot be written: {error.strerror}.") from None
