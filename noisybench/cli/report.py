"""`noisybench report`: the tables of the paper from the runs of a store, and comparisons of losses."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from noisybench.cli.arguments import DATABASE, Database, Where
from noisybench.cli.console import console, say, tell, warn
from noisybench.errors import InvalidValue
from noisybench.reporting.audits import AUDITS
from noisybench.reporting.comparison_lines import compare
from noisybench.reporting.formats import FORMATS, Document
from noisybench.reporting.selection import select
from noisybench.reporting.tables import TABLES

if TYPE_CHECKING:
    from pandas import DataFrame

KINDS_OF_TABLE = "; ".join(f"{entry.name}: {entry.help}" for entry in TABLES)
KINDS_OF_AUDIT = "; ".join(f"{entry.name}: {entry.help}" for entry in AUDITS)
KNOWN_FORMATS = ", ".join(entry.name for entry in FORMATS)


def report(
    losses: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="LOSS", help="The losses that --compare is about; lq is any q.", show_default=False
        ),
    ] = None,
    table: Annotated[str, typer.Option("--table", help=KINDS_OF_TABLE)] = "closed-set",
    comparing: Annotated[
        bool,
        typer.Option(
            "--compare",
            help="Compare the LOSSes seed by seed, in the measure of --table: difference, 95 % confidence"
            " interval, paired t-test with Holm's correction, and how many seeds would tell them apart.",
        ),
    ] = False,
    audit: Annotated[str | None, typer.Option("--audit", help=KINDS_OF_AUDIT, show_default=False)] = None,
    form: Annotated[str, typer.Option("--format", help=f"One of {KNOWN_FORMATS}.")] = "table",
    where: Where = None,
    db: Database = DATABASE,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write to this file instead of stdout.", show_default=False)
    ] = None,
) -> None:
    """Print a table of mean ± sample standard deviation over seeds, or what --compare or --audit find.

    Accuracies are in percent.
    """
    from noisybench.store import Store

    kind = TABLES.bind(table)
    if losses and not comparing:
        raise InvalidValue(
            f"{' '.join(losses)} is given, but only --compare takes losses by themselves: write"
            " `report --compare lq cce`, or `report --where loss=lq` for the table of one."
        )
    if comparing and audit is not None:
        raise InvalidValue("--compare and --audit are two reports: ask for one at a time.")
    if comparing and not losses:
        raise InvalidValue("--compare needs at least two losses: write `report --compare lq cce`.")
    audited = AUDITS.bind(audit) if audit is not None else None
    store = Store.open(db, create=False)
    runs, unmatched = select(store.results(), where or [])
    for sentence in unmatched:
        warn(sentence)
    if comparing:
        document: Document = compare(runs, losses or [], kind.entry.about["measure"])
    else:
        document = audited(runs, store.epochs()) if audited else kind(runs)
    print_report(document, form, out)


def print_table(runs: "DataFrame", table: str) -> None:
    """Print the table of these rows of `Store.results`."""
    print_report(TABLES.bind(table)(runs))


def print_report(document: Document, form: str = "table", out: Path | None = None) -> None:
    """Print a report, or write it to `out`."""
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
