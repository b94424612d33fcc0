"""The form of a run's id and of a config's identity.

Folders are named by ids, and a store may come from somebody else: ids of another form are refused.
"""

import re
import sqlite3
from typing import NamedTuple

from noisybench.errors import StoreError

FORM = re.compile(r"[0-9a-f]{12}(-[1-9][0-9]{0,8})?")

# The forms in SQL, which checks 100,000 rows in 0.1 s.  A text with a zero byte, where SQL may stop reading,
# has more bytes than characters.
HEX = "[0-9a-f]"
ASCII = "typeof({0}) = 'text' AND length({0}) = length(CAST({0} AS BLOB))"
IDENTITY = f"{ASCII} AND {{0}} GLOB '{HEX * 16}'"
RUN_ID = (
    f"{ASCII} AND ({{0}} GLOB '{HEX * 12}' OR {{0}} GLOB '{HEX * 12}-[1-9]*' AND length({{0}}) <= 22"
    " AND substr({0}, 14) NOT GLOB '*[^0-9]*')"
)
ATTEMPT = "typeof({0}) = 'integer' AND {0} BETWEEN 1 AND 999999999"

# The columns that hold ids, identities and attempts, by table.
ID_COLUMNS = {
    "runs": {"id": RUN_ID, "identity": IDENTITY, "attempt": ATTEMPT},
    "epochs": {"run": RUN_ID},
    "prunings": {"run": RUN_ID},
    "transitions": {"run": RUN_ID, "estimated_by": RUN_ID},
    "evaluations": {"run": RUN_ID},
}


class WrongRow(NamedTuple):
    """A row that noisybench would not write, and what is wrong with it."""

    table: str
    rowid: int
    problem: str

    def __str__(self) -> str:
        return f"row {self.rowid} of table {self.table} has {self.problem}"


def run_id(identity: str, attempt: int) -> str:
    """The id of the `attempt`-th attempt, from 1, at the config with this identity."""
    return checked_id(identity[:12] + (f"-{attempt}" if attempt > 1 else ""))


def checked_id(run: str) -> str:
    """The id itself.  Raises StoreError if it does not have the form of one."""
    if not FORM.fullmatch(run):
        raise StoreError(
            f"{run!r} is not the id of a run: ids are 12 hexadecimal digits, with -2, -3, … for further"
            " attempts."
        )
    return run


def malformed_id(conn: sqlite3.Connection, tables: tuple[str, ...]) -> WrongRow | None:
    """The first row of these tables with an id, identity or attempt of another form."""
    for table in tables:
        for name, form in ID_COLUMNS[table].items():
            # Of NULL, a condition is neither true nor false.
            condition = f"({form.format(name)}) IS NOT TRUE"
            found = conn.execute(f"SELECT rowid, {name} FROM {table} WHERE {condition}").fetchone()
            if found:
                return WrongRow(table, found[0], f"{repr(found[1])[:80]} as {name}")
    return None
