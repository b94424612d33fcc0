"""The tables and views of a store as DataFrames, for other tools."""

from typing import TYPE_CHECKING

from noisybench.errors import UnknownName
from noisybench.store import Store
from noisybench.store.schema import VIEWS, tables

if TYPE_CHECKING:
    import pandas as pd

NAMES = (*VIEWS, *tables())
# Of pandas, by the types that SQLite knows; an integer stays one where others are missing.
TYPES = {"INTEGER": "Int64", "FLOAT": "float64", "REAL": "float64", "TEXT": "string"}


def frame(store: Store, name: str) -> "pd.DataFrame":
    """A table or a view with the types that its columns were declared with.  Times are text, in ISO 8601.

    Raises UnknownName.
    """
    import pandas as pd

    if name not in NAMES:
        raise UnknownName("table of the store", name, NAMES)
    if name in ("epochs", "curves"):
        store.check_epochs()
    declared = store.query("SELECT name, type FROM pragma_table_info(?)", [name])
    types = {column["name"]: TYPES[column["type"]] for column in declared}
    # As objects at first: pandas would make floats of integers beside missing ones.
    rows = store.query(f"SELECT * FROM {name}")
    return pd.DataFrame(rows, columns=list(types), dtype=object).astype(types)
