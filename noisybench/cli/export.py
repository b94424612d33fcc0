"""`noisybench runs export`: write a table of the store for other tools."""

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from noisybench.cli.arguments import DATABASE, Database, Overwrite, Where
from noisybench.cli.console import STDOUT, printable, warn, write
from noisybench.errors import InvalidValue
from noisybench.reporting.selection import select

if TYPE_CHECKING:
    from pandas import DataFrame


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

    encode = to_csv if out in (None, *STDOUT) else encoder(out)
    store = Store.read(db)
    rows = store.table(table)
    if where:
        by_run = "run" in rows.columns
        runs, unmatched = select(store.table("runs") if by_run else rows, where)
        for sentence in unmatched:
            warn(sentence)
        rows = rows[rows["run"].isin(runs["id"])] if by_run else runs
    content = encode(rows)
    if out is None:
        text = content.decode()
        typer.echo(printable(text) if sys.stdout.isatty() else text, nl=False)
    else:
        write(out, content, overwrite)


def encoder(out: Path) -> "Callable[[DataFrame], bytes]":
    """The encoder of files with this suffix.  Raises InvalidValue."""
    if out.suffix not in ENCODERS:
        raise InvalidValue(f"{out} must end in one of: {', '.join(ENCODERS)}.")
    return ENCODERS[out.suffix]


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
