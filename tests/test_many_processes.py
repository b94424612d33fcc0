"""Eight processes on one store, of which some are killed: each run is completed once, and nothing is lost."""

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from test_store import CONFIG

from noisybench.store import Store

# What a sweep does, without training: all configs in an order of its own, each until it is completed.
WRITER = """
import os, random, socket, sys, time
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, sys.argv[4])
from test_store import CONFIG, EPOCH, HERE, RESULT
from noisybench.errors import RunBusy, RunCompleted
from noisybench.store import Store

path, runs, order = Path(sys.argv[1]), int(sys.argv[2]), random.Random(int(sys.argv[3]))
left = list(range(runs))
print("ready", flush=True)
while not path.with_suffix(".go").exists():
    time.sleep(0.01)
while left:
    seed = order.choice(left)
    config = replace(CONFIG, seed=seed)
    store = Store.open(path)
    try:
        run = store.begin(config, replace(HERE, host=socket.gethostname(), pid=os.getpid()), again=False)
    except RunCompleted:
        left.remove(seed)
        continue
    except RunBusy:
        time.sleep(0.01)
        continue
    print(run, flush=True)
    begun = len(store.rewind(run, 5)[0])
    for epoch in range(begun + 1, 11):
        store.add(run, replace(EPOCH, epoch=epoch, train_loss=seed + epoch / 100))
        time.sleep(0.02)
    store.complete(run, replace(RESULT, test_accuracy=seed / 100))
    store.conn.close()
"""
RUNS, WRITERS, KILLS = 30, 8, 6


@pytest.mark.slow
def test_eight_writers_of_which_some_are_killed(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    Store.open(path)
    chance = random.Random(11)
    folder = str(Path(__file__).parent)

    def start(number: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", WRITER, str(path), str(RUNS), str(number), folder]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    writers = [start(number) for number in range(WRITERS)]
    for writer in writers:
        assert writer.stdout is not None and writer.stdout.readline() == "ready\n"
    path.with_suffix(".go").touch()
    killed, writers = writers[:KILLS], writers[KILLS:]
    for victim in killed:
        assert victim.stdout is not None and victim.stdout.readline(), "it has begun a run"
        time.sleep(chance.uniform(0, 0.1))
        victim.send_signal(signal.SIGKILL)
    writers += [start(WRITERS + number) for number in range(KILLS)]
    for process in writers:
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
    for process in killed:
        process.communicate(timeout=60)
    assert [process.returncode for process in killed] == [-signal.SIGKILL] * KILLS
    store = Store.open(path)
    rows = store.runs()
    assert Counter(row["seed"] for row in rows) == Counter(range(RUNS)), "each once, none twice"
    for row in rows:
        assert row["status"] == "completed" and row["test_accuracy"] == row["seed"] / 100
        epochs = [(each["epoch"], each["train_loss"]) for each in store.details("epochs", row["id"])]
        assert epochs == [(epoch, row["seed"] + epoch / 100) for epoch in range(1, 11)]
    assert store.conn.execute("SELECT count(*) FROM epochs").fetchone() == (10 * RUNS,)
    assert store.conn.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert len(store.results()) == RUNS and store.completed(replace(CONFIG, seed=0).identity) is not None
