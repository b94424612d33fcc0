"""Merging stores: nothing lost, nothing twice, whatever the order."""

import itertools
import os
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from commands import as_json, noisybench, succeed
from stores import EVALUATION, bits, content, counted, put
from test_store import CONFIG, EPOCH, HERE, PRUNING, RESULT

from noisybench.config import Config
from noisybench.store import Estimate, Store
from noisybench.store.merge import merge

EARLY, LATE, LATEST = (f"2026-01-0{day}T00:00:00+00:00" for day in (1, 2, 3))
OTHER = replace(CONFIG, seed=8)


@pytest.fixture
def stores(tmp_path: Path) -> list[Store]:
    (tmp_path / "from").mkdir()
    return [Store.open(tmp_path / "from" / f"{name}.db") for name in "abc"]


@pytest.mark.slow
def test_merging_shards_is_the_unsharded_sweep_bit_for_bit(tmp_path: Path) -> None:
    grid = tmp_path / "grid.yaml"
    grid.write_text(
        "set: {epochs: 4, train_size: 300, prune_from: 1, prune_every: 1}\n"
        "grid: [{loss: [cce, forward-that, trunc-lq(k=0.1)], seed: [0, 1]}, {loss: forward-that, seed: 2}]"
    )
    whole, merged = tmp_path / "whole.db", tmp_path / "merged.db"
    table = succeed("sweep", grid, "--quiet", "--db", whole)
    parts = [tmp_path / f"{number}.db" for number in (1, 2, 3)]
    for number, part in enumerate(parts, 1):
        succeed("sweep", grid, "--quiet", "--db", part, "--shard", f"{number}/3")
    sizes = [len(Store.open(part).runs()) for part in parts]
    # Seven runs and the first stage of the last: none of them twice.
    assert sum(sizes) == 8 and min(sizes) >= 2
    assert "8 runs added, 0 already there." in succeed("runs", "merge", *parts, "--into", merged)
    assert bits(merged) == bits(whole) and len(bits(whole)) == 8
    assert succeed("sweep", grid, "--quiet", "--db", merged) == table
    assert len(Store.open(merged).runs()) == 8, "nothing was trained again"


def fill(stores: list[Store]) -> None:
    """All that can be between three stores: the same, different, unfinished, only in one."""
    a, b, c = stores
    put(a, ended=LATE)
    put(b, ended=EARLY, host="there", pid=7)
    put(c, ended=EARLY, accuracy=0.25, torch="1")
    for store, ended, accuracy in [(a, LATE, 0.125), (b, LATEST, 0.75), (c, EARLY, 0.625)]:
        put(store, OTHER, ended, accuracy, device=f"cuda:0 ({ended})")
    put(a, replace(CONFIG, seed=9), status="failed", epochs=2)
    put(b, replace(CONFIG, seed=9), status="interrupted", epochs=5)
    put(c, replace(CONFIG, seed=10), status="failed")
    put(a, replace(CONFIG, seed=10))
    run = put(c, replace(CONFIG, seed=11), estimate=Estimate(c.runs()[0]["id"], [[0.5, 0.5], [0.0, 1.0]]))
    c.add_evaluation(run, "test", EVALUATION)


def test_a_store_merged_into_an_empty_one_is_the_same(tmp_path: Path, stores: list[Store]) -> None:
    """The rows of all tables, and the networks."""
    store = stores[0]
    run = put(store)
    store.add(run, PRUNING)
    store.add_evaluation(run, "test", EVALUATION)
    put(store, OTHER, estimate=Estimate(run, [[0.5, 0.5], [0.0, 1.0]]))
    merge([store.path], tmp_path / "all.db")
    assert all(content(store.path).values()), "every table has a row"
    assert content(tmp_path / "all.db") == content(store.path)


def test_the_order_of_the_stores_decides_nothing(tmp_path: Path, stores: list[Store]) -> None:
    fill(stores)
    paths = [store.path for store in stores]
    whole = []
    for number, order in enumerate(itertools.permutations(paths)):
        at_once, by_and_by = tmp_path / f"{number}.db", tmp_path / f"{number}-by-and-by.db"
        merge(order, at_once)
        whole.append(content(at_once))
        for path in order:
            merge([path], by_and_by)
        assert counted(by_and_by) == counted(at_once)
        for path in (at_once, by_and_by):
            # Seed 3 measured 2 things, seed 8 measured 3, and the others are one run each.
            assert (len(content(path)["runs"]), len(content(path)["files"])) == (8, 8)
    assert all(each == whole[0] for each in whole)


def test_the_attempt_that_completed_last_counts(tmp_path: Path, stores: list[Store]) -> None:
    fill(stores)
    into = tmp_path / "all.db"
    merge([store.path for store in stores], into)
    store = Store.open(into)
    (row,) = [row for row in store.results().to_dict("records") if row["seed"] == 8]
    assert (row["test_accuracy"], row["ended"]) == (0.75, LATEST)
    assert [epoch["test_accuracy"] for epoch in store.details("epochs", row["id"])] == [0.75, 0.75]
    assert (store.folder(row["id"]) / "best.pt").read_text().endswith("0.75")
    assert store.completed(OTHER.identity)["id"] == row["id"]


def test_merging_again_adds_nothing(tmp_path: Path, stores: list[Store]) -> None:
    fill(stores)
    into, paths = tmp_path / "all.db", [store.path for store in stores]
    first = as_json("runs", "merge", *paths, "--into", into)
    before = content(into)
    again = as_json("runs", "merge", *reversed(paths), "--into", into)
    assert content(into) == before
    assert (len(first["added"]), first["already"], first["left_out"]) == (8, 1, 2)
    assert (again["added"], again["already"], again["left_out"]) == ([], 9, 2)
    # One that the target has, made anew and complete, is a store like the others.
    copy = tmp_path / "copy.db"
    merge([into], copy)
    assert content(copy) == before


def test_an_id_is_kept_where_it_is_free_and_an_estimate_keeps_its_run(
    tmp_path: Path, stores: list[Store]
) -> None:
    a, b, _ = stores
    name = put(a, ended=EARLY, accuracy=0.25, torch="1")
    put(a, ended=LATEST, accuracy=0.75, torch="1")
    assert put(b, ended=LATE, accuracy=0.5) == name
    estimates = {}
    for store, share in ((a, 0.25), (b, 0.5)):
        estimates[share] = put(
            store, OTHER, accuracy=share, estimate=Estimate(name, [[share]]), torch=f"{share}"
        )
    merge([b.path, a.path], tmp_path / "all.db")
    store = Store.open(tmp_path / "all.db")
    names = {row["test_accuracy"]: row["id"] for row in store.runs() if row["seed"] == CONFIG.seed}
    assert names == {0.25: name, 0.75: f"{name}-2", 0.5: f"{name}-3"}
    matrices = {row["estimated"]: row["estimated_by"] for row in store.query("SELECT * FROM transitions")}
    assert matrices == {"[[0.25]]": names[0.25], "[[0.5]]": names[0.5]}


@pytest.mark.parametrize(
    ("changes", "contradict"),
    [
        ({}, True),
        ({"host": "there", "pid": 7}, True),
        ({"torch": "1"}, False),
        ({"commit": "abc"}, False),
        ({"cpu": "AVX2"}, False),
        ({"device": "cuda:0"}, False),
        ({"device": "cuda:0", "labels_sha256": "cd"}, True),
    ],
)
def test_contradictions_are_named(
    tmp_path: Path, stores: list[Store], changes: dict[str, str], contradict: bool
) -> None:
    a, b, _ = stores
    run = put(a, ended=EARLY)
    put(b, ended=LATE, accuracy=0.75, **changes)
    for found in ("2 runs added", "0 runs added"):
        result = noisybench("runs", "merge", a.path, b.path, "--into", tmp_path / "all.db")
        assert found in result.stdout and result.exit_code == contradict
        assert ("contradict each other" in result.stderr) == contradict
    if contradict:
        assert f"run {run} of" in result.stderr and f"run {run}-2 of" in result.stderr
        assert "test_accuracy 0.5 and 0.75; epochs from epoch 1 on" in result.stderr
        assert ("labels_sha256 ab and cd" in result.stderr) == ("labels_sha256" in changes)


def test_a_result_that_alone_is_different_contradicts(tmp_path: Path, stores: list[Store]) -> None:
    a, b, _ = stores
    put(a, ended=EARLY)
    put(b, ended=LATE)
    with b.conn:
        b.conn.execute("UPDATE runs SET best_epoch = 2")
    (found,) = merge([a.path, b.path], tmp_path / "all.db").contradictions
    assert found.differs == "best_epoch 1 and 2" and found.identity == CONFIG.identity


def test_runs_that_were_resumed_on_other_threads_may_differ(tmp_path: Path, stores: list[Store]) -> None:
    for accuracy, store in zip((0.5, 0.75), stores, strict=False):
        run = store.begin(CONFIG, replace(HERE, device="cpu (2 threads)"))
        store.add(run, EPOCH)
        store.end(run, "interrupted", "stop")
        store.begin(CONFIG, replace(HERE, device="cpu (4 threads)"))
        store.complete(run, replace(RESULT, test_accuracy=accuracy))
    assert merge([store.path for store in stores], tmp_path / "all.db").contradictions == ()


def test_two_runs_on_one_gpu_may_differ(tmp_path: Path, stores: list[Store]) -> None:
    for accuracy, store in zip((0.5, 0.75), stores, strict=False):
        put(store, accuracy=accuracy, device="cuda:0")
    assert merge([store.path for store in stores], tmp_path / "all.db").contradictions == ()


def test_a_run_in_training_is_interrupted_in_the_copy_until_it_completes(
    tmp_path: Path, stores: list[Store]
) -> None:
    a, into = stores[0], tmp_path / "all.db"
    run = put(a, status="running", epochs=3)
    for added in ([run], []):
        assert merge([a.path], into).added == added
    store = Store.open(into)
    assert store.find(run)["status"] == "interrupted" and "running" in store.find(run)["reason"]
    assert a.find(run)["status"] == "running"
    put(a, epochs=4)
    (store.folder(run) / "checkpoint.pt").write_text("of the part")
    assert merge([a.path], into).added == [run]
    assert [row["status"] for row in store.runs()] == ["completed"]
    assert len(store.details("epochs", run)) == 4
    assert os.listdir(store.folder(run)) == ["best.pt"]


def test_a_run_that_the_target_trains_now_is_left_to_it(tmp_path: Path, stores: list[Store]) -> None:
    a, b, _ = stores
    into = Store.open(tmp_path / "all.db")
    run = put(into, status="running", epochs=1, pid=os.getppid())
    put(a, status="interrupted", epochs=9)
    done = merge([a.path], into.path)
    assert (done.added, done.left_out) == ([], 1) and len(into.details("epochs", run)) == 1
    put(b)
    assert merge([b.path], into.path).added == [f"{run}-2"]
    assert into.find(run)["status"] == "running" and into.completed(CONFIG.identity)["id"] == f"{run}-2"


def test_what_only_one_store_has_of_a_run_is_added_to_it(tmp_path: Path, stores: list[Store]) -> None:
    a, b, _ = stores
    run = put(a)
    shutil.rmtree(a.folder(run))
    put(b)
    b.add_evaluation(run, "test", EVALUATION)
    into = tmp_path / "all.db"
    for store in (a, b):
        merge([store.path], into)
    store = Store.open(into)
    assert len(store.runs()) == 1 and store.details("evaluations", run)[0]["accuracy"] == 0.5
    assert (store.folder(run) / "best.pt").exists()


def test_a_copy_under_another_id_is_no_other_run(tmp_path: Path, stores: list[Store]) -> None:
    """As a store has it that others were merged into before."""
    a, b, _ = stores
    put(a, ended=EARLY)
    run = put(b, ended=LATE, accuracy=0.75, torch="1")
    merged, one, other = (tmp_path / f"{name}.db" for name in ("merged", "one", "other"))
    merge([a.path, b.path], merged)
    assert Store.open(merged).find(f"{run}-2")["test_accuracy"] == 0.75
    merge([b.path, merged], one)
    merge([merged, b.path], other)
    assert content(one) == content(other) and len(content(one)["runs"]) == 2


def test_an_older_store_is_read_and_left_as_it_is(tmp_path: Path, stores: list[Store]) -> None:
    a, b, _ = stores
    run = put(a)
    put(b, Config.create(seed=5))
    for table, column in (("epochs", "clean_val_accuracy"), ("runs", "weight_decay")):
        a.conn.execute("DROP VIEW IF EXISTS curves")
        a.conn.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    a.conn.close()

    def files() -> dict[Path, bytes]:
        """All but the memory that the processes on a store share."""
        found = a.path.parent.rglob("*")
        return {file: file.read_bytes() for file in found if file.is_file() and file.suffix != ".db-shm"}

    before = files()
    merge([a.path, b.path], tmp_path / "all.db")
    assert files() == before
    store = Store.open(tmp_path / "all.db")
    assert Config.from_row(store.find(run)) == CONFIG
    assert store.details("epochs", run)[0]["clean_val_accuracy"] is None


def test_what_a_killed_process_left_in_the_log_is_read(tmp_path: Path, stores: list[Store]) -> None:
    """The rows that SQLite has not moved into the file yet."""
    a = stores[0]
    run = put(a)
    moved = tmp_path / "moved.db"
    for end in ("", "-wal"):
        shutil.copy(f"{a.path}{end}", f"{moved}{end}")
    without_log = sqlite3.connect(f"file:{moved}?immutable=1", uri=True)
    assert without_log.execute("SELECT count(*) FROM runs").fetchone() == (0,)
    without_log.close()
    assert merge([moved], tmp_path / "all.db").added == [run]
