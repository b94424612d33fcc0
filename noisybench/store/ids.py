"""The form of a run's id and of a config's identity.

Folders are named by ids, and a store may come from somebody else: ids of another form are refused.
"""

import re
import sqlite3
from typing import Any

from noisybench.errors import StoreError
from noisybench.store.sqlite_errors import WrongRow

IDENTITY = re.compile(r"[0-9a-f]{16}")
RUN_ID = re.compile(r"[0-9a-f]{12}(-[1-9][0-9]{0,8})?")

HEX = "[0-9a-f]"
# The same forms in SQL, which checks 100,000 rows in 0.1 s.  A text with a zero byte, where SQL may stop
# reading, has more bytes than characters.
ASCII = "typeof({0}) = 'text' AND length({0}) = length(CAST({0} AS BLOB))"
IN_SQL = {
    IDENTITY: f"{ASCII} AND {{0}} GLOB '{HEX * 16}'",
    RUN_ID: f"{ASCII} AND ({{0}} GLOB '{HEX * 12}' OR {{0}} GLOB '{HEX * 12}-[1-9]*' AND length({{0}}) <= 22"
    " AND substr({0}, 14) NOT GLOB '*[^0-9]*')",
}

# The columns that hold ids and identities, by table.
ID_COLUMNS = {
    "runs": {"id": RUN_ID, "identity": IDENTITY},
    "epochs": {"run": RUN_ID},
    "prunings": {"run": RUN_ID},
    "transitions": {"run": RUN_ID, "estimated_by": RUN_ID},
    "evaluations": {"run": RUN_ID},
}


def run_id(identity: str, attempt: int) -> str:
    """The id of the `attempt`-th attempt, from 1, at the config with this identity."""
    return checked_id(identity[:12] + (f"-{attempt}" if attempt > 1 else ""))


def checked_id(run: str) -> str:
    """The id itself.  Raises StoreError if it does not have the form of one."""
    if not has_form(RUN_ID, run):
        raise StoreError(
            f"{run!r} is not the id of a run: ids are 12 hexadecimal digits, with -2, -3, … for further"
            " attempts."
        )
    return run


def has_form(form: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and form.fullmatch(value) is not None


def malformed_id(conn: sqlite3.Connection, tables: tuple[str, ...]) -> WrongRow | None:
    """The first row of these tables with an id, identity or attempt of another form."""
    for table in tables:
        forms = {name: IN_SQL[form].format(name) for name, form in ID_COLUMNS[table].items()}
        if table == "runs":
            forms["attempt"] = "typeof(attempt) = 'integer' AND attempt BETWEEN 1 AND 999999999"
        for name, form in forms.items():
            # Of NULL, a condition is neither true nor false.
            found = conn.execute(f"SELECT rowid, {name} FROM {table} WHERE ({form}) IS NOT TRUE").fetchone()
            if found:
                return WrongRow(table, found[0], f"{repr(found[1])[:80]} as {name}")
    return None
