"""`runs list` and `runs delete`: what fits the terminal, what other hosts train, and who can be asked."""

import os
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from commands import as_json, noisybench, succeed
from stores import put
from test_store import CONFIG

from noisybench.cli.runs import table_of_runs
from noisybench.config import Config
from noisybench.store import Store


@pytest.fixture
def store(database: Path) -> Store:
    return Store.open(database)


@pytest.mark.parametrize("width", [40, 80])
def test_a_narrow_terminal_shows_all_of_a_run(store: Store, width: int) -> None:
    config = Config.create(loss="trunc-lq(k=0.3)", noise="class-dependent", rate=0.3, seed=7)
    run = put(store, config, accuracy=0.625)
    lines = list(table_of_runs(store.runs(), width))
    assert max(map(len, lines)) <= width and not lines[0].startswith(" ")
    text = " ".join(" ".join(lines).split())
    for part in (run, "completed", "62.50%", "trunc-lq(q=0.7, k=0.3) on digits, class-dependent 0.3, seed 7"):
        assert part in text


def test_a_wide_terminal_and_a_pipe_show_a_line_a_run(store: Store) -> None:
    put(store)
    put(store, replace(CONFIG, seed=8))
    for width in (200, None):
        heading, *lines = table_of_runs(store.runs(), width)
        assert len(lines) == 2 and heading.split()[0] == "id"
        assert lines[0].index("completed") == lines[1].index("completed") == heading.index("status")


def test_a_run_that_another_host_trains_is_named_with_what_to_do(store: Store) -> None:
    run = put(store, status="running", host="gone-node", ended="2026-01-01T00:00:00+00:00")
    for command in (("runs", "list"), ("runs", "show", run)):
        said = " ".join(noisybench(*command).stderr.split())
        assert "gone-node since 2026-01-01" in said and run in said and "runs delete" in said
    assert "gone-node" not in noisybench("runs", "list", "--json").stderr
    succeed("runs", "delete", "--yes", run)
    assert as_json("runs", "list") == []


def test_whoever_cannot_be_asked_is_told_of_yes(store: Store) -> None:
    run = put(store)
    result = noisybench("runs", "delete", run)
    assert result.exit_code == 2 and "-y" in result.stderr and "Aborted" not in result.output
    assert [row["id"] for row in as_json("runs", "list")] == [run]


def test_the_conditions_and_the_limit_go_together(store: Store) -> None:
    for seed in range(4):
        put(store, replace(CONFIG, seed=seed), ended=f"2026-01-0{seed + 1}T00:00:00+00:00")
    rows = as_json(
        "runs", "list", "--where", "seed=0", "--where", "seed=2", "--where", "seed=3", "--limit", 2
    )
    assert [row["seed"] for row in rows] == [3, 2]
    assert set(rows[0]) == set(store.runs()[0])


@pytest.mark.slow
def test_a_hundred_thousand_runs_are_listed_in_seconds(store: Store) -> None:
    """Of the processor: this machine may have other work."""
    put(store)
    row = store.runs()[0]
    others = (
        {**row, "id": f"{number:012x}", "identity": f"{number:016x}", "seed": number}
        for number in range(100_000)
    )
    names = ", ".join(f"[{name}]" for name in row)
    with store.conn:
        store.conn.executemany(
            f"INSERT INTO runs ({names}) VALUES ({', '.join('?' * len(row))})",
            ([*each.values()] for each in others),
        )
    store.conn.close()
    for options, count in (((), 100_002), (("--limit", "20"), 21), (("--where", "seed=7"), 2)):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-c", "from noisybench.cli import main; main()", "runs", "list", *options]
        listed = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert len(listed.stdout.splitlines()) == count
        assert after.ru_utime - before.ru_utime < 6
