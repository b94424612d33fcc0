"""Train runs in child processes that are killed at random moments, until all have completed.

    python killing.py STORE KILLS SEED CONFIG...

CONFIG: the fields of a Config as JSON.  At least KILLS children are killed, over as many configs as that
takes: they are taken in turn, with higher seeds from round to round.  Prints the configs that completed and
how many children were killed.  A process of its own, as forking one that has used threads is not safe.
"""

import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

import torch

from noisybench.config import Config
from noisybench.store import Store
from noisybench.sweeps.observer import RunObserver
from noisybench.sweeps.run import Job, run

MOST = 100  # times that one run may be killed


def killed_once(config: Config, path: Path, after: float) -> bool:
    """Train in a child and kill it; whether it was still alive then."""
    child = os.fork()
    if not child:
        try:
            run(Job(config), Store.open(path), torch.device("cpu"), RunObserver())
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    deadline = time.monotonic() + after
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            assert status == 0, f"{config} failed"
            return False
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def main(path: Path, kills: int, seed: int, fields: list[dict[str, object]]) -> None:
    torch.set_num_threads(1)
    chance = random.Random(seed)
    done, killed = [], 0
    # Undisturbed and in this process first: children inherit what was imported, and have as much time as
    # a run takes here and now, on average half of it.
    start = time.monotonic()
    for given in fields:
        job = Job(Config.create(**given))
        run(job, Store.open(path.with_suffix(".first")), torch.device("cpu"), RunObserver())
    longest = (time.monotonic() - start) / len(fields)
    for turn in range(1000):
        if killed >= kills and turn >= len(fields):
            break
        given = {**fields[turn % len(fields)], "seed": turn // len(fields)}
        before = killed
        while killed_once(Config.create(**given), path, chance.uniform(0, longest)):
            killed += 1
            assert killed < before + MOST, f"no end of {given}"
        done.append(given)
    print(json.dumps({"killed": killed, "done": done}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), [json.loads(text) for text in sys.argv[4:]])
