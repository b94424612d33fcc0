"""Stores of runs that were never trained, for the benchmarks of reports."""

import random
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from noisybench.config import Config
from noisybench.results import Epoch, Provenance, Result
from noisybench.store import Store, run_id

DATASETS = ("fashion-mnist", "cifar10", "cifar100")
LOSSES = ("cce", "mae", "lq", "trunc-lq", "forward-t")
RATES = (0.2, 0.4, 0.6, 0.8)


def fill(path: Path, runs: int, epochs: int = 0) -> None:
    """A store of completed runs in the shape of Table 1, with made-up accuracies, and so many epochs each.

    In bulk: a million rows in seconds.
    """
    store = Store.open(path)
    made_up = random.Random(0)
    provenance = Provenance("cpu", "fp32", "0", "0", None, "", "nowhere", 1)
    result = Result(
        best_epoch=1,
        val_accuracy=0.5,
        test_accuracy=0.5,
        last_test_accuracy=0.5,
        n_train=45_000,
        n_kept=45_000,
        seconds=1.0,
    )
    times = {"started": "2026-01-01T00:00:00.000+00:00", "ended": "2026-01-01T01:00:00.000+00:00"}
    grid = [
        Config.create(dataset=dataset, loss=loss, rate=rate)
        for dataset in DATASETS
        for loss in LOSSES
        for rate in RATES
    ]
    ids = []

    def rows() -> Iterator[dict[str, object]]:
        for number in range(runs):
            config = replace(grid[number % len(grid)], seed=number // len(grid))
            ids.append(run_id(config.identity, 1))
            measured = asdict(replace(result, test_accuracy=made_up.random()))
            own = {"id": ids[-1], "identity": config.identity, "attempt": 1, "status": "completed"}
            yield {**own, **config.row(), **asdict(provenance), **times, **measured}

    def curves() -> Iterator[dict[str, object]]:
        epoch = asdict(
            Epoch(
                epoch=0,
                train_loss=1.0,
                val_loss=1.0,
                val_accuracy=0.5,
                clean_val_accuracy=0.5,
                test_accuracy=0.5,
                lr=0.01,
                n_kept=45_000,
                softmax_correct=0.5,
                softmax_wrong=0.1,
                seconds=1.0,
            )
        )
        for run in ids:
            for number in range(1, epochs + 1):
                accuracy = made_up.random()
                yield {"run": run, **epoch, "epoch": number, "val_accuracy": accuracy}

    for table, made in (("runs", rows()), ("epochs", curves())):
        bulk(store, table, made)


def bulk(store: Store, table: str, rows: Iterator[dict[str, object]]) -> None:
    """Insert the rows, which have the same columns, in one transaction."""
    first = next(rows, None)
    if first is None:
        return
    columns = ", ".join(f"[{name}]" for name in first)
    sql = f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * len(first))})"
    with store.conn:
        store.conn.execute(sql, [*first.values()])
        store.conn.executemany(sql, (tuple(row.values()) for row in rows))
