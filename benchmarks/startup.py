"""How long a user waits for an answer that needs no training: help, and a list of runs."""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.stores import fill
from benchmarks.timing import Goal, Row, alternate

RUNS = 100
REPEATS = 7
GOALS = {"noisybench --help": 0.3}


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs.db"
        fill(path, RUNS)
        seconds = alternate(
            {
                "python -c 'import typer'": python("import typer"),
                "noisybench --help": noisybench("--help"),
                f"noisybench runs list, {RUNS:,} runs": noisybench("runs", "list", "--db", str(path)),
                "python -c 'import pandas'": python("import pandas"),
                f"noisybench report, {RUNS:,} runs": noisybench("report", "--db", str(path)),
            },
            REPEATS,
        )
    goals = {name: Goal("seconds", value) for name, value in GOALS.items()}
    return [Row(name, times, goal=goals.get(name), kind="seconds") for name, times in seconds.items()]


def noisybench(*arguments: str) -> Callable[[], object]:
    """The command as a user gives it, in a process of its own."""
    return python("from noisybench.__main__ import main; main()", *arguments)


def python(code: str, *arguments: str) -> Callable[[], object]:
    command = [sys.executable, "-c", code, *arguments]
    return lambda: subprocess.run(command, check=True, capture_output=True)
