"""What can be wrong with the file of a store: finding it, and messages that name the file and what to do.

What is checked are SQLite's own structures, and the types, numbers, states and ids in the rows.
"""

import sqlite3
from collections.abc import Iterable
from dataclasses import MISSING, fields
from pathlib import Path
from shlex import quote
from typing import Any, get_type_hints

from noisybench.config import declared_fields
from noisybench.errors import StoreError, StoreUnwritable
from noisybench.results import Epoch, Pruning, Result
from noisybench.store.ids import ID_COLUMNS, WrongRow, malformed_id
from noisybench.store.schema import APPLICATION, BUSY_TIMEOUT, LOCKED, VERSION, tables

# The exceptions that sqlite3 raises: the message about a damaged schema may not decode as text.
ERRORS = (sqlite3.Error, UnicodeDecodeError)

DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
# Words in the messages of other errors that damaged tables and texts cause.
SIGNS_OF_DAMAGE = ("malformed", "no such table", "no such column", "could not decode", "has no column")
# What a value of a column must be, by the type that the column is declared with.
IS_STORED_AS = {
    int: "typeof([{0}]) = 'integer'",
    # No number of a run is infinite: training ends where the loss becomes so.
    float: "typeof([{0}]) = 'real' AND abs([{0}]) < 9e999",
    str: "typeof([{0}]) = 'text'",
}
JSON = {"transitions": ("estimated", "actual"), "evaluations": ("per_class", "confusion")}
STATES = ("running", "completed", "failed", "interrupted")


def find_damage(conn: sqlite3.Connection) -> str:
    """What SQLite finds wrong with the file, or "".

    A number that was replaced by another number is not found: SQLite keeps no checksums of its pages.
    """
    (found,) = conn.execute("PRAGMA quick_check(1)").fetchone()
    return "" if found == "ok" else " ".join(found.split())


def find_wrong_row(conn: sqlite3.Connection, names: Iterable[str] = tuple(ID_COLUMNS)) -> WrongRow | None:
    """The first row of these tables, by default all, that noisybench would not write."""
    names = tuple(names)
    rows = (find_wrong_value(conn, table) for table in names)
    return next(filter(None, rows), None) or malformed_id(conn, names)


def find_wrong_value(
    conn: sqlite3.Connection, table: str, condition: str = "TRUE", values: Iterable[Any] = ()
) -> WrongRow | None:
    """The first row of a table, of those that meet a condition, with a value that its column cannot have."""
    columns, _ = tables()[table]
    required = _required()[table]
    wrong = []
    for name, kind in columns.items():
        right = IS_STORED_AS[kind].format(name)
        wrong.append(f"NOT ({right})" if name in required else f"NOT ([{name}] IS NULL OR {right})")
    wrong += [f"NOT json_valid([{name}])" for name in JSON.get(table, ())]
    if table == "runs":
        wrong.append(f"status NOT IN ({', '.join(map(repr, STATES))})")
        measured = " OR ".join(f"[{field.name}] IS NULL" for field in fields(Result))
        wrong.append(f"status = 'completed' AND ({measured})")
    query = f"SELECT rowid FROM {table} WHERE {condition} AND ({' OR '.join(wrong)}) LIMIT 1"
    row = conn.execute(query, list(values)).fetchone()
    return WrongRow(table, row[0], "values that it cannot have") if row else None


def _required() -> dict[str, set[str]]:
    """The columns of each table that are never NULL.  Rows of older versions lack what was added later, but
    for fields of Config, of which they have the default."""
    config = {name for name, declared in declared_fields().items() if not declared.optional}
    return {
        "runs": {"id", "identity", "attempt", "status", "started", *config},
        "epochs": {"run", *_always(Epoch)},
        "prunings": {"run", *_always(Pruning)},
        "transitions": {"run", "estimated_by", "estimated", "actual"},
        "evaluations": {"run", "split", "n", "accuracy", "ece", "made"},
    }


def _always(kind: type) -> set[str]:
    """The fields of a dataclass that have neither a default nor None."""
    hints = get_type_hints(kind)
    return {f.name for f in fields(kind) if f.default is MISSING and hints[f.name] in (int, float, str)}


def store_error(path: Path, error: Exception) -> StoreError:
    """The StoreError for an error of SQLite: it names the file and what to do."""
    # The lowest byte of an extended error code is the primary code.
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    message = str(error).lower()
    garbled = isinstance(error, UnicodeDecodeError) or any(sign in message for sign in SIGNS_OF_DAMAGE)
    if code in DAMAGED or garbled:
        return damaged_store(path, str(error))
    if code in LOCKED:
        return StoreUnwritable(
            f"{path} is locked: another process has been writing to it for {BUSY_TIMEOUT} s. Try again when"
            f" that process is done (`fuser {path}` names it)."
        )
    if code == sqlite3.SQLITE_READONLY:
        return StoreUnwritable(
            f"{path} cannot be written: the file, its folder or its disk is read-only. Name another store"
            " with --db, or bring this one into another with `noisybench runs merge`, which only reads it."
        )
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return StoreUnwritable(
            f"{path} cannot be written: {error}. If its disk is full, make room. The stored runs are safe,"
            " and the same command continues from there."
        )
    if code == sqlite3.SQLITE_CANTOPEN:
        return StoreUnwritable(
            f"{path} cannot be opened as a store of runs: {error}. It must be a store of noisybench or a new"
            " file, in a writable folder, on a disk that is not full."
        )
    return StoreError(f"{path} cannot be read or written as a store of runs: {error}.")


def damaged_store(path: Path, how: str) -> StoreError:
    """The StoreError for a file that is not a store, or a damaged one; nothing in it was changed."""
    # `.recover` is not in the sqlite3 of every system.  A dump has neither the mark of a store nor, of a
    # damaged file, the end of its transaction.
    rescue = (
        f"(sqlite3 {quote(str(path))} .dump | sed 's/^ROLLBACK.*/COMMIT;/'; echo 'PRAGMA application_id ="
        f" {APPLICATION}; PRAGMA user_version = {VERSION};') | sqlite3 recovered.db"
    )
    return StoreError(
        f"{path} is damaged or not a store of runs ({how}). Restore it from a copy; or save what can be"
        f" read: `{rescue}`, then give --db recovered.db."
    )


def wrong_row(path: Path, row: WrongRow) -> StoreError:
    """The StoreError for a store with a row that noisybench would not write."""
    sql = f"DELETE FROM {row.table} WHERE rowid = {row.rowid}"
    return StoreError(
        f"{path} is damaged, or was not written by noisybench: {row}. Restore it from a copy, or remove the"
        f" row: `sqlite3 {quote(str(path))} '{sql}'`."
    )
