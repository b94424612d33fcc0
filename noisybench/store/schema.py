"""The tables and views of the store.

Columns come from the declarations of what they hold.  A store that was made before a column was
declared gains the column when it is opened; every other change is a step in MIGRATIONS.
"""

import sqlite3
import time
import types
from collections import Counter
from contextlib import suppress
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any, get_args

from noisybench.config import Config, declared_fields
from noisybench.errors import InputError, StoreError
from noisybench.results import Epoch, Provenance, Pruning, Result
from noisybench.store.ids import malformed_id

if TYPE_CHECKING:
    from sqlite_utils import Database

# In SQLite's header: the program that the file belongs to, and the version of the format.
APPLICATION = int.from_bytes(b"nois")
VERSION = 3

# Seconds to wait for another process that is writing.
BUSY_TIMEOUT = 30

LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)

# The tables of what belongs to a run.
DETAILS = ("epochs", "prunings", "transitions", "evaluations")

Columns = dict[str, type]

VIEWS = {
    "results": """
        SELECT * FROM runs WHERE NOT EXISTS (
            SELECT 1 FROM runs AS other WHERE other.identity = runs.identity AND other.attempt <> runs.attempt
        ) OR id = (
            SELECT id FROM runs AS same WHERE same.identity = runs.identity
            ORDER BY same.status = 'completed' DESC, same.ended DESC, same.attempt DESC LIMIT 1
        )
        """,
    "curves": """
        SELECT runs.dataset, runs.noise, runs.rate, runs.loss, runs.model, runs.seed, runs.status, epochs.*
        FROM epochs JOIN runs ON runs.id = epochs.run
        """,
}


def tables() -> dict[str, tuple[Columns, tuple[str, ...]]]:
    """The columns and the primary key of each table."""
    run = {"id": str, "identity": str, "attempt": int, "status": str, "reason": str}
    config = {name: _plain(declared.type) for name, declared in declared_fields().items()}
    times = {"started": str, "ended": str}
    measures = {"n": int, "accuracy": float, "ece": float, "per_class": str, "confusion": str, "made": str}
    return {
        "runs": ({**run, **config, **_columns(Result), **_columns(Provenance), **times}, ("id",)),
        "epochs": ({"run": str, **_columns(Epoch)}, ("run", "epoch")),
        "prunings": ({"run": str, **_columns(Pruning)}, ("run", "epoch")),
        "transitions": (
            {"run": str, "estimated_by": str, "estimated": str, "actual": str, "revision": int},
            ("run",),
        ),
        "evaluations": ({"run": str, "split": str, **measures}, ("run", "split")),
    }


def migrate(conn: sqlite3.Connection) -> None:
    """Bring a new or an older file up to date, all or nothing.

    Raises StoreError for a file of another program or of a newer noisybench.
    """
    with conn:
        # A change by another process must be seen whole or not at all.
        conn.execute("BEGIN")
        current = _is_current(conn)
    if current:
        return
    from sqlite_utils import Database

    db = Database(conn)
    # In this mode, which the file keeps, readers and a writer do not wait for each other.
    _keep_log(conn)
    with conn:
        # Of several processes that open a new file at once, one migrates and the others wait.
        conn.execute("BEGIN IMMEDIATE")
        if _is_current(conn):
            return
        (version,) = conn.execute("PRAGMA user_version").fetchone()
        for step in MIGRATIONS:
            step(db, version)
        conn.execute(f"PRAGMA application_id = {APPLICATION}")
        conn.execute(f"PRAGMA user_version = {VERSION}")
    # From the log into the file, so that the file alone shows that it is a store.
    conn.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()


def name_computed_precision(db: "Database", version: int) -> None:
    """Before version 3, the column `precision` was the precision that a run computed in; now it is the
    setting."""
    if version < 3 and "precision" in _present(db.conn, "runs"):
        db.conn.execute("ALTER TABLE runs RENAME COLUMN precision TO computed_in")


def declared_columns(db: "Database", version: int) -> None:
    """Create the tables, columns and views that are missing.  Earlier runs have the default of a field of
    Config, and so also the first revision of their method."""
    for table, (columns, key) in tables().items():
        present = _present(db.conn, table)
        if not present:
            parent = [("run", "runs", "id")] if "run" in columns else []
            db.table(table).create(columns, pk=key if len(key) > 1 else key[0], foreign_keys=parent)
        else:
            for name in columns.keys() - present:
                _add_column(db, table, name, columns[name])
    db.table("runs").create_index(["identity", "attempt"], unique=True, if_not_exists=True)
    for view, sql in VIEWS.items():
        db.create_view(view, sql, replace=True)


def identities_without_defaults(db: "Database", version: int) -> None:
    """Since version 2, identities leave out hyper-parameters at their default; the ids of runs stay.

    A run that this noisybench cannot read, as one of another loss, keeps its identity.
    """
    if version >= 2:
        return
    conn = db.conn
    if problem := malformed_id(conn, ("runs",)):
        raise StoreError(f"The store cannot be brought up to date: {problem}.")
    cursor = conn.execute("SELECT * FROM runs ORDER BY attempt")
    names = [column[0] for column in cursor.description]
    attempts: Counter[str] = Counter()
    for values in cursor.fetchall():
        row = dict(zip(names, values, strict=True))
        with suppress(InputError):
            identity = Config.from_row(row).identity
            # Two of the old identities may be one of today.
            attempts[identity] = max(row["attempt"], attempts[identity] + 1)
            conn.execute(
                "UPDATE runs SET identity = ?, attempt = ? WHERE id = ?",
                [identity, attempts[identity], row["id"]],
            )


# The steps that bring a new or an earlier store up to date, in this order.
MIGRATIONS = (name_computed_precision, declared_columns, identities_without_defaults)


def _keep_log(conn: sqlite3.Connection) -> None:
    """Switch to the write-ahead log.  While others open a new file too, SQLite may refuse without waiting."""
    deadline = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            conn.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in LOCKED or time.monotonic() > deadline:
                raise
        time.sleep(0.05)


def _is_current(conn: sqlite3.Connection) -> bool:
    (owner,) = conn.execute("PRAGMA application_id").fetchone()
    (version,) = conn.execute("PRAGMA user_version").fetchone()
    if owner != APPLICATION and (
        owner or version or conn.execute("SELECT 1 FROM sqlite_master WHERE type = 'table'").fetchone()
    ):
        raise StoreError("It is a database of another program, and was not changed.")
    if version > VERSION:
        raise StoreError(
            f"The store was written by a newer noisybench (format {version}; this one reads up to"
            f" {VERSION}). Upgrade noisybench to read it."
        )
    views = dict(conn.execute("SELECT name, sql FROM sqlite_master WHERE type = 'view'"))
    return (
        version == VERSION
        and all(columns.keys() <= _present(conn, table) for table, (columns, _) in tables().items())
        and all(sql.strip() in views.get(name, "") for name, sql in VIEWS.items())
    )


def _present(conn: sqlite3.Connection, table: str) -> set[str]:
    return {name for (name,) in conn.execute("SELECT name FROM pragma_table_info(?)", [table])}


def _add_column(db: "Database", table: str, name: str, column: type) -> None:
    """Add a column; earlier runs had the default of a field of Config."""
    db.table(table).add_column(name, column)
    defaults = {f.name: f.default for f in fields(Config) if f.default is not MISSING}
    if table == "runs" and name in defaults:
        db.conn.execute(f"UPDATE runs SET [{name}] = ?", [defaults[name]])


def _columns(kind: type) -> Columns:
    """The columns for a dataclass of plain values, which may be None."""
    return {f.name: _plain(f.type) for f in fields(kind)}


def _plain(annotation: Any) -> type:
    if isinstance(annotation, types.UnionType):
        (annotation,) = (member for member in get_args(annotation) if member is not type(None))
    return annotation if annotation in (int, float) else str
