"""Opening a store's file, or a copy of it, and reading and writing its rows in transactions.

Errors of SQLite become StoreError.
"""

import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noisybench.errors import StoreError, UnknownName
from noisybench.store.ids import ID_COLUMNS, checked_id
from noisybench.store.integrity import (
    ERRORS,
    damaged_store,
    find_damage,
    find_wrong_row,
    find_wrong_value,
    store_error,
    wrong_row,
)
from noisybench.store.schema import APPLICATION, BUSY_TIMEOUT, DETAILS, VIEWS, migrate, tables

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]

# A store of up to this many bytes is checked whenever it is opened (0.1 s); `merge` checks all sizes.
CHECKED = 8 * 2**20
# Of larger ones, these tables; the many epochs are checked where they are read.
UNLESS_SMALL = ("runs", "prunings", "transitions", "evaluations")

# Of pandas, by the types that SQLite knows; an integer stays one where others are missing.
TYPES = {"INTEGER": "Int64", "FLOAT": "float64", "REAL": "float64", "TEXT": "string"}


class Tables:
    """The tables in one SQLite file; networks lie beside it, in a folder a run."""

    def __init__(self, path: Path, conn: sqlite3.Connection) -> None:
        self.path, self.conn = path, conn

    @contextmanager
    def sqlite_errors(self) -> Iterator[None]:
        """Raise errors of SQLite within as StoreError."""
        try:
            yield
        except ERRORS as error:
            raise store_error(self.path, error) from None

    @contextmanager
    def transaction(self, durable: bool = True) -> Iterator[None]:
        """Write all changes within or none; no other process writes meanwhile.  Raises StoreError.

        durable: the changes are on the disk at the end.  Otherwise a power failure, but no other failure, may
        undo the transaction as a whole, until the next durable one.
        """
        with self.sqlite_errors(), self.conn:
            self.conn.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            # IMMEDIATE locks before the first read: what is read within is still true when it is written.
            self.conn.execute("BEGIN IMMEDIATE")
            yield

    def insert(self, table: str, row: Mapping[str, Any]) -> None:
        """Write a row, in place of one with its key; within a transaction."""
        # Plain SQL: sqlite-utils would commit by itself and read the table's columns each time.
        columns = ", ".join(f"[{name}]" for name in row)
        holes = ", ".join("?" * len(row))
        self.conn.execute(f"INSERT OR REPLACE INTO {table} ({columns}) VALUES ({holes})", [*row.values()])

    def forget(self, run: str) -> None:
        """Delete all rows of a run; within a transaction."""
        for table in DETAILS:
            self.conn.execute(f"DELETE FROM {table} WHERE run = ?", [run])
        self.conn.execute("DELETE FROM runs WHERE id = ?", [run])

    def query(self, sql: str, values: Iterable[Any] = ()) -> list[Row]:
        """The rows that a query finds.  Raises StoreError."""
        with self.sqlite_errors():
            cursor = self.conn.execute(sql, list(values))
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def frame(self, sql: str, values: Iterable[Any] = ()) -> "pd.DataFrame":
        """The same as a DataFrame."""
        import pandas as pd

        try:
            return pd.read_sql_query(sql, self.conn, params=list(values))
        except (pd.errors.DatabaseError, *ERRORS) as error:
            raise store_error(self.path, error) from None

    def table(self, name: str) -> "pd.DataFrame":
        """A table or a view with the types that its columns were declared with, for other tools.  Times are
        text, in ISO 8601.

        Raises UnknownName.
        """
        import pandas as pd

        names = (*VIEWS, *tables())
        if name not in names:
            raise UnknownName("table of the store", name, names)
        if name in ("epochs", "curves"):
            self.check_epochs()
        declared = self.query("SELECT name, type FROM pragma_table_info(?)", [name])
        types = {column["name"]: TYPES[column["type"]] for column in declared}
        # As objects at first: pandas would make floats of integers beside missing ones.
        rows = self.query(f"SELECT * FROM {name}")
        return pd.DataFrame(rows, columns=list(types), dtype=object).astype(types)

    def details(self, table: str, run: str) -> list[Row]:
        """The rows of `epochs`, `prunings`, `transitions` or `evaluations` that belong to a run."""
        if table == "epochs":
            self.check_epochs("run = ?", [run])
        return self.query(f"SELECT * FROM {table} WHERE run = ? ORDER BY rowid", [run])

    def check_epochs(self, condition: str = "TRUE", values: Iterable[Any] = ()) -> None:
        """Raise StoreError if some of these epochs are not what noisybench writes; opening a large store does
        not read them."""
        with self.sqlite_errors():
            wrong = find_wrong_value(self.conn, "epochs", condition, values)
        if wrong:
            raise wrong_row(self.path, wrong)

    @property
    def networks(self) -> Path:
        """The folder of all networks, with a folder a run.  Raises StoreError if it is a symbolic link."""
        folder = self.path.with_name(f"{self.path.name}-runs")
        _refuse_link(folder)
        return folder

    def folder(self, run: str) -> Path:
        """The folder of the network of the run with this id, which may not exist yet.

        Raises StoreError for an id of another form and for a folder that is a symbolic link: the runs of a
        store are read, written and deleted beside its file only.
        """
        folder = self.networks / checked_id(run)
        _refuse_link(folder)
        return folder

    def files(self, run: str) -> list[Path]:
        """The files of a run, but for half-written ones.

        Raises StoreError for anything but a plain file: a link might lead to a file outside the run.
        """
        folder = self.folder(run)
        found = sorted(folder.iterdir()) if folder.is_dir() else []
        for file in found:
            if file.is_symlink() or not file.is_file():
                raise StoreError(f"{file} is not a plain file, as all files of a run must be. Remove it.")
        return [file for file in found if file.suffix not in (".tmp", ".part")]

    def remove_folder(self, run: str) -> None:
        shutil.rmtree(self.folder(run), ignore_errors=True)


def _refuse_link(folder: Path) -> None:
    if folder.is_symlink():
        raise StoreError(
            f"{folder} is a symbolic link, which a store does not follow. Move the folder itself to this"
            " place, or remove the link."
        )


def open_database(path: Path) -> sqlite3.Connection:
    """A connection to the database in this file, with the tables of today.  Raises StoreError."""
    try:
        conn = sqlite3.connect(path, timeout=BUSY_TIMEOUT)
        migrate(conn)
        small = path.exists() and path.stat().st_size <= CHECKED
        damage = find_damage(conn) if small else ""
        wrong = None if damage else find_wrong_row(conn, ID_COLUMNS if small else UNLESS_SMALL)
    except ERRORS as error:
        raise store_error(path, error) from None
    except StoreError as error:
        raise StoreError(f"{path}: {error}") from None
    if damage or wrong:
        conn.close()
        raise wrong_row(path, wrong) if wrong else damaged_store(path, damage)
    return conn


def copied_database(path: Path) -> sqlite3.Connection:
    """A private copy of the database in this file at one moment, with the tables of today; the file and its
    folder are not changed.

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
    return conn


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
