"""A run that was killed goes on, and ends as if nothing had been."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from noisybench.config import Config
from noisybench.errors import DataError
from noisybench.results import Epoch, Pruning
from noisybench.store import Row, Store
from noisybench.sweeps import run as running
from noisybench.sweeps.observer import RunObserver
from noisybench.training.checkpoints import Checkpoint
from noisybench.training.resume import COST, FILE, Resume

CPU = torch.device("cpu")
SHORT = {"train_size": 300, "epochs": 6, "lr": 0.1}
CASES: list[dict[str, Any]] = [
    {**SHORT, "loss": "trunc-lq(q=0, k=0.09)", "prune_from": 2, "prune_every": 1, "augment": "flip-crop"},
    {**SHORT, "loss": "cce", "model": "resnet8(width=8)", "augment": "flip-crop"},
    {**SHORT, "loss": "wang2018(neighbours=10)", "model": "mlp", "prune_from": 2, "lr": 0.001},
    {**SHORT, "loss": "co-teaching(warm_up=3)"},
    {**SHORT, "loss": "elr"},
    {**SHORT, "loss": "self-paced"},
    {**SHORT, "loss": "lq", "optimiser": "adam", "lr": 0.001},
    {**SHORT, "loss": "mae", "noise": "open-set(source=digits)", "milestones": "2 4"},
]
# What says where and when a run was made, not what came out.
CIRCUMSTANCES = {"started", "ended", "seconds", "pid", "began", "rowid", "reason", "commit"}


def result(store: Store, identity: str) -> tuple[Any, ...]:
    """All that a completed run leaves behind."""
    row = store.completed(identity)
    assert row is not None

    def plain(rows: list[Row]) -> list[Row]:
        return [{k: v for k, v in row.items() if k not in CIRCUMSTANCES} for row in rows]

    tables = [plain(store.details(name, row["id"])) for name in ("epochs", "prunings", "transitions")]
    network = Checkpoint.read(store.folder(row["id"]), row)
    state = {name: value.tolist() for name, value in network.state.items()}
    assert sorted(path.name for path in store.folder(row["id"]).iterdir()) == ["best.pt"]
    return plain([row]), tables, network.epoch, state


class Killed(Exception):
    """In the place of SIGKILL, where a test must know when."""


class KilledAfter(RunObserver):
    """Stops a run once it has shown so many events."""

    def __init__(self, events: int) -> None:
        self.left = events
        self.went_on_after = 0

    def resume(self, epochs: Any) -> None:
        self.went_on_after = len(epochs)

    def show(self, event: Epoch | Pruning) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed


@pytest.fixture(autouse=True)
def _always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the state after each epoch."""
    write = Resume.__init__
    monkeypatch.setattr(Resume, "__init__", lambda self, *arguments: write(self, *arguments, always=True))


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case["loss"].partition("(")[0])
def undisturbed(request: Any, tmp_path_factory: Any) -> tuple[Config, Any]:
    config = Config.create(**request.param)
    store = Store.open(tmp_path_factory.mktemp("undisturbed") / "runs.db")
    running.run(running.Job(config), store, CPU, RunObserver())
    return config, result(store, config.identity)


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stops=st.lists(st.integers(0, 7), min_size=1, max_size=4))
def test_a_chain_of_resumed_runs_is_the_run(
    undisturbed: Any, tmp_path_factory: Any, stops: list[int]
) -> None:
    config, expected = undisturbed
    store = Store.open(tmp_path_factory.mktemp("killed") / "runs.db")
    reached = 0
    for events in stops:
        observer = KilledAfter(events)
        try:
            running.run(running.Job(config), store, CPU, observer)
            break
        except Killed:
            assert observer.went_on_after == reached, "no epoch that was finished is made again"
            reached = max(reached, len(store.details("epochs", store.attempts(config.identity)[0]["id"])) - 1)
            reached = int(torch.load(resume_file(store, config))["epoch"]) if reached else 0
    running.run(running.Job(config), store, CPU, RunObserver())
    assert result(store, config.identity) == expected


def resume_file(store: Store, config: Config) -> Path:
    return store.folder(store.attempts(config.identity)[0]["id"]) / FILE


CONFIG = Config.create(**CASES[0])


def interrupted(store: Store, events: int = 5, config: Config = CONFIG) -> Path:
    with pytest.raises(Killed):
        running.run(running.Job(config), store, CPU, KilledAfter(events))
    return resume_file(store, config)


@pytest.mark.parametrize(
    "damage", ["truncated", "empty", "other content", "other version", "gone", "no rows"]
)
def test_what_cannot_be_resumed_is_begun_anew(tmp_path: Path, damage: str) -> None:
    store = Store.open(tmp_path / "runs.db")
    file = interrupted(store)
    content = file.read_bytes()
    if damage == "truncated":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "other content":
        torch.save({"epoch": 3}, file)
    elif damage == "other version":
        torch.save({**torch.load(file), "noisybench": "0.0.1"}, file)
    elif damage == "gone":
        file.unlink()
    else:
        with store.conn:
            store.conn.execute("DELETE FROM epochs WHERE epoch = 1")
    observer = KilledAfter(1000)
    running.run(running.Job(CONFIG), store, CPU, observer)
    assert observer.went_on_after == 0
    clean = Store.open(tmp_path / "clean.db")
    running.run(running.Job(CONFIG), clean, CPU, RunObserver())
    assert result(store, CONFIG.identity) == result(clean, CONFIG.identity)


def test_a_crash_while_writing_leaves_the_old_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.open(tmp_path / "runs.db")
    before = interrupted(store).read_bytes()

    def half(content: Any, file: Any) -> None:
        file.write(b"PK half of it")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", half)
        with pytest.raises(DataError, match="No space left"):
            running.run(running.Job(CONFIG), store, CPU, RunObserver())
    file = resume_file(store, CONFIG)
    assert file.read_bytes() == before and [path.name for path in file.parent.iterdir()] == [FILE]
    assert store.attempts(CONFIG.identity)[0]["status"] == "failed"
    assert running.run(running.Job(CONFIG), store, CPU, RunObserver())["status"] == "completed"


def test_writing_takes_a_bounded_share_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that only the test moves: epochs of 1 s and writes of 0.3 s, so one in 15 epochs."""
    now = 0.0
    monkeypatch.setattr("noisybench.training.resume.time.perf_counter", lambda: now)

    def save(content: Any, file: Any) -> None:
        nonlocal now
        now += 0.3

    monkeypatch.setattr(torch, "save", save)
    monkeypatch.setattr("noisybench.training.resume.state_of", lambda training: {})
    resume = Resume(tmp_path, "abc", "fp32")
    resume.always = False
    written = []
    for epoch in range(1, 101):
        now += 1
        before = now
        resume.offer(None, epoch)  # type: ignore[arg-type]
        if now > before:
            written.append(epoch)
    assert written[0] == 1, "the first tells what it costs"
    gaps = [b - a for a, b in zip(written, written[1:], strict=False)]
    assert set(gaps) <= {round(0.3 / COST), round(0.3 / COST) + 1}


@pytest.mark.parametrize("stop", [Killed, KeyboardInterrupt])
def test_a_run_stopped_just_after_it_completed_has_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: type[BaseException]
) -> None:
    store = Store.open(tmp_path / "runs.db")
    complete = store.complete

    def stopped(*arguments: Any) -> None:
        complete(*arguments)
        raise stop

    monkeypatch.setattr(store, "complete", stopped)
    with pytest.raises(stop):
        running.run(running.Job(CONFIG), store, CPU, RunObserver())
    assert resume_file(store, CONFIG).exists()
    running.run(running.Job(CONFIG), store, CPU, RunObserver())
    clean = Store.open(tmp_path / "clean.db")
    running.run(running.Job(CONFIG), clean, CPU, RunObserver())
    assert result(store, CONFIG.identity) == result(clean, CONFIG.identity)


@pytest.mark.slow
def test_runs_killed_at_random_moments_end_as_undisturbed_ones(tmp_path: Path) -> None:
    """SIGKILL, a hundred times, over losses, prunings and chains of resumed runs."""
    script = Path(__file__).with_name("killing.py")
    cases = [json.dumps({**case, "epochs": 15, "model": "mlp"}) for case in CASES]
    command = [sys.executable, str(script), str(tmp_path / "killed.db"), "100", "7", *cases]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["killed"] >= 100 and len(said["done"]) >= len(CASES)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        killed, clean = Store.open(tmp_path / "killed.db"), Store.open(tmp_path / "clean.db")
        for fields in said["done"]:
            config = Config.create(**fields)
            running.run(running.Job(config), clean, CPU, RunObserver())
            assert result(killed, config.identity) == result(clean, config.identity)
    finally:
        torch.set_num_threads(threads)


def test_what_a_state_counts_on_is_on_the_disk_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the statements that SQLite is given: an epoch need not be on the disk when it is stored, but is
    before a state of that epoch is written.  SQLite syncs its log when something was written to it."""
    said: list[str] = []
    written: list[bool] = []
    store = Store.open(tmp_path / "runs.db")
    store.conn.set_trace_callback(said.append)
    log, sync = tmp_path / "runs.db-wal", store.sync

    def watched() -> None:
        before = log.read_bytes()
        sync()
        written.append(log.read_bytes() != before)

    monkeypatch.setattr(store, "sync", watched)
    monkeypatch.setattr("noisybench.training.resume.save", lambda state, path: said.append("state"))
    running.run(running.Job(Config.create(train_size=100, epochs=1)), store, CPU, RunObserver())
    state = said.index("state")
    epoch = next(n for n, line in enumerate(said) if "INTO epochs" in line)
    levels = [line.rpartition(" ")[2] for line in said[:state] if "synchronous" in line]
    assert epoch < state and levels[-2:] == ["NORMAL", "FULL"]
    assert written and all(written)
