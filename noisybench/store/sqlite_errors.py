"""Errors of SQLite as messages that say which file is affected and what to do."""

import sqlite3
from pathlib import Path
from shlex import quote
from typing import NamedTuple

from noisybench.errors import StoreError, StoreUnwritable

# In SQLite's header: the program that the file belongs to, and the version of the format.
APPLICATION = int.from_bytes(b"nois")
VERSION = 3

# Seconds to wait for another process that is writing.
BUSY_TIMEOUT = 30

# The exceptions that sqlite3 raises: the message about a damaged schema may not decode as text.
ERRORS = (sqlite3.Error, UnicodeDecodeError)

DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
# Words in the messages of other errors that damaged tables and texts cause.
SIGNS_OF_DAMAGE = ("malformed", "no such table", "no such column", "could not decode", "has no column")


class WrongRow(NamedTuple):
    """A row that noisybench would not write, and what is wrong with it."""

    table: str
    rowid: int
    problem: str

    def __str__(self) -> str:
        return f"row {self.rowid} of table {self.table} has {self.problem}"


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
