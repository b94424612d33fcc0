"""What SQLite says when a store cannot be read or written, as something that a person can act on."""

import sqlite3
from pathlib import Path

from noisybench.errors import StoreError, StoreUnwritable

# Seconds that a process waits for another one to finish writing.
PATIENCE = 30

# What sqlite3 raises; its own message on a damaged schema may be no text.
ERRORS = (sqlite3.Error, UnicodeDecodeError)

DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
# Of other errors, what comes of tables and texts that are no longer what was written.
SIGNS_OF_DAMAGE = ("malformed", "no such table", "no such column", "could not decode", "has no column")


def explained(path: Path, error: Exception) -> StoreError:
    """The error of SQLite, in words that name the file and what to do."""
    # The extended codes have the plain one in their lowest byte.
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    said = str(error).lower()
    garbled = isinstance(error, UnicodeDecodeError) or any(sign in said for sign in SIGNS_OF_DAMAGE)
    if code in DAMAGED or garbled:
        return damaged(path, str(error))
    if code in LOCKED:
        return StoreUnwritable(
            f"{path} is locked: another process has been writing to it for {PATIENCE} s. Try again when that"
            f" is done (`fuser {path}` names the process)."
        )
    if code == sqlite3.SQLITE_READONLY:
        return StoreUnwritable(
            f"{path} cannot be written: the file, its folder or its disk is read-only. Name another store"
            " with --db, or bring this one into another with `noisybench runs merge`, which only reads it."
        )
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return StoreUnwritable(
            f"{path} cannot be written: {error}. Make room on its disk, if it is full; what the store has is"
            " safe, and the same command goes on from there."
        )
    if code == sqlite3.SQLITE_CANTOPEN:
        return StoreUnwritable(
            f"{path} cannot be opened as a store of runs: {error}. It must be a file of noisybench, or none"
            " yet, in a folder that can be written to, on a disk that is not full."
        )
    return StoreError(f"{path} cannot be read or written as a store of runs: {error}.")


def damaged(path: Path, how: str) -> StoreError:
    """The file is no store, or no longer; nothing in it was changed."""
    return StoreError(
        f"{path} is damaged, or no store of runs ({how}). Restore it from a copy; or save what can be"
        f" read of it: `sqlite3 {path} .recover | sqlite3 recovered.db`, then give --db recovered.db."
    )
