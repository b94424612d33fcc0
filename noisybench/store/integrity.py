"""Checks that a store is intact: SQLite's own check, types of values, states and ids."""

import sqlite3

from noisybench.store.ids import ID_COLUMNS, malformed_id
from noisybench.store.schema import tables

# The types of SQLite that the values of a column can have, by its declared type.
STORED_AS = {int: ("integer", "null"), float: ("real", "null"), str: ("text", "null")}
JSON = {"transitions": ("estimated", "actual")}
STATES = ("running", "completed", "failed", "interrupted")


def find_problem(conn: sqlite3.Connection) -> str:
    """What is wrong with a store whose tables are up to date, or "" if nothing is.

    A number that was replaced by another number is not found: SQLite keeps no checksums of its pages.
    """
    (found,) = conn.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        return " ".join(found.split())
    for table, (columns, key) in tables().items():
        conditions = [
            f"typeof([{name}]) NOT IN ({', '.join(map(repr, STORED_AS[kind]))})"
            for name, kind in columns.items()
        ]
        conditions += [f"[{name}] IS NULL" for name in key]
        conditions += [f"NOT json_valid([{name}])" for name in JSON.get(table, ())]
        if table == "runs":
            conditions.append(f"status NOT IN ({', '.join(map(repr, STATES))})")
        query = f"SELECT 1 FROM {table} WHERE {' OR '.join(conditions)} LIMIT 1"
        if conn.execute(query).fetchone():
            return f"table {table} has values that it cannot have"
    return malformed_id(conn, tuple(ID_COLUMNS))
