"""Merging stores: the runs of several machines in one store, each of them once.

Which of several attempts at one config are kept:

- Completed attempts that measured the same, whoever made them, are one run: the one that completed last.
- Completed attempts that measured different things are all kept, as attempts; as in any store, the one
  that completed last is the one that counts.  So neither the order of the stores nor how many merges it
  takes decides what a report says.
- An unfinished attempt is kept only where no completed one is: the one with most epochs, or that which
  is being trained in the target.

An attempt keeps its id unless another at the same config has it.
"""

import os
import re
import shutil
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp

from noisybench.errors import StoreError
from noisybench.store import Store
from noisybench.store.attempts import Attempt, Contradiction, attempts, contradictions
from noisybench.store.ids import run_id
from noisybench.store.processes import is_running
from noisybench.store.snapshot import snapshot

# The folder in which a merge of this process has its networks, with a random end.
STAGE = re.compile(r"\.merge-([1-9][0-9]{0,9})(-.*)?")


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
    """Bring all runs of the stores `paths`, with their networks, into the store `into`; say what was done.

    The sources are only read.  A merge that fails or is killed leaves the target as it was, and a
    second one adds nothing.  claims: the ids of runs of the target that were begun there only so that
    nobody else makes what is now brought; they give way to it.  Raises StoreError.
    """
    for path in paths:
        if path.resolve() == into.resolve() or (into.exists() and path.exists() and path.samefile(into)):
            raise StoreError(f"{path} is the store to merge into: name only the others.")
    sources = [snapshot(path) for path in paths]
    offered = [attempt for source in sources for attempt in attempts(source)]
    # What looks as if it were being trained is a copy, which nobody trains.
    offered = [attempt.at_rest() for attempt in offered]
    target = Store.open(into)
    plan = make_plan(target, offered, claims)
    stage = None
    try:
        # Networks may be large, and nobody else can write during a transaction: they are copied before.
        stage = _make_stage(target)
        staged = _stage(plan, target, stage)
        with target.transaction():
            if make_plan(target, offered, claims) != plan:
                raise StoreError(f"{into} was changed by another process meanwhile. Merge again.")
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
            # It was made for this merge, which had no networks.
            with suppress(OSError):
                target.networks.rmdir()
    return plan


def make_plan(target: Store, offered: Iterable[Attempt], claims: Collection[str] = ()) -> Plan:
    """What is to be done for the target to have what is offered, and nothing twice."""
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
        # Of two copies of one run, as merged stores have them, the one with the lower number comes last.
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
    """Of the attempts at one config, by age: those that the target shall have, its own first, and those
    of its own that it shall have no more."""
    had = {attempt.content for attempt in own if attempt.completed}
    last = {attempt.content: attempt for attempt in others if attempt.completed}
    new = [one for one in others if last.get(one.content) is one and one.content not in had]
    if had:
        return [*own, *new], []
    running = [attempt for attempt in own if attempt.running]
    if new:
        return [*running, *new], [attempt for attempt in own if not attempt.running]
    best = running or [max([*own, *others], key=lambda attempt: attempt.progress)]
    return best, [attempt for attempt in own if attempt not in best]


def _named(kept: Sequence[Attempt]) -> dict[Attempt, tuple[str, int]]:
    """The id and the number of each attempt in the target: its own, if it is the first of that number."""
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
    """A new folder in which networks wait for their rows; those that killed merges left are removed."""
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
    """Networks are never changed but replaced, so that two stores on one file system can share them."""
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
        # A network may have been evaluated on one machine only.
        there = {row["split"] for row in target.details("evaluations", copy.run)}
        for row in source.details("evaluations", attempt.id):
            if row["split"] not in there:
                target.insert("evaluations", {**row, "run": copy.run})
