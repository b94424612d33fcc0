"""`noisybench runs export`: what a file says is what the store says."""

import csv
import io
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from commands import noisybench, succeed
from stores import EVALUATION, put
from test_store import CONFIG, PRUNING

from noisybench.results import Epoch
from noisybench.store import Estimate, Store
from noisybench.store.schema import VIEWS, tables


@pytest.fixture
def store(database: Path) -> Store:
    """Two completed runs, one of them pruned and evaluated, and one that failed."""
    store = Store.open(database)
    run = put(store, accuracy=1 / 3, estimate=Estimate("0123456789ab", [[0.1, 0.9], [0.0, 1.0]]))
    store.add(run, PRUNING)
    store.add_evaluation(run, "test", EVALUATION)
    put(store, replace(CONFIG, seed=4, train_size=300, rate=0.1), commit="abc")
    put(store, replace(CONFIG, seed=4, train_size=300, rate=0.1), accuracy=0.1 + 0.2)
    put(store, replace(CONFIG, seed=2**32 - 1), status="failed", epochs=0)
    return store


def rows(store: Store, table: str) -> list[dict[str, Any]]:
    return store.query(f"SELECT * FROM {table}")


def same(read: pd.DataFrame, wanted: list[dict[str, Any]]) -> bool:
    """Whether all values are those of the store, exactly; missing ones read as None."""
    found = read.astype(object).where(read.notna(), None).to_dict("records")
    return found == wanted


def stands_for(text: str, value: Any) -> bool:
    """Whether a cell of CSV is this value: digit for digit, and a float to its last bit."""
    return float(text) == value if isinstance(value, float) else text == ("" if value is None else str(value))


@pytest.mark.parametrize("table", [*VIEWS, *tables()])
def test_csv_reads_as_the_table(store: Store, table: str, tmp_path: Path) -> None:
    wanted = rows(store, table)
    printed = succeed("runs", "export", "--table", table)
    out = tmp_path / "out.csv"
    assert succeed("runs", "export", "--table", table, "--out", out) == ""
    assert out.read_text() == printed
    read = list(csv.DictReader(io.StringIO(printed)))
    assert len(read) == len(wanted) > 0
    for cells, row in zip(read, wanted, strict=True):
        assert list(cells) == list(row)
        assert [name for name in row if not stands_for(cells[name], row[name])] == []


@pytest.mark.parametrize("table", [*VIEWS, *tables()])
def test_parquet_reads_as_the_table(store: Store, table: str, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    out = tmp_path / "out.parquet"
    succeed("runs", "export", "--table", table, "--out", out)
    read = pd.read_parquet(out)
    assert same(read, rows(store, table)) and len(read)


def test_columns_have_the_types_of_what_they_hold(store: Store, tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    out = tmp_path / "out.parquet"
    succeed("runs", "export", "--table", "runs", "--out", out)
    types = {field.name: str(field.type) for field in pq.read_schema(out)}
    for name, kind in {
        "seed": "int64",
        "train_size": "int64",
        "best_epoch": "int64",
        "rate": "double",
        "test_accuracy": "double",
    }.items():
        assert types[name] == kind, name
    assert all("string" in types[name] for name in ("loss", "started", "ended", "reason", "commit"))
    succeed("runs", "export", "--table", "epochs", "--out", out)
    found = {field.name: str(field.type) for field in pq.read_schema(out)}
    for field in fields(Epoch):
        # softmax_wrong is missing in every row, and a number all the same.
        assert found[field.name] == ("int64" if field.type is int else "double"), field.name


def test_the_default_counts_each_config_once(store: Store) -> None:
    read = list(csv.DictReader(io.StringIO(succeed("runs", "export"))))
    assert sorted(row["test_accuracy"] for row in read) == ["", str(0.1 + 0.2), str(1 / 3)]
    assert len(succeed("runs", "export", "--table", "runs").splitlines()) == 1 + 4


@pytest.mark.parametrize(
    ("where", "runs", "epochs"),
    [
        (["status=completed"], 3, 6),
        (["status=failed"], 1, 0),
        (["train_size=300"], 2, 4),
        (["train_size=none", "status=completed"], 1, 2),
        (["best_epoch=1", "loss=lq"], 3, 6),
        (["commit=abc"], 1, 2),
        (["rate=0.1", "rate=0.4"], 4, 6),
    ],
)
def test_where_is_about_runs_in_every_table(store: Store, where: list[str], runs: int, epochs: int) -> None:
    conditions = [word for condition in where for word in ("--where", condition)]
    for table, count in (("runs", runs), ("epochs", epochs), ("curves", epochs)):
        text = succeed("runs", "export", "--table", table, *conditions)
        assert len(text.splitlines()) == 1 + count, table


def test_no_run_meets_the_conditions(store: Store) -> None:
    result = noisybench("runs", "export", "--where", "loss=mae")
    assert result.exit_code == 0 and "No run has loss=mae" in result.stderr
    assert len(result.stdout.splitlines()) == 1, "the columns are named all the same"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--table", "epoch"], "Did you mean 'epochs'?"),
        (["--out", "runs.xlsx"], ".csv, .parquet"),
        (["--out", "runs"], ".csv, .parquet"),
        (["--where", "los=lq"], "Did you mean 'loss'?"),
        (["--out", "none/runs.csv"], "cannot be written"),
        (["--db", "none.db"], "no store none.db"),
    ],
)
def test_wrong_input(
    store: Store, tmp_path: Path, arguments: list[str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    result = noisybench("runs", "export", *arguments)
    assert result.exit_code == 2 and expected in result.stderr and result.stdout == ""
    assert list(Path().iterdir()) == []


def test_parquet_without_pyarrow_says_what_to_install(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    out = tmp_path / "out.parquet"
    out.write_text("of before")
    result = noisybench("runs", "export", "--out", out)
    assert result.exit_code == 2 and "noisybench[parquet]" in result.stderr
    assert out.read_text() == "of before"
