"""Run the benchmarks named on the command line, or all of them, and print what they measured."""

import argparse
import json
import os
import platform
from dataclasses import asdict
from importlib import import_module

from rich.console import Console
from rich.table import Table

from benchmarks.timing import Row

NAMES = ("answers",)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", metavar="NAME", nargs="*", default=NAMES, help=f"of {', '.join(NAMES)}")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(NAMES):
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}; known: {', '.join(NAMES)}")
    measured = {name: import_module(f"benchmarks.{name}").measure() for name in arguments.names}
    if arguments.json:
        rows = {name: [asdict(row) for row in rows] for name, rows in measured.items()}
        print(json.dumps({"hardware": hardware(), "seconds": rows}, indent=2))
        return
    print(hardware())
    for name, rows in measured.items():
        Console().print(table(name, rows))


def hardware() -> str:
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def table(name: str, rows: list[Row]) -> Table:
    result = Table("what", "median s", "spread s", "goal s", title=name)
    for row in rows:
        goal = "" if row.goal is None else f"< {row.goal:g}"
        result.add_row(row.what, f"{row.median:.3f}", f"{row.spread:.3f}", goal)
    return result


if __name__ == "__main__":
    main()
