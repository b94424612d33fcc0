import os
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from noisybench.config import Config
from noisybench.errors import InvalidValue, RunCompleted, StoreError
from noisybench.results import Epoch, Provenance, Pruning, Result
from noisybench.store import Store
from noisybench.store.schema import VERSION

CONFIG = Config.create(loss="lq", seed=3)
HERE = Provenance(
    device="cpu",
    computed_in="fp32",
    noisybench="0",
    torch="0",
    commit=None,
    labels_sha256="ab",
    host="here",
    pid=os.getpid(),
)
EPOCH = Epoch(
    epoch=1,
    train_loss=1.5,
    val_loss=1.25,
    val_accuracy=0.5,
    clean_val_accuracy=0.6,
    test_accuracy=0.625,
    lr=0.01,
    n_kept=9,
    softmax_correct=0.75,
    softmax_wrong=None,
    seconds=2.0,
)
PRUNING = Pruning(epoch=1, model_epoch=1, n_kept=9, n_dropped=1, precision=1.0, recall=None)
RESULT = Result(
    best_epoch=1,
    val_accuracy=0.5,
    test_accuracy=0.625,
    last_test_accuracy=0.5,
    n_train=10,
    n_kept=9,
    seconds=2.0,
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "runs.db")


def completed(store: Store, config: Config, result: Result = RESULT) -> str:
    run = store.begin(config, HERE)
    store.add(run, EPOCH)
    store.complete(run, result)
    return run


def test_what_goes_in_comes_out(store: Store) -> None:
    run = store.begin(CONFIG, HERE)
    store.add(run, EPOCH)
    store.add(run, PRUNING)
    store.complete(run, RESULT)
    row = Store.open(store.path).find(run)
    assert Config.from_row(row) == CONFIG
    assert (row["status"], row["test_accuracy"], row["n_kept"], row["torch"]) == ("completed", 0.625, 9, "0")
    assert store.details("epochs", run) == [{"run": run, **vars(EPOCH)}]
    assert store.details("prunings", run) == [{"run": run, **vars(PRUNING)}]
    assert store.completed(CONFIG.identity) == row


def test_columns_have_the_types_of_their_fields(store: Store) -> None:
    completed(store, CONFIG)
    connection = sqlite3.connect(store.path)
    types = dict(connection.execute("SELECT name, type FROM pragma_table_info('runs')").fetchall())
    assert (types["epochs"], types["loss"], types["train_size"]) == ("INTEGER", "TEXT", "INTEGER")
    assert types["rate"] in ("FLOAT", "REAL")
    epochs = dict(connection.execute("SELECT name, type FROM pragma_table_info('epochs')").fetchall())
    assert (epochs["epoch"], epochs["n_kept"]) == ("INTEGER", "INTEGER")
    assert epochs["softmax_wrong"] in ("FLOAT", "REAL")


@pytest.mark.parametrize("status", ["failed", "interrupted"])
def test_an_unfinished_run_does_not_count_and_goes_on_under_its_id(store: Store, status: str) -> None:
    run = store.begin(CONFIG, HERE)
    store.add(run, EPOCH)
    store.end(run, status, "because")
    assert store.completed(CONFIG.identity) is None
    assert store.results()["status"].tolist() == [status]
    again = store.begin(CONFIG, HERE)
    assert again == run and store.rewind(run, 1) == ([EPOCH], [])
    assert store.rewind(run, 0) == ([], []) and store.details("epochs", run) == []
    assert store.find(run)["status"] == "running" and store.find(run)["reason"] is None


def test_a_run_that_goes_on_elsewhere_names_both_places(store: Store) -> None:
    places = [("cpu (2 threads)", "AVX2"), ("cpu (2 threads)", "AVX512"), ("cuda (H100)", "AVX512")]
    for device, cpu in places:
        run = store.begin(CONFIG, replace(HERE, device=device, cpu=cpu))
        store.add(run, EPOCH)
        store.end(run, "interrupted", "stop")
    row = store.find(run)
    assert (row["device"], row["cpu"]) == ("cpu (2 threads), then cuda (H100)", "AVX2, then AVX512")
    store.rewind(run, 0)
    row = store.find(run)
    assert (row["device"], row["cpu"]) == ("cuda (H100)", "AVX512"), "nothing is left of the others"


def test_a_further_attempt_counts_once_it_completes(store: Store) -> None:
    first = completed(store, CONFIG)
    second = store.begin(CONFIG, HERE)
    assert second == f"{first}-2"
    assert store.results()["id"].tolist() == [first]
    store.complete(second, replace(RESULT, test_accuracy=0.75))
    assert store.results()["id"].tolist() == [second]
    assert len(store.runs()) == 2
    third = store.begin(CONFIG, HERE)
    store.end(third, "failed", "because")
    assert store.results()["id"].tolist() == [second]


def test_a_further_attempt_counts_also_after_the_clock_was_set_back(store: Store) -> None:
    first = completed(store, CONFIG)
    with store.conn:
        store.conn.execute("UPDATE runs SET ended = '2999-12-31T23:59:59.999+00:00' WHERE id = ?", [first])
    second = completed(store, CONFIG)
    assert store.results()["id"].tolist() == [second] != [first]
    third = completed(store, CONFIG)
    assert store.results()["id"].tolist() == [third]


def test_a_run_that_has_completed_begins_again_only_when_told(store: Store) -> None:
    first = completed(store, CONFIG)
    with pytest.raises(RunCompleted, match=first):
        store.begin(CONFIG, HERE, again=False)
    assert [row["id"] for row in store.runs()] == [first]
    assert store.begin(CONFIG, HERE, again=True) == f"{first}-2"


def test_a_completed_run_survives_any_order_of_force_and_delete(store: Store) -> None:
    first, second = completed(store, CONFIG), completed(store, CONFIG)
    store.delete([first])
    third = store.begin(CONFIG, HERE)
    assert third not in (first, second)
    store.end(third, "failed", "because")
    assert store.completed(CONFIG.identity)["id"] == second


def test_finding_by_the_beginning_of_an_id(store: Store) -> None:
    run = completed(store, CONFIG)
    assert store.find(run[:5])["id"] == run
    again = store.begin(CONFIG, HERE)
    assert store.find(run)["id"] == run, "a whole id is meant, even where others begin with it"
    with pytest.raises(InvalidValue, match=again):
        store.find(run[:5])
    with pytest.raises(StoreError, match="no-such"):
        store.find("no-such")
    with pytest.raises(StoreError, match="running"):
        store.find_completed(again)


def test_delete_removes_all_that_belongs_to_a_run(store: Store) -> None:
    run, other = completed(store, CONFIG), completed(store, replace(CONFIG, seed=4))
    store.add_evaluation(run, "test", {"n": 1, "accuracy": 1.0, "ece": 0.0, "per_class": "", "confusion": ""})
    store.folder(run).mkdir(parents=True)
    store.delete([run])
    assert [row["id"] for row in store.runs()] == [other]
    assert store.details("epochs", run) == store.details("evaluations", run) == []
    assert not store.folder(run).exists()


def test_an_evaluation_takes_the_place_of_an_earlier_one(store: Store) -> None:
    run = completed(store, CONFIG)
    for accuracy in (0.25, 0.5):
        store.add_evaluation(
            run, "test", {"n": 4, "accuracy": accuracy, "ece": 0.0, "per_class": "[]", "confusion": "[]"}
        )
    (row,) = store.details("evaluations", run)
    assert row["accuracy"] == 0.5


def test_a_missing_store_is_not_made_by_a_reader(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store"):
        Store.open(tmp_path / "none.db", create=False)
    with pytest.raises(StoreError, match="no folder"):
        Store.open(tmp_path / "none" / "runs.db")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_store_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    path.write_text("not a database " * 100)
    with pytest.raises(StoreError, match="notes.db"):
        Store.open(path)
    assert path.read_text().startswith("not a database")


def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    before = path.read_bytes()
    for create in (True, False):
        with pytest.raises(StoreError, match="another program"):
            Store.open(path, create)
    assert path.read_bytes() == before


def test_a_newer_store_is_refused(store: Store) -> None:
    with sqlite3.connect(store.path) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(StoreError, match="newer"):
        Store.open(store.path)


def test_a_column_that_a_store_lacks_is_added(store: Store) -> None:
    run = completed(store, CONFIG)
    store.conn.execute("DROP VIEW curves")
    store.conn.execute("ALTER TABLE epochs DROP COLUMN softmax_wrong")
    store.conn.commit()
    assert Store.open(store.path).details("epochs", run)[0]["softmax_wrong"] is None


def test_a_field_of_config_that_a_store_lacks_is_added_with_its_default(store: Store) -> None:
    """What happens to a store when noisybench gains an option."""
    run = completed(store, CONFIG)
    store.conn.execute("ALTER TABLE runs DROP COLUMN weight_decay")
    store.conn.commit()
    reopened = Store.open(store.path)
    assert Config.from_row(reopened.find(run)) == CONFIG
    assert reopened.results()["weight_decay"].tolist() == [CONFIG.weight_decay]


def test_a_view_that_reads_otherwise_now_is_made_anew(store: Store) -> None:
    """Of attempts that came from two machines, the one that completed last counts, not the last to come."""
    first, second = completed(store, CONFIG), completed(store, CONFIG)
    store.conn.execute("UPDATE runs SET ended = '2026-01-02' WHERE id = ?", [first])
    store.conn.execute("UPDATE runs SET ended = '2026-01-01' WHERE id = ?", [second])
    store.conn.execute("DROP VIEW results")
    store.conn.execute("CREATE VIEW results AS SELECT * FROM runs WHERE attempt = 2")
    store.conn.commit()
    assert Store.open(store.path).results()["id"].tolist() == [first]


def test_two_stores_on_one_file_see_each_other(store: Store) -> None:
    other = Store.open(store.path)
    run = completed(store, CONFIG)
    assert other.completed(CONFIG.identity) is not None
    other.delete([run])
    assert store.completed(CONFIG.identity) is None


@pytest.mark.slow
def test_several_processes_may_make_one_store_at_once(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from noisybench.store import Store;"
        "time.sleep(max(0, float(sys.argv[2]) - time.time()));"
        "print([Store.open(Path(f'{sys.argv[1]}-{n}')).runs() for n in range(20) for _ in range(2)])"
    )
    for attempt in range(2):
        start = str(time.time() + 4)
        command = [sys.executable, "-c", code, str(tmp_path / f"{attempt}.db"), start]
        children = [
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(4)
        ]
        results = [child.communicate(timeout=60) for child in children]
        assert [out for out, _ in results] == [f"{[[]] * 40}\n"] * 4, [errors for _, errors in results]


def test_a_transaction_that_fails_leaves_nothing(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "runs.db")
    run = store.begin(CONFIG, HERE)
    with pytest.raises(KeyError), store.transaction():
        store.insert("epochs", {"run": run, **vars(EPOCH)})
        raise KeyError
    assert Store.open(store.path).details("epochs", run) == []


def test_nobody_else_writes_between_what_a_transaction_reads_and_writes(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "runs.db")
    other = sqlite3.connect(store.path, timeout=0)
    with store.transaction():
        assert store.runs() == []
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("DELETE FROM runs")
    other.close()


def test_results_have_the_values_of_the_view_whether_they_vary_or_not(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "runs.db")
    for seed in (0, 1, 2):
        run = store.begin(replace(CONFIG, seed=seed), HERE)
        if seed:
            store.complete(run, RESULT, reason="early" if seed == 2 else "")
    rows = {row["id"]: row for row in store.query("SELECT * FROM results")}
    found = store.results()
    assert list(found.columns) == list(next(iter(rows.values()))) and len(found) == 3
    for record in found.astype(object).where(found.notna(), None).to_dict("records"):
        assert record == rows[record["id"]]
