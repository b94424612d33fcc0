"""The SQLite store of runs: migrate, add, query.

Tables: `runs` (one row per attempt at a Config, with a column for each of its fields), `epochs`,
`prunings`, `evaluations`, and `transitions` (estimated and actual transition matrices, as JSON).
Views for readers: `results` (the row that counts for each Config: the attempt that completed last, else the
newest) and `curves` (epochs with the settings of their run).  Accuracies are fractions from 0 to 1,
times are UTC in ISO 8601.  Networks lie in a folder beside the file, one folder a run.
"""

import json
import math
import socket
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noisybench.config import Config
from noisybench.errors import InvalidValue, RunBusy, RunCompleted, StoreError, StoreUnwritable
from noisybench.results import Epoch, Provenance, Pruning, Result
from noisybench.store.host import is_alive, is_running
from noisybench.store.ids import run_id
from noisybench.store.schema import APPLICATION
from noisybench.store.tables import Row as Row
from noisybench.store.tables import Tables, copied_database, open_database

if TYPE_CHECKING:
    import pandas as pd

Matrix = list[list[float]]

# The revision of the estimation of T̂.  Revision 1 used the training part alone, without validation images.
ESTIMATE_REVISION = 2

# Columns that list several places if a run was resumed elsewhere, and the text between the places.
PLACES = ("device", "cpu")
RESUMED = ", then "


@dataclass(frozen=True)
class Estimate:
    """An estimated transition matrix, (classes, classes), and the id of the run whose network made it."""

    run: str
    matrix: Matrix


class Store(Tables):
    """The runs in one SQLite file."""

    @classmethod
    def open(cls, path: Path, create: bool = True) -> "Store":
        """Open the store and bring its tables up to date.  Raises StoreError."""
        if not create and not path.exists():
            raise StoreError(f"There is no store {path}. `noisybench train` or `sweep` makes one.")
        if not path.absolute().parent.is_dir():
            raise StoreError(f"{path} cannot be opened: there is no folder {path.absolute().parent}.")
        store = cls(path, open_database(path))
        store.end_dead_runs()
        return store

    @classmethod
    def read(cls, path: Path) -> "Store":
        """Open an existing store for reading.  Raises StoreError.

        If the store cannot be written, as on a full or read-only disk, this is a private copy.
        """
        try:
            return cls.open(path, create=False)
        except StoreUnwritable:
            store = cls.copy(path)
        store.end_dead_runs()
        return store

    @classmethod
    def copy(cls, path: Path) -> "Store":
        """A private copy of the store at this moment; its networks are those beside the file.  Raises
        StoreError."""
        return cls(path, copied_database(path))

    # Writing

    def begin(self, config: Config, provenance: Provenance, again: bool = True) -> str:
        """Record a run as running and return its id.

        An unfinished attempt at the same config continues under its id, with the epochs that it has (see
        `rewind`); beside completed ones, a new attempt begins.  Raises RunBusy if a process of this machine
        trains one now; without `again`, RunCompleted if one has completed.
        """
        with self.transaction():
            earlier = self.query(
                "SELECT id, attempt, status, host, pid, began, device, cpu FROM runs WHERE identity = ?"
                " ORDER BY attempt",
                [config.identity],
            )
            done = next((row["id"] for row in earlier if row["status"] == "completed"), None)
            if done and not again:
                raise RunCompleted(f"Run {done} has completed already.")
            unfinished = next((row for row in earlier if row["status"] != "completed"), None)
            if unfinished and is_alive(unfinished, provenance.host):
                raise _busy(unfinished)
            last = earlier[-1]["attempt"] if earlier else 0
            attempt = unfinished["attempt"] if unfinished else last + 1
            # A run of an older store keeps the id that it had before its identity changed.
            run = unfinished["id"] if unfinished else run_id(config.identity, attempt)
            row = {
                "id": run,
                "identity": config.identity,
                "attempt": attempt,
                "status": "running",
                **config.row(),
                **asdict(provenance),
                "started": _now(),
            }
            if unfinished:
                row |= {name: _resumed_on(unfinished[name], row[name]) for name in PLACES}
            self.insert("runs", row)
        return run

    def rewind(self, run: str, epoch: int) -> tuple[list[Epoch], list[Pruning]]:
        """Delete what a run measured after `epoch`, and return its earlier epochs and prunings."""
        with self.transaction():
            for table in ("epochs", "prunings"):
                self.conn.execute(f"DELETE FROM {table} WHERE run = ? AND epoch > ?", [run, epoch])
            if not epoch:
                # Nothing that was computed elsewhere is left.
                row = self.find(run)
                last = [str(row[name] or "").split(RESUMED)[-1] for name in PLACES]
                sets = ", ".join(f"{name} = ?" for name in PLACES)
                self.conn.execute(f"UPDATE runs SET {sets} WHERE id = ?", [*last, run])
        events = self._events
        return [Epoch(**r) for r in events("epochs", run)], [Pruning(**r) for r in events("prunings", run)]

    def add(self, run: str, event: Epoch | Pruning) -> None:
        """Store an epoch or a pruning of a run.  It may be lost in a power failure until `sync`."""
        table = "epochs" if isinstance(event, Epoch) else "prunings"
        with self.transaction(durable=False):
            self.insert(table, {"run": run, **asdict(event)})

    def sync(self) -> None:
        """Write what `add` stored to the disk: a saved state of a run relies on its rows."""
        with self.transaction():
            # An empty transaction, or one that leaves a row as it is, would write nothing to the disk.
            self.conn.execute(f"PRAGMA application_id = {APPLICATION}")

    def add_evaluation(self, run: str, split: str, measures: Mapping[str, Any]) -> None:
        """Store what was measured on a split, in place of an earlier evaluation."""
        with self.transaction():
            self.insert("evaluations", {"run": run, "split": split, **measures, "made": _now()})

    def add_transition(self, run: str, estimate: Estimate, actual: Matrix | None) -> None:
        """Store the transition matrix that was estimated for a run, and the actual one of its noise, if it
        has one."""
        matrices = {"estimated": json.dumps(estimate.matrix), "actual": json.dumps(actual)}
        row = {"run": run, "estimated_by": estimate.run, **matrices, "revision": ESTIMATE_REVISION}
        with self.transaction():
            self.insert("transitions", row)

    def complete(self, run: str, result: Result, reason: str = "") -> None:
        """Record what a run measured.  reason: why it ended before its last epoch, if it did."""
        with self.transaction():
            self._set(run, "completed", {**asdict(result), "reason": reason or None})

    def end(self, run: str, status: str, reason: str) -> None:
        """Record that a run failed or was interrupted, and why; a run that has completed stays completed."""
        if self.find(run)["status"] != "completed":
            with self.transaction():
                self._set(run, status, {"reason": reason})

    def delete(self, runs: Iterable[str]) -> None:
        """Delete runs, all that belongs to them, and their networks.

        Raises RunBusy for a run that a process of this machine is training now.
        """
        for run in runs:
            with self.transaction():
                row = self.find(run)
                if is_alive(row, socket.gethostname()):
                    raise _busy(row)
                # Raises before anything is deleted if the folder is not the store's own.
                self.folder(row["id"])
                self.forget(row["id"])
            self.remove_folder(row["id"])

    def end_dead_runs(self) -> None:
        """Mark as interrupted the runs of processes that were killed on this machine."""
        here = socket.gethostname()
        running = "SELECT id, host, pid, began FROM runs WHERE status = 'running' AND host = ?"

        def dead() -> list[Row]:
            return [row for row in self.query(running, [here]) if not is_running(row["pid"], row["began"])]

        if dead():
            with self.transaction():
                # Checked again: another process may have continued a run meanwhile.
                for row in dead():
                    self._set(row["id"], "interrupted", {"reason": f"process {row['pid']} was killed"})

    def _set(self, run: str, status: str, values: Mapping[str, Any]) -> None:
        """Write how a run ended; within a transaction.

        The attempt that completes last counts, also where the clock was set back since an earlier one.
        """
        earlier = self.query(
            "SELECT max(ended) AS ended FROM runs WHERE status = 'completed'"
            " AND identity = (SELECT identity FROM runs WHERE id = ?)",
            [run],
        )
        row = {"status": status, "ended": _after(earlier[0]["ended"]), **values}
        self.conn.execute(
            f"UPDATE runs SET {', '.join(f'{name} = ?' for name in row)} WHERE id = ?", [*row.values(), run]
        )

    # Reading

    def results(self) -> "pd.DataFrame":
        """The view `results` as a DataFrame, one row per config."""
        import pandas as pd

        # Most columns have one value in all runs; it is read once.
        with self.sqlite_errors(), self.conn:
            self.conn.execute("BEGIN")
            cursor = self.conn.execute("SELECT * FROM runs LIMIT 1")
            names = [column[0] for column in cursor.description]
            first = cursor.fetchone() or [None] * len(names)
            differs = ", ".join(f"max([{name}] IS NOT ?)" for name in names)
            differing = self.conn.execute(f"SELECT {differs} FROM runs", first).fetchone()
            constant = {
                name: value
                for name, value, varies in zip(names, first, differing, strict=True)
                if name != "id" and not varies
            }
            varying = ", ".join(f"[{name}]" for name in names if name not in constant)
            frame = self.frame(f"SELECT {varying} FROM results")
        columns = {name: constant.get(name) if name in constant else frame[name] for name in names}
        return pd.DataFrame(columns, index=frame.index)

    def epochs(self, columns: Sequence[str] = (), runs: Collection[str] | None = None) -> "pd.DataFrame":
        """The epochs of the runs in `results`, in order: `run` is the run's id.

        columns: those that are read beside `run` and `epoch`, by default all.  runs: the ids of some.
        """
        names = ", ".join(f"[{name}]" for name in ("run", "epoch", *columns)) if columns else "*"
        chosen = "SELECT id FROM results" if runs is None else "SELECT value FROM json_each(?)"
        values = [] if runs is None else [json.dumps(sorted(runs))]
        self.check_epochs(f"run IN ({chosen})", values)
        return self.frame(f"SELECT {names} FROM epochs WHERE run IN ({chosen}) ORDER BY run, epoch", values)

    def mean_curves(self, groups: Mapping[str, int], measures: Sequence[str]) -> "pd.DataFrame":
        """Mean learning curves of groups of runs.

        groups: the group of each run, by the run's id.  measures: numeric columns of `epochs`.
        Returns the columns `group` and `epoch`, and for each measure its mean under the measure's own name,
        `…_std` (sample standard deviation, n - 1; missing for one run) and `…_n`, the runs that have it.
        """
        sums = ", ".join(f"avg([{m}]), sum([{m}] * [{m}]), count([{m}])" for m in measures)
        wrong = " OR ".join(f"typeof([{m}]) NOT IN ('real', 'null')" for m in measures)
        own = json.dumps(groups, sort_keys=True)
        # In the order of ids, so that the last bits do not depend on the order of the rows.
        found = self.frame(
            f"SELECT own.value AS [group], epoch, {sums}, max({wrong}) AS wrong FROM json_each(?) AS own"
            " CROSS JOIN epochs ON epochs.run = own.key GROUP BY 1, 2 ORDER BY 1, 2",
            [own],
        )
        if found["wrong"].any():
            self.check_epochs("run IN (SELECT key FROM json_each(?))", [own])
        curves = found.iloc[:, :2].copy()
        for at, measure in enumerate(measures):
            mean, squares, n = (found.iloc[:, 2 + 3 * at + i].astype(float) for i in range(3))
            variance = (squares - n * mean**2).clip(lower=0) / (n - 1).where(n > 1)
            # Below the rounding error of the sum of squares, values are equal.
            std = variance.where(variance > 1e-14 * mean**2, 0 * variance) ** 0.5
            curves[measure], curves[f"{measure}_std"], curves[f"{measure}_n"] = mean, std, n.astype(int)
        return curves

    def runs(
        self, columns: Sequence[str] = (), limit: int | None = None, ids: Collection[str] | None = None
    ) -> list[Row]:
        """Attempts, by default all, the newest first.

        columns: by default all.  limit: of how many at most.  ids: of which runs only.
        """
        names = ", ".join(f"[{name}]" for name in columns) or "*"
        chosen = "" if ids is None else "WHERE id IN (SELECT value FROM json_each(?))"
        values = [] if ids is None else [json.dumps(list(ids))]
        limited = [*values, -1 if limit is None else limit]
        return self.query(f"SELECT {names} FROM runs {chosen} ORDER BY started DESC, id LIMIT ?", limited)

    def completed(self, identity: str) -> Row | None:
        """The run that counts for a config, if it has completed."""
        rows = self.query("SELECT * FROM results WHERE identity = ? AND status = 'completed'", [identity])
        return rows[0] if rows else None

    def estimate(self, identity: str) -> Estimate | None:
        """The transition matrix that the completed run of a config estimated, in the current revision; None
        without one."""
        row = self.completed(identity)
        for matrices in [] if row is None else self.details("transitions", row["id"]):
            if matrices["revision"] == ESTIMATE_REVISION:
                return Estimate(matrices["run"], self.matrices(matrices)[0])
        return None

    def matrices(self, row: Row) -> tuple[Matrix, Matrix | None]:
        """The estimated and the actual transition matrix in a row of `transitions`.  Raises StoreError unless
        they are square, of one size, of finite numbers."""
        try:
            estimated, actual = json.loads(row["estimated"]), json.loads(row["actual"])
            rows = [*estimated, *(estimated if actual is None else actual)]
            if len(rows) == 2 * len(estimated) > 0 and all(len(each) == len(estimated) for each in rows):
                if all(math.isfinite(value) for each in rows for value in each):
                    return estimated, actual
        except (ValueError, TypeError, RecursionError, OverflowError):
            pass
        raise StoreError(
            f"{self.path} is damaged, or was not written by noisybench: run {row['run']} has invalid"
            " transition matrices. Train the run again with --force, or delete it."
        )

    def find(self, run: str) -> Row:
        """The run whose id is `run` or begins with it.  Raises StoreError or InvalidValue."""
        rows = self.query("SELECT * FROM runs WHERE id = ?", [run]) or self.query(
            "SELECT * FROM runs WHERE substr(id, 1, ?) = ?", [len(run), run]
        )
        if not rows or not run:
            newest = ", ".join(row["id"] for row in self.runs(["id"], limit=3)) or "none"
            raise StoreError(
                f"No run is called '{run}'. `noisybench runs list` lists all runs; the newest: {newest}."
            )
        if len(rows) > 1:
            matches = ", ".join(row["id"] for row in rows[:5])
            raise InvalidValue(
                f"'{run}' is the beginning of {len(rows)} ids: {matches}. Give more characters."
            )
        return rows[0]

    def find_completed(self, run: str) -> Row:
        """As `find`, but raises StoreError for a run that did not complete: it has no network."""
        row = self.find(run)
        if row["status"] != "completed":
            raise StoreError(f"Run {row['id']} is {row['status']}; only a completed run has a network.")
        return row

    def attempts(self, identity: str) -> list[Row]:
        """All attempts at a config, the newest first."""
        return self.query("SELECT * FROM runs WHERE identity = ? ORDER BY attempt DESC", [identity])

    def epoch_seconds(self, columns: Iterable[str], host: str, device: str) -> list[Row]:
        """The seconds of each epoch, with its pruning, that this host measured on this device, with columns
        of its run."""
        names = ", ".join(f"runs.[{name}]" for name in columns)
        return self.query(
            f"SELECT {names}, epochs.seconds + COALESCE(prunings.seconds, 0) AS seconds"
            " FROM epochs JOIN runs ON runs.id = epochs.run"
            " LEFT JOIN prunings ON prunings.run = epochs.run AND prunings.epoch = epochs.epoch"
            " WHERE runs.host = ? AND runs.device = ?",
            [host, device],
        )

    def _events(self, table: str, run: str) -> list[Row]:
        return [{name: row[name] for name in row if name != "run"} for row in self.details(table, run)]


def _resumed_on(earlier: str | None, now: str) -> str:
    """The places of a resumed run: the earlier ones and this one."""
    if not earlier or earlier.split(RESUMED)[-1] == now:
        return earlier or now
    return f"{earlier}{RESUMED}{now}"


def _now() -> str:
    # In milliseconds, so that of two attempts on two machines one ended last.
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _after(earlier: str | None) -> str:
    """The time now; if the clock was set back to before `earlier`, the time just after that."""
    now = _now()
    with suppress(ValueError, OverflowError):  # a time that noisybench did not write
        if earlier and earlier >= now:
            later = datetime.fromisoformat(earlier) + timedelta(milliseconds=1)
            return later.isoformat(timespec="milliseconds")
    return now


def _busy(row: Mapping[str, Any]) -> RunBusy:
    return RunBusy(f"Run {row['id']} is being trained now by process {row['pid']}.")
