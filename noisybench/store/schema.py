"""The tables and views of the store, and the migrations that make them.

A migration is applied once, in order, and never changed after a release.
"""

from collections.abc import Callable
from dataclasses import fields

from sqlite_utils import Database

from noisybench.config import Config, Epoch, Pruning, declared_fields
from noisybench.errors import StoreError


def config_columns() -> dict[str, type]:
    """The columns of `runs` that come from Config."""
    return {
        name: declared.type if declared.type in (int, float) else str
        for name, declared in declared_fields().items()
    }


def _create_tables(db: Database) -> None:
    db.table("runs").create(
        {
            "id": str,
            "identity": str,
            "attempt": int,
            "status": str,
            "reason": str,
            **config_columns(),
            "best_epoch": int,
            "val_accuracy": float,
            "test_accuracy": float,
            "last_test_accuracy": float,
            "n_train": int,
            "n_kept": int,
            "seconds": float,
            "device": str,
            "precision": str,
            "noisybench": str,
            "torch": str,
            "commit": str,
            "labels_sha256": str,
            "host": str,
            "pid": int,
            "started": str,
            "ended": str,
        },
        pk="id",
    )
    db.table("runs").create_index(["identity", "attempt"], unique=True)
    for table, kind in {"epochs": Epoch, "prunings": Pruning}.items():
        columns = {f.name: int if f.type is int else float for f in fields(kind)}
        db.table(table).create(
            {"run": str, **columns}, pk=("run", "epoch"), foreign_keys=[("run", "runs", "id")]
        )
    db.table("evaluations").create(
        {
            "run": str,
            "split": str,
            "n": int,
            "accuracy": float,
            "ece": float,
            "per_class": str,
            "confusion": str,
            "made": str,
        },
        pk=("run", "split"),
        foreign_keys=[("run", "runs", "id")],
    )


def _create_views(db: Database) -> None:
    db.create_view(
        "results",
        """
        SELECT * FROM runs WHERE id = (
            SELECT id FROM runs AS same WHERE same.identity = runs.identity
            ORDER BY same.status = 'completed' DESC, same.attempt DESC LIMIT 1
        )
        """,
    )
    db.create_view(
        "curves",
        """
        SELECT runs.dataset, runs.noise, runs.rate, runs.loss, runs.model, runs.seed, runs.status, epochs.*
        FROM epochs JOIN runs ON runs.id = epochs.run
        """,
    )


MIGRATIONS: list[Callable[[Database], None]] = [_create_tables, _create_views]


def migrate(db: Database) -> None:
    """Apply the migrations that the file has not had, all or none.  Raises StoreError for a newer file.

    Their number is SQLite's own `user_version`.
    """
    if _version(db) == len(MIGRATIONS) and not _new_fields(db):
        return
    with db.conn:
        # Of several processes that open a new file at once, one migrates and the others wait.
        db.conn.execute("BEGIN IMMEDIATE")
        for migration in MIGRATIONS[_version(db) :]:
            migration(db)
        for name in _new_fields(db):
            _add_field(db, name)
        db.conn.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def _version(db: Database) -> int:
    (version,) = db.conn.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise StoreError(
            f"The store was written by a newer noisybench (format {version}; this one reads up to"
            f" {len(MIGRATIONS)}). Upgrade noisybench to read it."
        )
    return int(version)


def _new_fields(db: Database) -> list[str]:
    """The fields that Config has gained since the store was made."""
    present = {name for (name,) in db.conn.execute("SELECT name FROM pragma_table_info('runs')")}
    return [name for name in config_columns() if name not in present]


def _add_field(db: Database, name: str) -> None:
    """Add a column for a field; earlier runs had its default."""
    (default,) = [f.default for f in fields(Config) if f.name == name]
    db.table("runs").add_column(name, config_columns()[name])
    db.conn.execute(f"UPDATE runs SET [{name}] = ?", [default])
