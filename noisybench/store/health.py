"""Whether a file still is what was written to it, as far as SQLite can tell."""

import sqlite3

from noisybench.store.ids import ID_COLUMNS, malformed_id
from noisybench.store.schema import tables

# Of the types that columns are declared with, the ones that their values can have.
STORED_AS = {int: ("integer", "null"), float: ("real", "null"), str: ("text", "null")}
JSON = {"transitions": ("estimated", "actual")}
STATES = ("running", "completed", "failed", "interrupted")


def complaint(conn: sqlite3.Connection) -> str:
    """What is wrong with a store whose tables are those of today: "" if nothing is found.

    A number that became another one leaves no trace: SQLite keeps no checksums of what is in its pages.
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
