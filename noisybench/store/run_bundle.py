"""A run as plain values, to be sent to a store on another machine."""

import re
from dataclasses import dataclass
from pathlib import Path

from noisybench.errors import StoreError
from noisybench.store import Row, Store
from noisybench.store.ids import checked_id
from noisybench.store.schema import DETAILS, tables

FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True)
class RunBundle:
    """The rows of one run, by table, and the files of its folder, by name."""

    rows: dict[str, list[Row]]
    files: dict[str, bytes]

    @classmethod
    def of(cls, store: Store, run: str, files: bool = True) -> "RunBundle":
        """The run with this id; a completed one with its network, unless `files` says otherwise.

        The state of an unfinished run is left out.  Raises StoreError.
        """
        row = store.find(run)
        wanted = files and row["status"] == "completed"
        return cls(
            rows={"runs": [row], **{table: store.details(table, row["id"]) for table in DETAILS}},
            files={file.name: file.read_bytes() for file in store.files(row["id"])} if wanted else {},
        )

    def unpack(self, folder: Path) -> Path:
        """Make a store of this run alone in a folder, to be merged into another, and return its file.

        Raises StoreError, and writes nothing, if the content is not that of one run.
        """
        run = self._checked()
        host = re.sub(r"[^\w-]", "_", str(self.rows["runs"][0].get("host") or "node"))[:60]
        path = folder / f"{host}.db"
        store = Store.open(path)
        try:
            with store.transaction():
                for table, rows in self.rows.items():
                    for row in rows:
                        store.insert(table, row)
            if self.files:
                store.folder(run).mkdir(parents=True)
                for name, content in self.files.items():
                    (store.folder(run) / name).write_bytes(content)
        finally:
            store.conn.close()
        return path

    def _checked(self) -> str:
        """The id of the run.  Raises StoreError unless tables, columns, ids and file names are a run's."""
        known = {table: set(columns) for table, (columns, _) in tables().items()}
        if len(self.rows.get("runs", ())) != 1:
            raise StoreError("The bundle does not hold exactly one run.")
        run = checked_id(str(self.rows["runs"][0].get("id")))
        for table, rows in self.rows.items():
            owner = "id" if table == "runs" else "run"
            if any(not row.keys() <= known.get(table, set()) or row.get(owner) != run for row in rows):
                raise StoreError(
                    f"The bundle of run {run} has rows of table {table!r} that are not of this run."
                )
        for name in self.files:
            if not FILE_NAME.fullmatch(name):
                raise StoreError(
                    f"The bundle of run {run} has a file {name!r}, which is not the name of a run's file."
                )
        return run
