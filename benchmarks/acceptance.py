"""An acceptance plan: steps that each end within ten minutes, in processes of their own, kept as files.

What was measured is kept in a folder, so that the same command goes on where it was stopped: a step is
measured again if it failed, was cut off, or was measured on other hardware.  Where a step fails, those of its
kind, which is its name up to the first hyphen, are left for the next time: what it lacks, they lack.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIMIT = 590.0  # seconds
LAST_LINES = 5

Found = dict[str, Any]


@dataclass(frozen=True)
class Verdict:
    """passed: None where what it is about has not been measured."""

    what: str
    passed: bool | None
    found: str


@dataclass(frozen=True)
class Plan:
    """steps: what each measures, by its name, in order.  command: carries out the step that is named after it
    and prints what it found as one line of JSON.  hardware: in words.  judge: verdicts on what was found."""

    steps: Mapping[str, str]
    command: Sequence[str]
    hardware: str
    judge: Callable[[Mapping[str, Found]], Sequence[Verdict]]

    def carry_out(self, folder: Path, tell: Callable[[str], None]) -> None:
        """Measure what is not there yet, and write gpu.json and gpu.md anew after each step."""
        folder.mkdir(parents=True, exist_ok=True)
        failed: set[str] = set()
        for name, about in self.steps.items():
            kind = name.partition("-")[0]
            if kind in failed or self._kept(folder, name) is not None:
                continue
            tell(f"{name}: {about}")
            start = time.perf_counter()
            found, error = self._measure(name)
            kept = {"hardware": self.hardware, "seconds": time.perf_counter() - start, "found": found}
            path = folder / f"{name}.json"
            path.write_text(json.dumps({**kept, "error": error}, indent=2))
            tell(f"  {error or json.dumps(found)}")
            if error:
                failed.add(kind)
            self.report(folder)
        self.report(folder)

    def _kept(self, folder: Path, name: str) -> Found | None:
        """What a step found on this hardware, None if it is to be measured."""
        try:
            content = json.loads((folder / f"{name}.json").read_text())
            done = content["hardware"] == self.hardware and not content["error"]
            return dict(content["found"]) if done else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _measure(self, name: str) -> tuple[Found, str]:
        """What a step found, and why it failed, if it did."""
        try:
            done = subprocess.run(
                [*self.command, name], capture_output=True, text=True, timeout=LIMIT, stdin=subprocess.DEVNULL
            )
        except subprocess.TimeoutExpired:
            return {}, f"cut off after {LIMIT:.0f} s; the same command goes on"
        try:
            found: Found = json.loads(done.stdout.strip().rpartition("\n")[2])
            if done.returncode == 0:
                return found, ""
        except ValueError:
            pass
        last = [line.strip() for line in done.stderr.splitlines() if line.strip()][-LAST_LINES:]
        return {}, f"ended with code {done.returncode}: {' | '.join(last)}"

    def found(self, folder: Path) -> dict[str, Found]:
        """What was found, by step."""
        kept = {name: self._kept(folder, name) for name in self.steps}
        return {name: found for name, found in kept.items() if found is not None}

    def report(self, folder: Path) -> None:
        """Write all that was found, and the verdicts, as JSON and as Markdown."""
        found = self.found(folder)
        verdicts = self.judge(found)
        document = {
            "hardware": self.hardware,
            "found": found,
            "verdicts": [vars(verdict) for verdict in verdicts],
        }
        (folder / "gpu.json").write_text(json.dumps(document, indent=2))
        rows = [
            f"| {name} | {about} | {in_a_cell(found[name]) if name in found else 'not measured'} |"
            for name, about in self.steps.items()
        ]
        judged = [f"| {v.what} | {in_a_word(v.passed)} | {v.found} |" for v in verdicts]
        lines = [
            *(f"{self.hardware}", "", "| step | what | found |", "| --- | --- | --- |", *rows, ""),
            *("| verdict | | found |", "| --- | --- | --- |", *judged, ""),
        ]
        (folder / "gpu.md").write_text("\n".join(lines))


def in_a_cell(found: Found) -> str:
    return "; ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in found.items()
    )


def in_a_word(passed: bool | None) -> str:
    return "not measured" if passed is None else "yes" if passed else "**no**"


def last_line(found: Found) -> None:
    """Print what a step found, as `Plan` reads it."""
    sys.stdout.write("\n" + json.dumps(found) + "\n")
