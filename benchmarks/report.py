"""Reports of 10,000 runs with 1.2 million epochs and of 100,000 runs, as a user calls them, with start-up.

What the runs themselves cost is the difference to the same report of one run.
"""

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
MANY_RUNS = 100_000
# Seconds beyond those of the same report of one run.
GOAL_BEYOND = 3.0


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
        beyond = _beyond(folder, path)
    goal = Goal("seconds", GOAL)
    what = f"{RUNS:,} runs, {RUNS * EPOCHS:,} epochs"
    return [
        Row(f"{called}, {what}", seconds, goal=goal if called in WITH_GOAL else None, kind="seconds")
        for called, seconds in {**quick, **slow}.items()
    ] + [
        Row(f"{called}, beyond one run", seconds, goal=Goal("seconds", GOAL_BEYOND), kind="seconds")
        for called, seconds in beyond.items()
    ]


def _beyond(folder: Path, path: Path) -> dict[str, list[float]]:
    """The seconds that many runs take more than one, with the same imports."""
    one, many = folder / "one.db", folder / "many.db"
    fill(one, 1, EPOCHS)
    fill(many, MANY_RUNS)
    page = ("report", "--format", "html", "--out", str(folder / "report.html"))
    found = {}
    for called, store, command in (
        (f"runs list, {MANY_RUNS:,} runs", many, ("runs", "list")),
        (f"report, {MANY_RUNS:,} runs", many, ("report",)),
        (f"report --format html, {RUNS:,} runs, {RUNS * EPOCHS:,} epochs", path, page),
    ):
        times = alternate({str(db): noisybench(*command, "--db", str(db)) for db in (store, one)}, REPEATS)
        found[called] = [a - b for a, b in zip(times[str(store)], times[str(one)], strict=True)]
    return found
