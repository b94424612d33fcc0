"""Stores for the tests of merging, and what is in one."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from test_store import CONFIG, EPOCH, HERE, RESULT

from noisybench.config import Config
from noisybench.results import Provenance
from noisybench.store import Estimate, Store

TABLES = ("runs", "epochs", "prunings", "transitions", "evaluations")
EVALUATION = {"n": 4, "accuracy": 0.5, "ece": 0.25, "per_class": "[]", "confusion": "[]"}


def put(
    store: Store,
    config: Config = CONFIG,
    ended: str = "2026-01-01T00:00:00+00:00",
    accuracy: float = 0.5,
    status: str = "completed",
    epochs: int = 2,
    estimate: Estimate | None = None,
    where: Provenance = HERE,
    **changes: Any,
) -> str:
    """A run with so many epochs, that is, unless it is running, over since `ended`; its network says
    where it came from.  changes: to where and with what it was made."""
    run = store.begin(config, replace(where, **changes))
    # An earlier attempt that did not complete has left its epochs for this one to go on from.
    store.rewind(run, 0)
    for epoch in range(1, epochs + 1):
        store.add(run, replace(EPOCH, epoch=epoch, test_accuracy=accuracy))
    if estimate is not None:
        store.add_transition(run, estimate, [[1.0, 0.0], [0.0, 1.0]])
    if status == "completed":
        store.complete(run, replace(RESULT, test_accuracy=accuracy))
    elif status != "running":
        store.end(run, status, "because")
    over = None if status == "running" else ended
    with store.conn:
        store.conn.execute("UPDATE runs SET ended = ?, started = ? WHERE id = ?", [over, ended, run])
    store.folder(run).mkdir(parents=True, exist_ok=True)
    (store.folder(run) / "best.pt").write_text(f"{run} at {accuracy}")
    return run


def content(path: Path) -> dict[str, Any]:
    """All rows of a store, and all files beside it."""
    store = Store.open(path)
    rows = {
        name: sorted(json.dumps(row, sort_keys=True) for row in store.query(f"SELECT * FROM {name}"))
        for name in TABLES
    }
    folder = store.networks
    files = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    store.conn.close()
    return {**rows, "files": files}


def counted(path: Path) -> list[tuple[Any, ...]]:
    """What counts in a store: its results, without the ids."""
    columns = "identity, status, test_accuracy, device, started, ended"
    return sorted(Store.open(path).conn.execute(f"SELECT {columns} FROM results").fetchall())


def bits(path: Path) -> list[Any]:
    """What the completed runs of a store measured, and their networks: all but places and times."""
    import torch

    store = Store.open(path)
    found = []
    for run in store.query("SELECT * FROM results ORDER BY identity"):
        assert run["status"] == "completed"
        network = torch.load(store.folder(run["id"]) / "best.pt", weights_only=True)
        tensors = {name: value.numpy().tobytes() for name, value in network["state"].items()}
        details = [
            {name: value for name, value in row.items() if name != "seconds"}
            for table in TABLES[1:]
            for row in store.details(table, run["id"])
        ]
        apart = ("started", "ended", "seconds", "pid", "began")
        found.append(({name: run[name] for name in run.keys() - set(apart)}, details, tensors))
    return found
