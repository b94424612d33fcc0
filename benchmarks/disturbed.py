"""A sweep whose processes are killed again and again, beside one left alone: do both have the same table?

`python -m benchmarks.disturbed [EXPERIMENT]`, by default `smoke`: three sweeps.  The training processes of
the second, with `--jobs 2`, and of the third, on Ray, get SIGKILL every few seconds, and at times the sweep
itself, which is then started again by the same command.  Linux only.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pandas as pd

from benchmarks.hardware import hardware
from noisybench.store import Store

NOISYBENCH = [sys.executable, "-c", "from noisybench.cli import main; main()"]
SWEEPS = 4  # of so many kills, one is of the sweep itself


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.disturbed", description=__doc__)
    parser.add_argument("experiment", nargs="?", default="smoke")
    experiment = parser.parse_args().experiment
    print(hardware())
    with tempfile.TemporaryDirectory() as folder:
        alone = Path(folder, "alone.db")
        print(sweep(experiment, alone, ["--jobs", "2"]).strip())
        measured = measures(alone)
        equal = True
        for name, options, workers, pause in (
            ("jobs", ["--jobs", "2", "--retries", "100"], of_store, (4.0, 9.0)),
            # A worker of Ray begins by importing torch, and a sweep by starting Ray.
            ("ray", ["--executor", "ray", "--retries", "100"], of_ray, (15.0, 30.0)),
        ):
            path = Path(folder, f"{name}.db")
            output, kills = disturb(experiment, path, options, workers, pause)
            same = measures(path).equals(measured)
            equal = equal and same
            what = ", ".join(f"{number} {victim}" for victim, number in kills.items())
            print(f"sweep {experiment} {' '.join(options)}, killed: {what}\n{output.strip()}")
            print(f"every epoch and result equal to the undisturbed ones: {'yes' if same else 'NO'}\n")
    sys.exit(0 if equal else 1)


def command(experiment: str, path: Path, options: list[str]) -> list[str]:
    return [*NOISYBENCH, "sweep", experiment, "--db", str(path), "--quiet", *options]


def sweep(experiment: str, path: Path, options: list[str]) -> str:
    return subprocess.run(
        command(experiment, path, options), check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def disturb(
    experiment: str,
    path: Path,
    options: list[str],
    workers: Callable[[Path], list[int]],
    pause: tuple[float, float],
) -> tuple[str, dict[str, int]]:
    """What the sweep printed in the end, and how often which process was killed.

    pause: the least and the greatest number of seconds between two kills.
    """
    chance = random.Random(0)
    kills = {"training processes": 0, "sweeps": 0}
    while True:
        with tempfile.TemporaryFile("w+") as output:
            process = subprocess.Popen(
                command(experiment, path, options), stdout=output, start_new_session=True
            )
            try:
                while process.poll() is None:
                    time.sleep(chance.uniform(*pause))
                    victims = workers(path)
                    if not victims:
                        continue
                    if sum(kills.values()) % SWEEPS == SWEEPS - 1:
                        process.kill()
                        process.wait()
                        kills["sweeps"] += 1
                        continue
                    with suppress(ProcessLookupError):  # it has just ended
                        os.kill(chance.choice(victims), signal.SIGKILL)
                        kills["training processes"] += 1
            finally:
                process.terminate()
                process.wait()
            if process.returncode == 0:
                output.seek(0)
                return output.read(), kills
            if process.returncode != -signal.SIGKILL:
                raise SystemExit(f"The sweep ended with code {process.returncode}.")


def of_store(path: Path) -> list[int]:
    """The processes that the store says are training."""
    if not path.exists():
        return []
    return [row["pid"] for row in Store.open(path).runs() if row["status"] == "running"]


def of_ray(path: Path) -> list[int]:
    """The workers of Ray that carry out a task: they call themselves ray:: and its name."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            name = place.read_bytes()
        except OSError:
            continue  # it has ended
        if name.startswith(b"ray::noisybench_run"):
            found.append(int(place.parent.name))
    return found


def measures(path: Path) -> pd.DataFrame:
    """All that the runs measured, but for times."""
    store = Store.open(path)
    results = store.results().set_index("id")[["identity", "status", "test_accuracy", "best_epoch", "n_kept"]]
    epochs = store.epochs().drop(columns="seconds")
    epochs["run"] = epochs["run"].map(results["identity"])
    return (
        epochs.merge(results, left_on="run", right_on="identity")
        .sort_values(["run", "epoch"])
        .reset_index(drop=True)
    )


if __name__ == "__main__":
    main()
