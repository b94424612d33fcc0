"""Attempts at a config as a merge compares them: whether two are the same run, and whether both can be."""

import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import combinations, zip_longest
from typing import Any

from noisybench.config import Result
from noisybench.store import Row, Store

MEASURED = tuple(f.name for f in fields(Result) if f.name != "seconds")
# Of two trainings of one config that share these, each number must be the same; but not on a GPU,
# where sums are added up in whichever order comes first.
SETTING = ("device", "precision", "noisybench", "torch", "commit")
# What a run measured, apart from where and how fast: these tables, without these columns.
TABLES = ("epochs", "prunings", "transitions")
APART = ("run", "seconds", "estimated_by")


@dataclass(frozen=True, eq=False)
class Attempt:
    """A run of a store.

    content: of completed attempts at one config, the same for those that measured the same; of others,
    for those that are copies of one.  epochs: how many were stored.
    """

    store: Store
    row: Row
    content: str
    epochs: int

    @property
    def id(self) -> str:
        return str(self.row["id"])

    @property
    def identity(self) -> str:
        return str(self.row["identity"])

    @property
    def number(self) -> int:
        return int(self.row["attempt"])

    @property
    def completed(self) -> bool:
        return bool(self.row["status"] == "completed")

    @property
    def running(self) -> bool:
        return bool(self.row["status"] == "running")

    @property
    def age(self) -> tuple[str, ...]:
        """Sorts attempts by when they ended, and any two that differ always the same way."""
        return (*(str(self.row[name] or "") for name in ("ended", "started", "host", "pid")), self.content)

    @property
    def progress(self) -> tuple[int, tuple[str, ...]]:
        """Sorts unfinished attempts by how far they came."""
        return self.epochs, self.age

    def at_rest(self) -> "Attempt":
        """The attempt as a copy of it is: what was running is interrupted."""
        if not self.running:
            return self
        ended = {"status": "interrupted", "reason": "it was running when its store was merged"}
        return replace(self, row={**self.row, **ended})

    @property
    def name(self) -> str:
        return f"run {self.id} of {self.store.path}"


@dataclass(frozen=True)
class Contradiction:
    """Two completed attempts, in words, that cannot both be right, and what differs."""

    identity: str
    config: str
    first: str
    second: str
    differs: str


def attempts(store: Store, identities: Collection[str] | None = None) -> Iterator[Attempt]:
    """The attempts that a store has at these configs, or all."""
    for row in store.runs():
        if identities is not None and row["identity"] not in identities:
            continue
        details = {table: _bare(store.details(table, row["id"])) for table in TABLES}
        epochs = len(details["epochs"])
        of_itself = {name: row[name] for name in ("labels_sha256", *MEASURED)}
        told: dict[str, Any] = {**of_itself, **details}
        if row["status"] != "completed":
            # Two that came as far as each other are two failures, and not one.
            told |= {name: row[name] for name in ("started", "host", "pid")}
        text = json.dumps(told, sort_keys=True)
        yield Attempt(store, row, hashlib.sha256(text.encode()).hexdigest(), epochs)


def contradictions(completed: Sequence[Attempt]) -> list[Contradiction]:
    """The pairs of these attempts at one config of which one must be wrong."""
    found = []
    for first, second in combinations(sorted(completed, key=lambda attempt: attempt.age), 2):
        one, other = first.row, second.row
        alike = all(one[name] == other[name] for name in SETTING) and one["device"].startswith("cpu")
        # A config says which labels are drawn, on any machine.
        same = first.content == second.content
        if (alike and not same) or one["labels_sha256"] != other["labels_sha256"]:
            config = f"{one['loss']} on {one['dataset']}, {one['noise']} {one['rate']:g}, seed {one['seed']}"
            found.append(
                Contradiction(one["identity"], config, first.name, second.name, _difference(first, second))
            )
    return found


def _difference(first: Attempt, second: Attempt) -> str:
    """What two attempts measured differently, in words."""
    words = [
        f"{name} {first.row[name]} and {second.row[name]}"
        for name in ("labels_sha256", *MEASURED)
        if first.row[name] != second.row[name]
    ]
    for table in TABLES:
        pairs = zip_longest(*(_bare(one.store.details(table, one.id)) for one in (first, second)))
        for one, other in pairs:
            if one != other:
                epoch = (one or other or {}).get("epoch")
                words.append(table if epoch is None else f"{table} from epoch {epoch} on")
                break
    return "; ".join(words)


def _bare(rows: Sequence[Row]) -> list[Row]:
    return [{name: value for name, value in row.items() if name not in APART} for row in rows]
