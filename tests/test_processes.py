"""Whose runs are in training: what the store makes of living, dead and later processes."""

import os
import socket
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest
from test_store import CONFIG, HERE

from noisybench.errors import RunBusy, StoreError
from noisybench.store import Store
from noisybench.store.host import began


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "runs.db")


def test_a_run_of_a_living_process_is_not_started_again(store: Store) -> None:
    run = store.begin(CONFIG, replace(HERE, pid=os.getppid()))
    with pytest.raises(StoreError, match=str(os.getppid())):
        store.begin(CONFIG, HERE)
    store.end(run, "interrupted", "stop")
    store.begin(CONFIG, HERE)


def test_a_run_in_training_is_not_deleted(store: Store) -> None:
    run = store.begin(CONFIG, replace(HERE, pid=os.getppid(), host=socket.gethostname()))
    with pytest.raises(RunBusy):
        store.delete([run])
    assert store.find(run)["status"] == "running"


def test_a_run_of_a_dead_process_is_taken_over(store: Store) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    run = store.begin(CONFIG, replace(HERE, pid=child))
    assert store.begin(CONFIG, HERE) == run


def test_a_dead_process_that_nobody_has_asked_about_is_dead(store: Store) -> None:
    """As in a container whose first process does not."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    run = store.begin(CONFIG, replace(HERE, pid=child))
    assert store.begin(CONFIG, HERE) == run
    os.waitpid(child, 0)


def test_a_run_that_was_taken_over_meanwhile_is_not_taken_for_dead(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = replace(HERE, host=socket.gethostname())
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    other = Store.open(store.path)
    run = store.begin(CONFIG, replace(here, pid=child))
    transaction = store.transaction

    def after_another() -> AbstractContextManager[None]:
        other.begin(CONFIG, replace(here, pid=os.getppid()))
        return transaction()

    monkeypatch.setattr(store, "transaction", after_another)
    store.end_dead_runs()
    assert (store.find(run)["status"], store.find(run)["pid"]) == ("running", os.getppid())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells when a process began")
def test_a_later_process_of_the_same_number_is_another(store: Store) -> None:
    """As after a power failure, or when a container is started anew: the numbers are the same again."""
    parent = replace(HERE, host=socket.gethostname(), pid=os.getppid())
    boot, _, tick = began(parent.pid).partition(" ")
    now, *before = began(parent.pid), f"{boot} {int(tick) - 1}", f"another-boot {tick}"
    runs = [
        store.begin(replace(CONFIG, seed=seed), replace(parent, began=since))
        for seed, since in enumerate(["", now, *before])
    ]
    for seed in (0, 1):
        with pytest.raises(RunBusy):
            store.begin(replace(CONFIG, seed=seed), replace(parent, pid=os.getpid()))
    assert store.begin(replace(CONFIG, seed=2), replace(parent, pid=os.getpid())) == runs[2]
    store.begin(replace(CONFIG, seed=2), replace(parent, began=before[0]))
    states = [row["status"] for row in map(Store.open(store.path).find, runs)]
    assert states == ["running", "running", "interrupted", "interrupted"]


def test_a_process_keeps_its_beginning_and_no_two_share_one() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        first = began(child.pid)
        time.sleep(0.05)
        assert began(child.pid) == first
        assert not first or first != began(os.getpid())
    finally:
        child.communicate(b"\n")
    assert began(child.pid) == ""


def test_a_run_whose_process_was_killed_is_interrupted(store: Store) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    here = replace(HERE, host=socket.gethostname())
    dead = store.begin(CONFIG, replace(here, pid=child))
    alive = store.begin(replace(CONFIG, seed=8), replace(here, pid=os.getppid()))
    elsewhere = store.begin(replace(CONFIG, seed=9), replace(HERE, pid=child))
    store = Store.open(store.path)
    assert [store.find(run)["status"] for run in (dead, alive, elsewhere)] == [
        "interrupted",
        "running",
        "running",
    ]
    assert str(child) in store.find(dead)["reason"]
