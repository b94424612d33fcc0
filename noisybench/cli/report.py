"""`noisybench report`: tables, comparisons and figures of the runs in a store."""

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from noisybench.cli.arguments import DATABASE, Database, Overwrite, Where
from noisybench.cli.console import console, is_terminal, say, selected, write
from noisybench.errors import InvalidValue
from noisybench.registry import Registry
from noisybench.reporting import audit as audits
from noisybench.reporting.audit import AUDITS
from noisybench.reporting.compare import compare
from noisybench.reporting.figures import FIGURES, Curves, build_figure, no_runs
from noisybench.reporting.formats import FORMATS
from noisybench.reporting.plotting import FILE_TYPES, check_suffix, draw
from noisybench.reporting.published import MARGIN, SOURCES, compare_with_published
from noisybench.reporting.ranks import rank_table
from noisybench.reporting.tables import TABLES, Table

if TYPE_CHECKING:
    from pandas import DataFrame


def _kinds(registry: Registry[Any]) -> str:
    """The entries with their help."""
    return " ".join(f"{entry.name}: {entry.help}" for entry in registry)


TABLE, FORM, BY = "closed-set", "table", "loss"
SUFFIXES = {entry.metadata.suffix: entry.name for entry in FORMATS if entry.metadata.suffix}
KNOWN_FORMATS = ", ".join(entry.name for entry in FORMATS)


def report(
    losses: Annotated[
        list[str] | None, typer.Argument(metavar="LOSS", help="Losses of --compare; lq is lq of any q.")
    ] = None,
    table: Annotated[str | None, typer.Option("--table", help=f"{_kinds(TABLES)} [default: {TABLE}]")] = None,
    comparing: Annotated[
        bool,
        typer.Option(
            "--compare",
            help="Compare the LOSSes seed by seed, in the measure of --table: difference, 95 % confidence"
            " interval, paired t-test with Holm's correction, and the number of seeds that the test needs.",
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
    audit: Annotated[str | None, typer.Option("--audit", help=_kinds(AUDITS))] = None,
    figure: Annotated[
        str | None,
        typer.Option(
            "--figure",
            help=f"Draw a figure to the file of --out ({', '.join(FILE_TYPES)}). {_kinds(FIGURES)}",
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            help=f"With --figure curves: column whose values are lines, as loss or rate. [default: {BY}]"
        ),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            help=f"One of {KNOWN_FORMATS}."
            f" [default: by the suffix of --out ({', '.join(SUFFIXES)}), else {FORM}]",
        ),
    ] = None,
    published: Annotated[
        str | None, typer.Option("--against", help=f"Compare with published numbers: {', '.join(SOURCES)}.")
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option(
            help="With --against: largest difference, in percentage points, that counts as agreement."
            f" [default: {MARGIN:g}]"
        ),
    ] = None,
    where: Where = None,
    db: Database = DATABASE,
    out: Annotated[Path | None, typer.Option("--out", help="File to write instead of stdout.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Print a table over seeds or a comparison, or draw a figure.

    Tables show mean ± sample standard deviation over seeds. Accuracies are in percent.
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
        raise InvalidValue(f"{' and '.join(asked)} are different reports: give one of them.")
    if losses and not comparing:
        raise InvalidValue(
            f"{' '.join(losses)} is given without --compare: write `report --compare lq cce`, or"
            " `report --where loss=lq` for the table of one loss."
        )
    if comparing and not losses:
        raise InvalidValue("--compare needs at least two losses: write `report --compare lq cce`.")
    if margin is not None and published is None:
        raise InvalidValue("--margin requires --against paper.")
    has_layout = "--audit" if audit else f"--figure {figure}" if figure else ""
    if table is not None and (audit or (figure and "table" not in FIGURES.bind(figure).entry.context)):
        raise InvalidValue(
            f"--table cannot be combined with {has_layout}, which has its own layout: omit one of them."
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
    runs = selected(store.results(), where or [])

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
    """The command line as it was typed; "" where a Python program calls `report`."""
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
    """Draw the figure of these rows of `Store.results` to `out`, in the format of its suffix."""
    entry = FIGURES.bind(figure).entry
    if by is not None and "by" not in entry.context:
        raise InvalidValue(f"--by requires --figure curves, but the figure is {entry.name}.")
    if out is None:
        raise InvalidValue(
            f"--figure requires --out with a file ({', '.join(FILE_TYPES)}), such as --out {entry.name}.pdf."
        )
    suffix = check_suffix(out)
    options = {"table": table(runs)} if "table" in entry.context else {}
    drawn_up = build_figure(entry.name, runs, curves, by=by or BY, **options)
    if not drawn_up.rows:
        raise InvalidValue(no_runs(entry.name))
    write(out, draw(drawn_up, suffix), overwrite)


def print_document(
    document: Table, form: str = FORM, out: Path | None = None, overwrite: bool = False, **context: object
) -> None:
    """Print a report in a format, or write it to `out`.

    context: further arguments of the format, such as the runs and their curves for html.
    """
    to_terminal = out is None and is_terminal()
    width = console().width if to_terminal else None
    text = FORMATS.bind(form)(document, width=width, **context)
    if out is None:
        say(text)
    else:
        write(out, f"{text}\n".encode(), overwrite)
