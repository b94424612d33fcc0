"""Stores with the runs of the paper's figures, made up: nothing is trained."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from noisybench.config import Config
from noisybench.registry import METHODS
from noisybench.results import Epoch, Provenance, Result
from noisybench.store import Store

MADE = Provenance("cpu", "float32", "0.0", "2.0", "abc1234", "f" * 64, "elsewhere", 1)
ADAM = {"noise": "uniform", "rate": 0.0, "optimiser": "adam", "lr": 0.001}

FIG1: list[dict[str, Any]] = [
    *({"dataset": "cifar10", "loss": loss, **ADAM} for loss in ("cce", "mae")),
    *({"dataset": "cifar100", "loss": loss, **ADAM} for loss in ("cce", "mae")),
    *({"dataset": "cifar10", "loss": loss, "rate": 0.4} for loss in ("cce", "lq(q=0.7)")),
]
FIG2: list[dict[str, Any]] = [
    {"dataset": "cifar10", "loss": f"lq(q={q:g})", "rate": rate}
    for rate in (0.0, 0.2, 0.6)
    for q in (0, 0.2, 0.4, 0.6, 0.8, 1)
]


def add(store: Store, seed: int = 0, made: Provenance = MADE, **fields: Any) -> str:
    """Store a completed run of these fields, with curves such as such a run may have; return its id."""
    config = Config.create(seed=seed, **fields)
    random = np.random.default_rng([seed, *config.identity.encode()])
    q = {"cce": 0.0, "mae": 1.0}.get(config.loss, METHODS.bind(config.loss).arguments.get("q", 0.5))
    speed = 6 * (1 + 4 * q)
    offset = 0.02 * random.standard_normal()
    run = store.begin(config, made)
    epochs = []
    for number in range(1, config.epochs + 1):
        learnt = 1 - math.exp(-number / speed)
        memorised = config.rate * (1 - q) * (1 - math.exp(-number / 45))
        wobble = 0.008 * random.standard_normal(3)
        test = min(1.0, max(0.0, 0.1 + (0.82 - 0.1 * q) * learnt - 0.9 * memorised + offset + wobble[0]))
        val_loss = abs(2.3 * (1 - 0.75 * learnt) * (1 - 0.5 * q) + 2 * memorised + offset + wobble[1])
        wrong = None if config.rate == 0 else min(1.0, 0.03 + memorised * 1.8)
        right = min(1.0, 0.1 + 0.85 * learnt + offset + wobble[2])
        val = test * (1 - config.rate)
        epochs.append(Epoch(number, 1.0, val_loss, val, test, test, config.lr, 90, right, wrong, 1.0))
        store.add(run, epochs[-1])
    best = max(epochs, key=lambda epoch: epoch.val_accuracy)
    store.complete(
        run,
        Result(best.epoch, best.val_accuracy, best.test_accuracy, epochs[-1].test_accuracy, 90, 90, 1.0),
    )
    return run


def filled(path: Path, runs: Iterable[dict[str, Any]], seeds: int = 3, **fields: Any) -> Store:
    """A new store with these runs, each of so many seeds."""
    store = Store.open(path)
    for run in runs:
        for seed in range(seeds):
            add(store, seed, **{**run, **fields})
    return store
