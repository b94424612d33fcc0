"""Checks that a store is intact: SQLite's own check, and the types, numbers, states and ids in its rows."""

import sqlite3
from collections.abc import Iterable
from dataclasses import MISSING, fields
from typing import Any, get_type_hints

from noisybench.config import declared_fields
from noisybench.results import Epoch, Pruning, Result
from noisybench.store.ids import ID_COLUMNS, malformed_id
from noisybench.store.schema import tables
from noisybench.store.sqlite_errors import WrongRow

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
