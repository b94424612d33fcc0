"""`noisybench report` on a store."""

import csv
import json
from pathlib import Path

import pytest
from test_reporting import PROTOCOL
from typer.testing import CliRunner

from noisybench.cli import app
from noisybench.config import Config
from noisybench.results import Provenance, Result
from noisybench.store import Store

HERE = Provenance("cpu", "float32", "0", "0", None, "0", "elsewhere", 1)


@pytest.fixture
def store(database: Path) -> Store:
    """cce at 50 and 60 %, lq at 80 %, and a run of mae that failed."""
    store = Store.open(database)
    for loss, seed, accuracy in [("cce", 0, 0.5), ("cce", 1, 0.6), ("lq(q=0.7)", 0, 0.8)]:
        run = store.begin(Config(**PROTOCOL, loss=loss, seed=seed), HERE)
        store.complete(run, Result(1, 0.5, accuracy, 0.1, 90, 90, 1.0))
    store.end(store.begin(Config(**PROTOCOL, loss="mae"), HERE), "failed", "the loss is NaN")
    return store


def report(*arguments: str) -> tuple[str, str]:
    result = CliRunner().invoke(app, ["report", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


def test_a_table_of_the_store(store: Store) -> None:
    text, _ = report()
    rows = [line.split("  ") for line in text.splitlines()]
    said = {words[0]: words[-1].strip() for words in rows}
    assert said["cce"] == "55.00 ± 7.07" and said["lq(q=0.7)"] == "80.00 (n=1)" and said["mae"] == "failed"
    assert "Not in the averages: 1 failed" in text


def test_where_and_format(store: Store) -> None:
    text, messages = report("--format", "json", "--where", "loss=lq", "--where", "loss=nothing")
    assert [record["loss"] for record in json.loads(text)] == ["lq(q=0.7)"]
    assert "No run has loss=nothing. Known values of loss: cce, lq(q=0.7), mae." in messages


def test_out_writes_a_file(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "table.csv"
    assert report("--format", "csv", "--out", str(out))[0] == ""
    rows = csv.DictReader(out.read_text().splitlines())
    assert [row["loss"] for row in rows] == ["cce", "mae", "lq(q=0.7)"]


def test_an_empty_store(database: Path) -> None:
    Store.open(database)
    assert "There are no runs to report" in report()[0]
    assert json.loads(report("--format", "json")[0]) == []


def test_against_published_numbers(store: Store) -> None:
    assert "Nothing to compare: Table 1 of Zhang & Sabuncu 2018" in report("--against", "paper")[0]
    run = store.begin(Config.create(dataset="cifar10", train_size=100), HERE)
    store.complete(run, Result(1, 0.5, 0.8, 0.6, 90, 90, 1.0))
    for table, difference in [("closed-set", 80 - 81.88), ("open-set", 60 - 62.38)]:
        text, _ = report("--against", "paper", "--table", table, "--format", "json", "--margin", "2")
        (record,) = json.loads(text)
        assert record["difference"] == pytest.approx(difference) and record["margin"] == 2
        assert record["verdict"] == "no reproduction" and "train_size=100" in record["deviations"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--table", "closed"], "Did you mean 'closed-set'?"),
        (["--format", "latx"], "Did you mean 'latex'?"),
        (["--where", "los=cce"], "Did you mean 'loss'?"),
        (["--against", "papre"], "Did you mean 'paper'?"),
        (["--against", "paper", "--margin", "0"], "margin is 0, but must be above 0"),
        (["--margin", "2"], "requires --against paper"),
        (["--out", "no/such/folder/table.txt"], "cannot be written"),
    ],
)
def test_wrong_input(store: Store, arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["report", *arguments])
    assert result.exit_code == 2 and message in result.stderr
    assert result.stdout == ""


def test_compare_takes_losses_by_themselves(store: Store) -> None:
    text, _ = report("--compare", "lq", "cce", "--format", "json")
    (cell,) = json.loads(text)
    assert (cell["first"], cell["second"], cell["n"]) == ("lq(q=0.7)", "cce", 1)
    assert cell["difference"] == pytest.approx(-30)
    # The flag may stand anywhere, and what follows an option of its own is not a loss.
    assert json.loads(report("lq", "--format", "json", "cce", "--compare")[0]) == [cell]
    printed, _ = report("--compare", "lq", "cce", "--where", "seed=0")
    assert "Not used" not in printed and "−30.00" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lq", "cce"], "without --compare"),
        (["--compare"], "at least two losses"),
        (["--compare", "lq"], "at least two losses"),
        (["--compare", "lq", "ccee"], "Did you mean 'cce'?"),
        (["--compare", "lq", "unhinged"], "No loss of these runs is called 'unhinged'"),
        (["--compare", "lq(q=7)", "cce"], "q of loss lq is 7"),
    ],
)
def test_wrong_comparisons(store: Store, arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["report", *arguments])
    assert result.exit_code == 2 and message in " ".join(result.stderr.split())
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--audit", "selektion"], "Did you mean 'selection'? Known: selection,"),
        (["--audit", ""], "write it as name"),
        (["--audit", "selection", "--compare", "lq", "cce"], "give one of them"),
        (["--audit", "selection", "--against", "paper"], "--audit and --against are different reports"),
    ],
)
def test_wrong_audits(store: Store, arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["report", *arguments])
    assert result.exit_code == 2 and message in " ".join(result.stderr.split())
    assert result.stdout == ""
