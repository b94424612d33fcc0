"""Signals that stop a run or a sweep: it keeps its state, is marked, and the way to go on is printed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import noisybench, process, succeed

from noisybench.store import Store
from noisybench.sweeps import signals

LONG = {"train_size": 400, "epochs": 100_000}


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not come about"
        time.sleep(0.05)


def stopped_by(number: int, database: Path, *arguments: object) -> tuple[int, str]:
    """Exit code and errors of the command, which gets the signal once a run has written its state.

    Not in this process: torch's modes, such as autocast, survive an interruption within its own code.
    """
    child = process(*arguments)
    wait_for(lambda: any(database.parent.glob("*-runs/*/resume.pt")))
    child.send_signal(number)
    _, errors = child.communicate(timeout=120)
    assert "Traceback" not in errors
    return child.returncode, errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_stops_a_run_that_goes_on_by_the_command_it_prints(database: Path, number: int) -> None:
    arguments = ("train", "--loss", "lq(q=0.5)", "--train-size", 400, "--epochs", 100_000, "--quiet")
    code, errors = stopped_by(number, database, *arguments)
    assert code == 128 + number
    assert "noisybench train --loss 'lq(q=0.5)' --train-size 400 --epochs 100000 --quiet" in errors
    (row,) = Store.open(database).runs()
    assert row["status"] == "interrupted" and signal.Signals(number).name in row["reason"]
    assert (Store.open(database).folder(row["id"]) / "resume.pt").exists()
    assert "interrupted" in succeed("report")


def test_a_signal_stops_a_sweep_and_its_processes(database: Path, tmp_path: Path) -> None:
    grid = tmp_path / "grid.yaml"
    grid.write_text(json.dumps({"set": LONG, "grid": [{"loss": ["cce", "lq", "mae"]}]}))
    code, errors = stopped_by(signal.SIGUSR1, database, "sweep", grid, "--jobs", 2, "--quiet")
    assert code == 128 + signal.SIGUSR1
    assert f"noisybench sweep {grid} --jobs 2 --quiet" in errors
    rows = Store.open(database).runs()
    assert rows and {row["status"] for row in rows} == {"interrupted"}
    for row in rows:
        with pytest.raises(ProcessLookupError):
            os.kill(row["pid"], 0)


def test_only_a_command_that_trains_says_how_to_go_on(
    trained: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(path: Path) -> Store:
        raise KeyboardInterrupt

    monkeypatch.setattr(Store, "read", interrupted)
    result = noisybench("report")
    assert result.exit_code == 130 and "report" not in result.stderr


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        signals.stop_on_signals()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.5])
@pytest.mark.parametrize("arguments", [("train", "--epochs", "100000"), ("report",), ("--help",)])
def test_ctrl_c_while_the_command_line_is_imported_gives_no_traceback(
    database: Path, seconds: float, arguments: tuple[str, ...]
) -> None:
    code = "import noisybench.__main__ as entry; print('began', flush=True); entry.main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "began\n"
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    # Without a store, `report` ends with 2; help may have been printed before.
    assert process.returncode in (-signal.SIGINT, 130, 2 if "report" in arguments else 0)
    assert "Traceback" not in said and "Exception" not in said


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.1, 4])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR1])
def test_a_signal_in_the_first_seconds_of_a_sweep_gives_no_traceback(
    tmp_path: Path, seconds: float, number: int
) -> None:
    """Also to the fork server, which is importing torch: as a terminal and Slurm do, to all processes."""
    grid = tmp_path / "grid.yaml"
    grid.write_text(json.dumps({"set": LONG, "grid": [{"loss": ["cce", "lq"]}]}))
    code = "from noisybench.cli import main; print('imported', flush=True); main()"
    command = [sys.executable, "-c", code, "sweep", str(grid), "--db", str(tmp_path / "runs.db")]
    process = subprocess.Popen(
        [*command, "--jobs", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "imported\n"
    time.sleep(seconds)
    os.killpg(process.pid, number)
    # Both ends of the pipe are closed only when no process of the sweep is left.
    _, said = process.communicate(timeout=120)
    assert process.returncode == 128 + number
    assert "Traceback" not in said and said.count("To go on") == 1
