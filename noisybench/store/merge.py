"""Merging stores: the runs of several machines in one store, each of them once.

Which of several attempts at one config are kept:

- Completed attempts with the same measurements are one run: the one that completed last.
- Completed attempts with different measurements are all kept.  As in any store, the one that completed last
  counts; so a report depends neither on the order of the stores nor on the number of merges.
- An unfinished attempt is kept only if no attempt has completed: the one that is being trained in the target,
  else the one with most epochs.

An attempt keeps its id unless another at the same config has it.
"""

import hashlib
import json
import os
import re
import shutil
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from itertools import combinations, zip_longest
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from noisybench.errors import StoreError
from noisybench.results import Result
from noisybench.store import RESUMED, Row, Store
from noisybench.store.host import is_running
from noisybench.store.ids import run_id

# The temporary folder of a merge, with the number of its process.
STAGE = re.compile(r"\.merge-([1-9][0-9]{0,9})(-.*)?")

MEASURED = tuple(f.name for f in fields(Result) if f.name != "seconds")
# Two trainings of one config that share these give the same numbers, except on GPUs, where sums have no fixed
# order, and except for runs that were resumed elsewhere.
SETTING = ("device", "cpu", "computed_in", "noisybench", "torch", "commit")
# What a run measured: these tables, without the columns that depend on place and speed.
TABLES = ("epochs", "prunings", "transitions")
LEFT_OUT = ("run", "seconds", "estimated_by")


@dataclass(frozen=True, eq=False)
class Attempt:
    """A run of a store.

    content: a hash of what the run measured.  It is equal for completed attempts at one config that measured
    the same, and for copies of one unfinished attempt.  epochs: the number of stored epochs.
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
        """A sort key: when the attempt ended; further values put ties into a fixed order."""
        return (*(str(self.row[name] or "") for name in ("ended", "started", "host", "pid")), self.content)

    def at_rest(self) -> "Attempt":
        """The attempt as its copy is stored: a running one becomes interrupted."""
        if not self.running:
            return self
        ended = {"status": "interrupted", "reason": "it was running when its store was merged"}
        return replace(self, row={**self.row, **ended})

    @property
    def name(self) -> str:
        return f"run {self.id} of {self.store.path}"


@dataclass(frozen=True)
class Contradiction:
    """Two completed attempts that cannot both be right, and what differs, in words."""

    identity: str
    config: str
    first: str
    second: str
    differs: str

    def __str__(self) -> str:
        return f"{self.config}: {self.first} and {self.second} contradict each other: {self.differs}."


@dataclass(frozen=True)
class Copy:
    """An attempt of a source, and the run of the target that it becomes (`new`) or is there already.

    number: of that run among the attempts at its config.  rows: whether the rows of the attempt are to be
    written, in place of those of one that completed before.
    """

    attempt: Attempt
    run: str
    number: int
    new: bool
    rows: bool


@dataclass(frozen=True)
class Plan:
    """What a merge does to the target.

    dropped: unfinished runs of the target that others take the place of.  left_out: how many unfinished
    attempts of the sources have nothing that another one has not.
    """

    copies: tuple[Copy, ...]
    dropped: tuple[str, ...]
    left_out: int
    contradictions: tuple[Contradiction, ...] = field(compare=False)

    @property
    def added(self) -> list[str]:
        """The ids of the runs that the target gains."""
        return [copy.run for copy in self.copies if copy.new]


def merge(paths: Sequence[Path], into: Path, claims: Collection[str] = ()) -> Plan:
    """Merge all runs of the stores `paths`, with their networks, into the store `into`; return what was done.

    The sources are only read.  A merge that fails or is killed leaves the target as it was, and a
    second one adds nothing.  claims: the ids of runs of the target that reserve the
    runs that are merged now, and are replaced by them.  Raises StoreError.
    """
    for path in paths:
        if path.resolve() == into.resolve() or (into.exists() and path.exists() and path.samefile(into)):
            raise StoreError(f"{path} is the store to merge into. Name only the other stores.")
    sources = [Store.copy(path) for path in paths]
    offered = [attempt for source in sources for attempt in attempts(source)]
    # No process trains the copy of a run, even if the source says that the run is running.
    offered = [attempt.at_rest() for attempt in offered]
    target = Store.open(into)
    plan = make_plan(target, offered, claims)
    stage = None
    try:
        # Networks may be large, and a transaction locks the store: networks are copied before it.
        stage = _make_stage(target)
        staged = _stage(plan, target, stage)
        with target.transaction():
            if make_plan(target, offered, claims) != plan:
                raise StoreError(f"{into} was changed by another process during the merge. Merge again.")
            _write(plan, target)
            for run in {*plan.dropped, *staged}:
                target.remove_folder(run)
            for run in staged:
                (stage / run).replace(target.folder(run))
    except OSError as error:
        raise StoreError(f"The networks cannot be copied beside {into}: {error}.") from None
    finally:
        if stage is not None:
            shutil.rmtree(stage, ignore_errors=True)
            # Remove the folder of networks if it is empty: this merge made it.
            with suppress(OSError):
                target.networks.rmdir()
    return plan


def make_plan(target: Store, offered: Iterable[Attempt], claims: Collection[str] = ()) -> Plan:
    """Plan how the offered attempts come into the target, each run once."""
    by_identity: defaultdict[str, list[Attempt]] = defaultdict(list)
    for attempt in offered:
        by_identity[attempt.identity].append(attempt)
    present: defaultdict[str, list[Attempt]] = defaultdict(list)
    for attempt in attempts(target, set(by_identity)):
        present[attempt.identity].append(attempt)
    copies: list[Copy] = []
    dropped: list[str] = []
    left_out = 0
    found: list[Contradiction] = []
    for identity in sorted(by_identity):
        own = [attempt for attempt in present[identity] if attempt.id not in claims]
        # Merged stores may have two copies of one run: the one with the lower number sorts last.
        others = sorted(by_identity[identity], key=lambda attempt: (attempt.age, -attempt.number))
        kept, gone = _kept(own, others)
        if any(attempt.content in {one.content for one in kept} for attempt in others):
            gone += [attempt for attempt in present[identity] if attempt.id in claims]
        dropped += [attempt.id for attempt in gone]
        runs = _named(kept)
        by_content = {attempt.content: attempt for attempt in sorted(kept, key=lambda one: one.age)}
        last = {attempt.content: attempt for attempt in others}
        for attempt in others:
            twin = by_content.get(attempt.content)
            if twin is None:
                left_out += 1
                continue
            new = twin is attempt
            later = last[attempt.content] is attempt and attempt.age > twin.age
            run, number = runs[twin]
            copies.append(Copy(attempt, run, number, new=new, rows=new or later))
        found += contradictions([attempt for attempt in kept if attempt.completed])
    return Plan(tuple(copies), tuple(dropped), left_out, tuple(found))


def _kept(own: Sequence[Attempt], others: Sequence[Attempt]) -> tuple[list[Attempt], list[Attempt]]:
    """The attempts at one config that the target will have, its own first, and those of its own that it
    will lose.  own: the attempts of the target; others: the offered ones, by age."""
    completed = {attempt.content for attempt in own if attempt.completed}
    last = {attempt.content: attempt for attempt in others if attempt.completed}
    new = [a for a in others if last.get(a.content) is a and a.content not in completed]
    if completed:
        return [*own, *new], []
    running = [attempt for attempt in own if attempt.running]
    if new:
        return [*running, *new], [attempt for attempt in own if not attempt.running]
    best = running or [max([*own, *others], key=lambda attempt: (attempt.epochs, attempt.age))]
    return best, [attempt for attempt in own if attempt not in best]


def _named(kept: Sequence[Attempt]) -> dict[Attempt, tuple[str, int]]:
    """The id and the number that each attempt gets in the target: it keeps its own, unless an earlier one in
    the list has the same number."""
    number: dict[int, Attempt] = {}
    for attempt in kept:
        number.setdefault(attempt.number, attempt)
    for attempt in kept:
        if attempt not in number.values():
            number[max(number) + 1] = attempt
    return {
        attempt: (attempt.id if n == attempt.number else run_id(attempt.identity, n), n)
        for n, attempt in number.items()
    }


def _make_stage(target: Store) -> Path:
    """Make a temporary folder for the networks of this merge, and remove those that killed merges left."""
    target.networks.mkdir(exist_ok=True)
    for left in target.networks.glob(".merge-*"):
        process = STAGE.fullmatch(left.name)
        if process and not is_running(int(process[1])):
            shutil.rmtree(left, ignore_errors=True)
    return Path(mkdtemp(prefix=f".merge-{os.getpid()}-", dir=target.networks))


def _stage(plan: Plan, target: Store, stage: Path) -> set[str]:
    """Copy the networks that the target lacks into the folder `stage`; return their runs."""
    staged = set()
    for copy in plan.copies:
        files = copy.attempt.store.files(copy.attempt.id)
        wanted = copy.run not in staged and (copy.new or not target.folder(copy.run).exists())
        if wanted and files:
            (stage / copy.run).mkdir()
            for file in files:
                _link(str(file), str(stage / copy.run / file.name))
            staged.add(copy.run)
    return staged


def _link(file: str, to: str) -> None:
    """Link a file, or copy it to another file system.  Stores can share a network: it is replaced as a whole
    and never changed."""
    try:
        os.link(file, to)
    except OSError:
        shutil.copy2(file, to)


def _write(plan: Plan, target: Store) -> None:
    """Write all rows that the target lacks."""
    renamed = {(copy.attempt.store.path, copy.attempt.id): copy.run for copy in plan.copies}
    for run in plan.dropped:
        target.forget(run)
    for copy in plan.copies:
        attempt, source = copy.attempt, copy.attempt.store
        if copy.rows:
            target.insert("runs", {**attempt.row, "id": copy.run, "attempt": copy.number})
            for table in ("epochs", "prunings"):
                for row in source.details(table, attempt.id):
                    target.insert(table, {**row, "run": copy.run})
            for row in source.details("transitions", attempt.id):
                by = row["estimated_by"]
                estimated_by = renamed.get((source.path, by), by)
                target.insert("transitions", {**row, "run": copy.run, "estimated_by": estimated_by})
        # Of two copies of a run, one may have evaluations that the other lacks.
        present = {row["split"] for row in target.details("evaluations", copy.run)}
        for row in source.details("evaluations", attempt.id):
            if row["split"] not in present:
                target.insert("evaluations", {**row, "run": copy.run})


def attempts(store: Store, identities: Collection[str] | None = None) -> Iterator[Attempt]:
    """The attempts of a store at the configs with these identities; by default all."""
    for row in store.runs():
        if identities is not None and row["identity"] not in identities:
            continue
        details = {table: _bare(store.details(table, row["id"])) for table in TABLES}
        epochs = len(details["epochs"])
        content: dict[str, Any] = {name: row[name] for name in ("labels_sha256", *MEASURED)} | details
        if row["status"] != "completed":
            # Two failures after the same epochs are two attempts.
            content |= {name: row[name] for name in ("started", "host", "pid")}
        text = json.dumps(content, sort_keys=True)
        yield Attempt(store, row, hashlib.sha256(text.encode()).hexdigest(), epochs)


def contradictions(completed: Sequence[Attempt]) -> list[Contradiction]:
    """The pairs of these attempts at one config of which one must be wrong."""
    found = []
    for first, second in combinations(sorted(completed, key=lambda attempt: attempt.age), 2):
        # A config determines the labels on any machine, and all numbers on one kind of CPU.
        wrong = first.row["labels_sha256"] != second.row["labels_sha256"] or (
            _same_setting(first.row, second.row) and first.content != second.content
        )
        if wrong:
            row = first.row
            config = f"{row['loss']} on {row['dataset']}, {row['noise']} {row['rate']:g}, seed {row['seed']}"
            found.append(
                Contradiction(row["identity"], config, first.name, second.name, _difference(first, second))
            )
    return found


def _same_setting(first: Row, second: Row) -> bool:
    """Whether two trainings of one config must have given the same numbers."""
    device = str(first["device"])
    on_one_cpu = device.startswith("cpu") and RESUMED not in device
    return on_one_cpu and all(first[name] == second[name] for name in SETTING)


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
    return [{name: value for name, value in row.items() if name not in LEFT_OUT} for row in rows]
