"""A copy of a store at one moment; the file and its folder are not changed."""

import sqlite3
from pathlib import Path

from noisybench.errors import StoreError
from noisybench.store import Store
from noisybench.store.integrity import find_damage, find_wrong_row
from noisybench.store.schema import migrate, tables
from noisybench.store.sqlite_errors import APPLICATION, ERRORS


def snapshot(path: Path) -> Store:
    """A private copy of the store, migrated to the tables of today; its networks are those beside the file.

    Raises StoreError for a file that is missing, damaged, not a store, or of a newer noisybench.
    """
    if not path.is_file():
        raise StoreError(f"There is no store {path}.")
    try:
        conn = _copied(path)
        (owner,) = conn.execute("PRAGMA application_id").fetchone()
        if owner != APPLICATION:
            raise StoreError("It is not a store of noisybench.")
        migrate(conn)
        problem = find_damage(conn) or find_wrong_row(conn)
        if problem:
            raise StoreError(f"It is damaged ({problem}).")
        _check_columns(conn)
    except ERRORS as error:
        raise StoreError(f"{path} cannot be read as a store of runs: {error}.") from None
    except StoreError as error:
        raise StoreError(f"{path} cannot be read as a store of runs. {error}") from None
    return Store(path, conn)


def _copied(path: Path) -> sqlite3.Connection:
    """A copy of the file in a temporary one, which SQLite deletes with the connection."""
    log = path.with_name(f"{path.name}-wal")
    while True:
        # Without a log, or with an empty one as a full disk leaves, nobody writes.  "immutable" then makes
        # SQLite read the file without making a log.
        quiet = not _has_content(log)
        uri = f"{path.absolute().as_uri()}?{'immutable=1' if quiet else 'mode=ro'}"
        source, copy = sqlite3.connect(uri, uri=True, timeout=30), sqlite3.connect("")
        try:
            source.backup(copy)
        finally:
            source.close()
        if not (quiet and _has_content(log)):
            return copy


def _has_content(file: Path) -> bool:
    return file.exists() and file.stat().st_size > 0


def _check_columns(conn: sqlite3.Connection) -> None:
    """Raise StoreError if the store has columns that this noisybench would lose."""
    for table, (columns, _) in tables().items():
        rows = conn.execute("SELECT name FROM pragma_table_info(?)", [table])
        unknown = {name for (name,) in rows} - columns.keys()
        if unknown:
            raise StoreError(
                f"Its table {table} has columns that this noisybench does not know"
                f" ({', '.join(sorted(unknown))}). Upgrade noisybench to read it."
            )
