"""A run on its way from one store to another, where no file can be reached by both."""

from dataclasses import dataclass
from pathlib import Path

from noisybench.store import Row, Store

TABLES = ("epochs", "prunings", "transitions", "evaluations")


@dataclass(frozen=True)
class Parcel:
    """The rows of one run, by table, and the files of its folder, by name: plain values, to be sent."""

    rows: dict[str, list[Row]]
    files: dict[str, bytes]

    @classmethod
    def of(cls, store: Store, run: str, files: bool = True) -> "Parcel":
        """The run with this id; a completed one with its network, unless `files` says otherwise.

        What an unfinished run needs to go on stays where it is.  Raises StoreError.
        """
        row = store.find(run)
        folder = store.folder(row["id"])
        wanted = files and row["status"] == "completed" and folder.is_dir()
        return cls(
            rows={"runs": [row], **{table: store.details(table, row["id"]) for table in TABLES}},
            files={file.name: file.read_bytes() for file in folder.iterdir()} if wanted else {},
        )

    def unpack(self, path: Path) -> Path:
        """Make a store of this run alone at `path`, to be merged into another."""
        store = Store.open(path)
        with store.transaction():
            for table, rows in self.rows.items():
                for row in rows:
                    store.insert(table, row)
        store.conn.close()
        if self.files:
            folder = store.folder(str(self.rows["runs"][0]["id"]))
            folder.mkdir(parents=True)
            for name, content in self.files.items():
                (folder / name).write_bytes(content)
        return path
