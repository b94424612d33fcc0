"""The identity of a run: what it is made of, that it stays, and that older stores are brought along."""

import gzip
import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import pytest
from commands import noisybench
from stores import EVALUATION
from test_store import HERE, RESULT

from noisybench.config import Config, first_stage
from noisybench.errors import InvalidValue
from noisybench.options import Option
from noisybench.registry import METHODS, NoMetadata, Registry
from noisybench.store import Estimate, Store
from noisybench.store.merge import merge

DATA = Path(__file__).parent / "data"

# A run of one of these settings is found again by every later noisybench.
GOLDEN: list[tuple[dict[str, Any], str]] = [
    ({}, "221ba98be54ff6ed"),
    ({"loss": "lq"}, "f47423f2d756b6a2"),
    ({"loss": "lq(q=0.3)"}, "06c875aeb4159054"),
    ({"loss": "trunc-lq"}, "0443fc9b2b64ba84"),
    ({"loss": "forward-t", "noise": "class-dependent", "rate": 0.2}, "5653d7ce78e4a788"),
    ({"loss": "forward-that", "dataset": "cifar10"}, "96f83b55d3e843cb"),
    ({"loss": "wang2018", "dataset": "cifar10", "noise": "open-set"}, "0800dfdcc68560dd"),
    ({"dataset": "cifar100", "loss": "mae", "seed": 4}, "039c7d875b1281ca"),
    (
        {"dataset": "fashion-mnist", "loss": "unhinged", "noise": "uniform-inclusive", "draws": "exact"},
        "bfe10c86cae657f5",
    ),
    (
        {"model": "resnet8(width=8)", "augment": "flip-crop", "train_size": 600, "epochs": 6},
        "784bfe8e3061e076",
    ),
    ({"loss": "backward-that"}, "123d11e251a0ee87"),
    ({"precision": "fp32"}, "6d8346e818a0129e"),
    ({"precision": "bf16"}, "2db4c7634ad81e54"),
]

# Those of earlier revisions of methods, whose numbers were others.
EARLIER: list[tuple[dict[str, Any], int, str]] = [
    ({"loss": "forward-that", "dataset": "cifar10"}, 1, "fdb08ae8aaaad2a1"),
    ({"loss": "wang2018", "dataset": "cifar10", "noise": "open-set"}, 1, "1a88d14f849d12d3"),
]


@pytest.mark.parametrize("given, identity", GOLDEN, ids=lambda value: str(value))
def test_identities_stay(given: dict[str, Any], identity: str) -> None:
    assert Config.create(**given).identity == identity


@pytest.mark.parametrize("given, revision, identity", EARLIER, ids=lambda value: str(value))
def test_a_revision_of_a_method_has_identities_of_its_own(
    given: dict[str, Any], revision: int, identity: str
) -> None:
    config = Config.create(**given)
    assert config.revision > revision
    assert replace(config, revision=revision).identity == identity


def test_the_first_stage_has_the_revision_of_its_own_method() -> None:
    stage = first_stage(Config.create(loss="forward-that"))
    assert stage is not None and stage.identity == Config.create(loss="cce").identity


def test_a_hyper_parameter_that_is_added_with_a_default_moves_no_identity(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = Config.create(loss="lq(q=0.4)").identity

    def lq(
        logits: Any,
        target: Any,
        *,
        q: Annotated[float, Option("q")] = 0.7,
        later: int = 3,
    ) -> Any:
        """L_q with one more hyper-parameter."""

    METHODS["lq"]
    monkeypatch.setitem(METHODS._entries, "lq", METHODS.entry("lq", lq, {}))
    assert Config.create(loss="lq(q=0.4)").identity == before
    assert Config.create(loss="lq(q=0.4, later=4)").identity != before


def test_a_hyper_parameter_cannot_have_the_name_of_a_setting() -> None:
    def elr(logits: Any, target: Any, *, momentum: float = 0.7) -> Any:
        """Early-learning regularisation, with a name that SGD has taken."""

    with pytest.raises(InvalidValue, match="momentum"):
        METHODS.register("elr-of-a-test")(elr)
    assert "elr-of-a-test" not in {entry.name for entry in METHODS}


def test_misspelt_metadata_is_an_error_at_registration() -> None:
    @dataclass(frozen=True)
    class Info:
        colour: str = ""

    with pytest.raises(TypeError, match="color"):
        Registry("thing", "noisybench.errors", Info).register("thing", color="red")(lambda: None)
    with pytest.raises(TypeError):
        Registry("thing", "noisybench.errors", NoMetadata).register("thing", colour="red")(lambda: None)


@pytest.fixture
def old_store(tmp_path: Path) -> Path:
    path = tmp_path / "old.db"
    path.write_bytes(gzip.decompress((DATA / "store-of-version-1.db.gz").read_bytes()))
    return path


def test_a_store_of_version_1_has_identities_of_today_and_reports_the_same(old_store: Path) -> None:
    store = Store.open(old_store)
    rows = store.runs()
    assert len(rows) == 32
    assert all(row["identity"] == Config.from_row(row).identity for row in rows)
    assert {row["id"] for row in rows} >= {"5a4853ca0738", "8ad4aeb8bad8"}
    again = replace(Config.from_row(store.find("5a4853ca0738")))
    assert store.completed(again.identity) is not None
    before = (DATA / "store-of-version-1.report.txt").read_text()
    lines = {line for line in before.splitlines() if "±" in line or "failed" in line}
    assert len(lines) > 8
    assert lines <= set(noisybench("report", "--db", old_store).stdout.splitlines())


def test_runs_of_earlier_revisions_stay_apart_and_are_named(old_store: Path) -> None:
    store = Store.open(old_store)
    earlier = {row["id"]: Config.from_row(row) for row in store.runs() if row["loss"] == "forward-that"}
    assert earlier and all(config.revision == 1 for config in earlier.values())
    completed = next(config for run, config in earlier.items() if store.find(run)["status"] == "completed")
    again = Config.create(**completed.row())
    assert again.revision == 2 and store.completed(again.identity) is None
    shown = noisybench("report", "--db", old_store).stdout
    assert "earlier revision of forward-that" in shown and all(run in shown for run in earlier)
    # Under the same settings the runs of today are cells of their own.
    run = store.begin(again, HERE)
    store.complete(run, RESULT)
    shown = noisybench("report", "--db", old_store).stdout
    assert "forward-that, revision 1" in shown and "forward-that, revision 2" in shown


def test_an_estimate_of_an_earlier_revision_is_made_again(old_store: Path) -> None:
    store = Store.open(old_store)
    (matrices, *_) = store.query("SELECT * FROM transitions JOIN runs ON id = run WHERE loss = 'cce'")
    assert store.estimate(matrices["identity"]) is None
    stored = json.loads(matrices["estimated"])
    store.add_transition(matrices["run"], Estimate(matrices["run"], stored), None)
    assert store.estimate(matrices["identity"]) == Estimate(matrices["run"], stored)


def test_what_a_run_of_version_1_computed_in_stays_known(old_store: Path) -> None:
    with closing(sqlite3.connect(old_store)) as conn:
        before = dict(conn.execute("SELECT id, precision FROM runs"))
    rows = Store.open(old_store).runs()
    assert {row["id"]: row["computed_in"] for row in rows} == before
    assert {row["precision"] for row in rows} == {"auto"}


def test_a_run_of_version_1_that_did_not_complete_goes_on_under_its_id(old_store: Path) -> None:
    store = Store.open(old_store)
    row = next(row for row in store.runs() if row["status"] == "failed")
    assert not row["identity"].startswith(row["id"]), "the id is that of the old identity"
    config = Config.from_row(row)
    n_runs = len(store.runs())
    assert store.begin(config, HERE) == row["id"]
    assert [one["id"] for one in store.attempts(config.identity)] == [row["id"]]
    assert len(store.runs()) == n_runs


def test_runs_of_version_1_keep_their_ids_in_a_merge_and_come_once(old_store: Path, tmp_path: Path) -> None:
    other, into = tmp_path / "other.db", tmp_path / "all.db"
    other.write_bytes(old_store.read_bytes())
    ids = sorted(row["id"] for row in Store.open(old_store).runs())
    for source, n_added in ((old_store, len(ids)), (other, 0), (old_store, 0)):
        assert len(merge([source], into).added) == n_added
        assert sorted(row["id"] for row in Store.open(into).runs()) == ids
    # A copy that completed later, and was evaluated, is the same run too.
    later = Store.open(other)
    row = next(row for row in later.runs() if row["status"] == "completed")
    later.add_evaluation(row["id"], "train", EVALUATION)
    with later.conn:
        later.conn.execute("UPDATE runs SET ended = '2999' WHERE id = ?", [row["id"]])
    merge([other], into)
    store = Store.open(into)
    assert sorted(one["id"] for one in store.runs()) == ids
    assert store.find(row["id"])["ended"] == "2999"
    assert [one["run"] for one in store.query("SELECT run FROM evaluations WHERE split = 'train'")] == [
        row["id"]
    ]
