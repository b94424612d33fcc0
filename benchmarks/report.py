"""Reports of 10,000 runs with 1.2 million epochs, as a user calls them, start-up included."""

import tempfile
from pathlib import Path

from benchmarks.startup import noisybench
from benchmarks.stores import fill
from benchmarks.timing import Goal, Row, alternate

RUNS, EPOCHS = 10_000, 120
REPEATS = 3
GOAL = 2.0
# What a user asks for, and with what; those without a goal read all epochs, or import scipy or matplotlib.
REPORTS = {
    "report": (),
    "report --table open-set": ("--table", "open-set"),
    "report --compare lq cce": ("--compare", "lq", "cce"),
    "report --audit selection": ("--audit", "selection"),
    "report --figure fig1 --where rate=0.4": ("--figure", "fig1", "--where", "rate=0.4", "--out", "fig1.pdf"),
    "report --format html": ("--format", "html", "--out", "report.html"),
}
WITH_GOAL = tuple(REPORTS)[:2]


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "runs.db"
        fill(path, RUNS, EPOCHS)
        actions = {
            called: noisybench(
                "report",
                "--db",
                str(path),
                *(str(folder / a) if a.endswith((".pdf", ".html")) else a for a in given),
            )
            for called, given in REPORTS.items()
        }
        quick = alternate({called: actions.pop(called) for called in WITH_GOAL}, 2 * REPEATS)
        slow = alternate(actions, REPEATS)
    goal = Goal("seconds", GOAL)
    what = f"{RUNS:,} runs, {RUNS * EPOCHS:,} epochs"
    return [
        Row(f"{called}, {what}", seconds, goal=goal if called in WITH_GOAL else None, kind="seconds")
        for called, seconds in {**quick, **slow}.items()
    ]
