"""Run the benchmarks named on the command line, or all of them, and print what they measured."""

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from rich.console import Console
from rich.table import Table

from benchmarks.hardware import hardware
from benchmarks.timing import Row

HERE = Path(__file__).parent
# Studies of accuracy, of hours, with options of their own.
STUDIES = ("agreement", "diagnose")
NOT_ONES = {
    *("__main__", *STUDIES, "acceptance", "data", "disturbed", "gpu_steps", "hardware", "setting", "stores"),
    *("timing", "usual"),
}
NAMES = sorted({module.name for module in iter_modules([str(HERE)])} - NOT_ONES)


def main() -> None:
    if len(sys.argv) > 1 and sys.argv[1] in STUDIES:
        import_module(f"benchmarks.{sys.argv.pop(1)}").main()
        return
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names",
        metavar="NAME",
        nargs="*",
        default=NAMES,
        help=f"of {', '.join(NAMES)}; by itself, and with options of its own: {', '.join(STUDIES)}",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--markdown", action="store_true", help="print tables as RESULTS.md has them")
    parser.add_argument(
        "--check", action="store_true", help="exit with 1 if a value is not even half as good as its goal"
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(NAMES):
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}; known: {', '.join(NAMES)}")
    if not arguments.json:
        print(hardware())
    measured: dict[str, list[Row]] = {}
    for name in arguments.names:
        measured[name] = import_module(f"benchmarks.{name}").measure()
        if arguments.markdown:
            print(f"\n`python -m benchmarks {name}`\n\n{markdown(measured[name])}", flush=True)
        elif not arguments.json:
            console = Console(width=None if sys.stdout.isatty() else 140)
            console.print(table(name, measured[name]))
    if arguments.json:
        rows = {name: [asdict(row) | {"value": row.value} for row in rows] for name, rows in measured.items()}
        print(json.dumps({"hardware": hardware(), "benchmarks": rows}, indent=2))
    far = [
        row
        for rows in measured.values()
        for row in rows
        if row.goal is not None and not row.goal.met(row.value, slack=2)
    ]
    for row in far if arguments.check else []:
        print(f"{row.what}: {row.kind} {row.value:.3g}, far from its goal ({row.goal})", file=sys.stderr)
    sys.exit(1 if far and arguments.check else 0)


HEADER = ("what", "ours", "alternative", "of it", "value", "goal")


def cells(row: Row) -> tuple[str, ...]:
    value = f"{row.value:.3g}" if row.value < 1000 else f"{row.value:,.0f}"
    spread = f"{min(row.values):.3g} to {max(row.values):.3g}"
    return (
        row.what,
        time_of(row.ours, row),
        row.alternative,
        "" if row.other is None else time_of(row.other, row),
        f"{row.kind} {value} ({spread})",
        "" if row.goal is None else f"{row.goal}{'' if row.goal.met(row.value) else ' (missed)'}",
    )


def time_of(seconds: Sequence[float], row: Row) -> str:
    """The median time, and what that makes a second."""
    median = statistics.median(seconds)
    scale, unit = next(
        pair for pair in ((1, "s"), (1e3, "ms"), (1e6, "µs")) if median * pair[0] >= 1 or pair[1] == "µs"
    )
    if not row.count:
        return f"{median * scale:.3g} {unit}"
    rate = row.count / median
    return f"{median * scale:.3g} {unit}, {rate:{',.0f' if rate >= 10 else '.2g'}} {row.unit}/s"


def table(name: str, rows: Sequence[Row]) -> Table:
    result = Table(*HEADER, title=name)
    for row in rows:
        result.add_row(*cells(row))
    return result


def markdown(rows: Sequence[Row]) -> str:
    lines = [HEADER, ("---", "---:", "---", "---:", "---", "---"), *(cells(row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
