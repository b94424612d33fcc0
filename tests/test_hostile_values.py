"""Whatever values the tables of a store have: a right answer or one message, no traceback, and nothing that a
terminal obeys."""

import random
import shutil
import sqlite3
from pathlib import Path

import pytest
from commands import as_json, noisybench
from stores import EVALUATION, TABLES, put
from test_store import PRUNING

from noisybench.config import Config
from noisybench.store import Estimate, Store, tables

VALUES = (
    *(
        float("inf"),
        -float("inf"),
        1e308,
        -1,
        2**63 - 1,
        -(2**63),
        0,
        0.5,
        None,
        b"\x00\xff",
        "",
        "0.5",
        "1970",
    ),
    *("text", "[red]x[/nosuch]", "[/]", "\x1b[2J\x07", "\u202eabc", "lq(q=0.7", "nosuch(x=1)", "digits@zz"),
    *("[[1,", "null", '{"a":1}', "[[]]", "[[1e999]]", "[[1]]", "[" * 10_000, "x" * 100_000),
)
LQ = Config.create(loss="lq", epochs=3)
RUN = LQ.identity[:12]
COMMANDS: list[tuple[object, ...]] = [
    *(("runs", "list"), ("runs", "list", "--json"), ("runs", "list", "--where", "seed=1")),
    *(("runs", "show", RUN), ("runs", "show", RUN, "--json")),
    *(("report", "--format", name) for name in ("table", "markdown", "latex", "csv", "json", "html")),
    *(
        ("report", "--table", "open-set"),
        ("report", "--against", "paper"),
        ("report", "--audit", "selection"),
    ),
    *(("report", "--compare", "cce", "lq"), ("runs", "export")),
    *(("runs", "export", "--table", name) for name in ("curves", "transitions", "evaluations")),
]
NAMES = ("id", "identity", "run", "attempt")  # tests/test_hostile_stores.py has these


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = Store.open(tmp_path_factory.mktemp("whole") / "whole.db")
    for loss in ("cce", "lq"):
        for seed in range(2):
            run = put(store, Config.create(loss=loss, seed=seed, epochs=3), epochs=3)
            store.add(run, PRUNING)
            store.add_transition(run, Estimate(run, [[0.5, 0.5], [0.25, 0.75]]), [[1.0, 0.0], [0.0, 1.0]])
            store.add_evaluation(run, "test", EVALUATION)
    put(store, Config.create(loss="mae"), status="failed")
    put(store, Config.create(loss="mae", seed=1), status="running", host="there")
    store.conn.close()
    return store.path


def changed(whole: Path, folder: Path, table: str, column: str, value: object) -> Path:
    """A copy of the store with this value in some rows of a column."""
    path = folder / "changed.db"
    for old in folder.glob("changed.db*"):
        old.unlink()
    shutil.copy(whole, path)
    connection = sqlite3.connect(path)
    rows = f"SELECT rowid FROM {table} LIMIT 3"
    with connection:
        connection.execute(f"UPDATE OR IGNORE {table} SET [{column}] = ? WHERE rowid IN ({rows})", [value])
    connection.close()
    return path


def check(*command: object) -> None:
    result = noisybench(*command)
    assert result.exception is None or isinstance(result.exception, SystemExit), (command, result.exception)
    assert result.exit_code in (0, 1, 2)
    if "export" not in command:  # a file for other tools has texts as they are
        assert not any(character in result.output for character in "\x1b\x07\u202e"), command
    if result.exit_code == 2:
        assert result.stdout == "" and result.stderr.count("\n") < 9


@pytest.mark.slow
@pytest.mark.parametrize("large", [False, True])
def test_random_values(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: bool) -> None:
    """large: as in a store whose rows are not all checked when it is opened."""
    if large:
        monkeypatch.setattr(tables, "CHECKED", 0)
    connection = sqlite3.connect(whole)
    columns = [
        (table, name)
        for table in TABLES
        for (name,) in connection.execute("SELECT name FROM pragma_table_info(?)", [table])
        if name not in NAMES
    ]
    connection.close()
    chance = random.Random(int(large))
    for number in range(30):
        path = changed(whole, tmp_path, *chance.choice(columns), chance.choice(VALUES))
        for command in chance.sample(COMMANDS, 5):
            check(*command, "--db", path)
        check("runs", "merge", path, "--into", tmp_path / f"merged-{number}.db")


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize(
    ("table", "column", "value", "command"),
    [
        ("runs", "test_accuracy", float("inf"), ("runs", "list", "--json")),
        ("runs", "test_accuracy", None, ("runs", "list")),
        ("runs", "train_size", "text", ("report",)),
        ("runs", "started", None, ("runs", "list")),
        ("epochs", "train_loss", "text", ("runs", "export", "--table", "curves")),
        ("epochs", "test_accuracy", float("-inf"), ("report", "--audit", "selection")),
        ("prunings", "n_dropped", "text", ("runs", "show", RUN)),
        ("transitions", "actual", "[[1,", ("runs", "show", RUN)),
        ("transitions", "estimated", "[[1e999, 0], [0, 1]]", ("runs", "show", RUN, "--json")),
        ("evaluations", "accuracy", float("inf"), ("runs", "show", RUN, "--json")),
    ],
)
def test_values_that_noisybench_does_not_write_are_refused(
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    large: bool,
    table: str,
    column: str,
    value: object,
    command: tuple[str, ...],
) -> None:
    if large:
        monkeypatch.setattr(tables, "CHECKED", 0)
    path = changed(whole, tmp_path, table, column, value)
    result = noisybench(*command, "--db", path)
    assert result.exit_code == 2 and "is damaged" in result.stderr, result.output


def test_texts_that_look_like_markup_are_printed_as_they_are(whole: Path, tmp_path: Path) -> None:
    path = changed(whole, tmp_path, "runs", "loss", "[red]x[/nosuch]")
    for command in (("runs", "list"), ("report",)):
        assert "[red]x[/nosuch]" in noisybench(*command, "--db", path).stdout
    assert {row["loss"] for row in as_json("runs", "list", "--db", path)} >= {"[red]x[/nosuch]"}
