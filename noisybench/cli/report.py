"""`noisybench report`: the tables and figures of the paper from the runs of a store, and comparisons."""

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from noisybench.cli.arguments import DATABASE, Database, Overwrite, Where
from noisybench.cli.console import console, is_terminal, say, warn, write
from noisybench.errors import InvalidValue
from noisybench.reporting import audit as audits
from noisybench.reporting.audit import AUDITS
from noisybench.reporting.compare import compare
from noisybench.reporting.figures import FIGURES, Curves, build_figure, no_runs
from noisybench.reporting.formats import FORMATS
from noisybench.reporting.plotting import FILE_TYPES, check_suffix, draw
from noisybench.reporting.published import SOURCES
from noisybench.reporting.published_comparison import MARGIN, compare_with_published
from noisybench.reporting.ranks import rank_table
from noisybench.reporting.selection import select
from noisybench.reporting.tables import TABLES, Table

if TYPE_CHECKING:
    from pandas import DataFrame

KINDS_OF_TABLE = "; ".join(f"{entry.name}: {entry.help}" for entry in TABLES)
KINDS_OF_AUDIT = "; ".join(f"{entry.name}: {entry.help}" for entry in AUDITS)
KINDS_OF_FIGURE = "; ".join(f"{entry.name}: {entry.help}" for entry in FIGURES)
TABLE, FORM, BY = "closed-set", "table", "loss"
SUFFIXES = {entry.metadata.suffix: entry.name for entry in FORMATS if entry.metadata.suffix}
KNOWN_FORMATS = ", ".join(entry.name for entry in FORMATS)


def report(
    losses: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="LOSS", help="The losses that --compare is about; lq is any q.", show_default=False
        ),
    ] = None,
    table: Annotated[
        str | None,
        typer.Option("--table", help=f"{KINDS_OF_TABLE} [default: {TABLE}]", show_default=False),
    ] = None,
    comparing: Annotated[
        bool,
        typer.Option(
            "--compare",
            help="Compare the LOSSes seed by seed, in the measure of --table: difference, 95 % confidence"
            " interval, paired t-test with Holm's correction, and how many seeds would tell them apart.",
        ),
    ] = False,
    ranking: Annotated[
        bool,
        typer.Option(
            "--rank",
            help="Rank the methods of --table over its settings: mean ranks, Friedman's test, and Wilcoxon's"
            " test of each pair of methods, seed by seed, with Holm's correction.",
        ),
    ] = False,
    audit: Annotated[str | None, typer.Option("--audit", help=KINDS_OF_AUDIT, show_default=False)] = None,
    figure: Annotated[
        str | None,
        typer.Option(
            "--figure",
            help=f"Draw a figure into the file of --out ({', '.join(FILE_TYPES)}). {KINDS_OF_FIGURE}",
            show_default=False,
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            help="With --figure curves: the column of which each value is a line, such as loss or rate."
            f" [default: {BY}]",
            show_default=False,
        ),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            help=f"One of {KNOWN_FORMATS}."
            f" [default: by the suffix of --out ({', '.join(SUFFIXES)}), else {FORM}]",
            show_default=False,
        ),
    ] = None,
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
    overwrite: Overwrite = False,
) -> None:
    """Print a table over seeds or a comparison, or draw a figure.

    A table has mean ± sample standard deviation. Accuracies are in percent.
    """
    from noisybench.store import Store

    given = {
        "--compare": comparing,
        "--rank": ranking,
        "--audit": audit is not None,
        "--against": published is not None,
        "--figure": figure is not None,
    }
    asked = [option for option, is_given in given.items() if is_given]
    if len(asked) > 1:
        raise InvalidValue(f"{' and '.join(asked)} are reports of their own: ask for one at a time.")
    if losses and not comparing:
        raise InvalidValue(
            f"{' '.join(losses)} is given, but only --compare takes losses by themselves: write"
            " `report --compare lq cce`, or `report --where loss=lq` for the table of one."
        )
    if comparing and not losses:
        raise InvalidValue("--compare needs at least two losses: write `report --compare lq cce`.")
    if margin is not None and published is None:
        raise InvalidValue("--margin requires --against paper.")
    has_layout = "--audit" if audit else f"--figure {figure}" if figure else ""
    if table is not None and (audit or (figure and "table" not in FIGURES.bind(figure).entry.context)):
        raise InvalidValue(
            f"--table does not go with {has_layout}, which has its own layout: omit one of them."
        )
    if by is not None and figure is None:
        raise InvalidValue("--by requires --figure curves.")
    if form is not None and figure:
        raise InvalidValue(
            f"--format is for tables; for a figure, the suffix of --out decides ({', '.join(FILE_TYPES)})."
        )
    laid_out = TABLES.bind(table or TABLE)
    audited = None if audit is None else AUDITS.bind(audit)
    by_suffix = SUFFIXES.get(out.suffix.lower(), FORM) if out else FORM
    form = str(FORMATS.bind(form or by_suffix))
    store = Store.read(db)
    runs, unmatched = select(store.results(), where or [])
    for sentence in unmatched:
        warn(sentence)

    if figure is not None:
        write_figure(figure, runs, store.mean_curves, out, overwrite, table=laid_out, by=by)
        return
    document: Table
    if losses:
        document = compare(runs, losses, laid_out.entry.metadata.measure)
    elif ranking:
        document = rank_table(laid_out(runs), runs)
    elif audited:
        document = audited(runs, store.epochs(audits.EPOCHS, runs["id"]))
    elif published is not None:
        document = compare_with_published(
            laid_out(runs), runs, published, MARGIN if margin is None else margin
        )
    else:
        document = laid_out(runs)
    print_document(document, form, out, overwrite, runs=runs, curves=store.mean_curves, command=_command())


def _command() -> str:
    """The command that is being carried out, as it was typed; "" where Python calls it."""
    return shlex.join(["noisybench", *sys.argv[1:]]) if "report" in sys.argv else ""


def write_figure(
    figure: str,
    runs: "DataFrame",
    curves: Curves,
    out: Path | None,
    overwrite: bool,
    table: Callable[["DataFrame"], Table],
    by: str | None,
) -> None:
    """Draw the figure of these rows of `Store.results`; the suffix of `out` says as what."""
    entry = FIGURES.bind(figure).entry
    if by is not None and "by" not in entry.context:
        raise InvalidValue(f"--by is that of --figure curves, and {entry.name} has lines of its own.")
    if out is None:
        raise InvalidValue(
            f"A figure is written to a file: give --out, such as --out {entry.name}.pdf"
            f" ({', '.join(FILE_TYPES)})."
        )
    suffix = check_suffix(out)
    options = {"table": table(runs)} if "table" in entry.context else {}
    drawn_up = build_figure(entry.name, runs, curves, by=by or BY, **options)
    if not drawn_up.rows:
        raise InvalidValue(no_runs(entry.name))
    write(out, draw(drawn_up, suffix), overwrite)


def print_table(runs: "DataFrame", table: str) -> None:
    """Print the table of these rows of `Store.results`."""
    print_document(TABLES.bind(table)(runs))


def print_document(
    document: Table,
    form: str = FORM,
    out: Path | None = None,
    overwrite: bool = False,
    **context: object,
) -> None:
    """Print a report in a format, or write it to `out`.

    context: what else the format may ask for, as html does for the runs and their curves.
    """
    to_terminal = out is None and is_terminal()
    width = console().width if to_terminal else None
    text = FORMATS.bind(form)(document, width=width, **context)
    if out is None:
        say(text)
    else:
        write(out, f"{text}\n".encode(), overwrite)
