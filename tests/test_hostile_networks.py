"""The file of a run's network comes from colleagues with their store: what is in it is hostile input."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import noisybench

from noisybench.store import Store

HOSTILE: list[Any] = [
    None, -1, 2**70, float("nan"), "", "../..", [], [1, 2], {}, {"a": 1}, {1: torch.ones(2)},
    torch.zeros(0), torch.ones(3), torch.full((4,), -1), torch.full((4,), 10**12),
    torch.tensor(float("inf")), torch.ones(1).expand(10**6, 10**6), torch.ones(2, 2, dtype=torch.complex64),
    torch.eye(2).to_sparse(), torch.tensor([True]),
]  # fmt: skip


@pytest.fixture
def network(database: Path, trained: dict[str, Any]) -> Path:
    return Path(f"{database}-runs", trained["run"], "best.pt")


def refused(run: str) -> None:
    for command in ("evaluate", "prune"):
        result = noisybench(command, run)
        assert result.exit_code in (1, 2), (command, result.output)
        assert isinstance(result.exception, SystemExit), (command, result.exception)
        assert "weights_only" not in result.output and "trust" not in result.output
        assert "\x1b" not in result.output and len(result.output.splitlines()) <= 4


def test_each_part_replaced_by_another_value_is_refused(network: Path, trained: dict[str, Any]) -> None:
    content = torch.load(network, weights_only=True)
    optional = {"source", "source_fingerprint", "origin"}  # another value may say nothing
    for part in content.keys() - optional:
        for value in HOSTILE:
            if part == "epoch" and isinstance(value, int):
                continue
            torch.save({**content, part: value}, network)
            refused(trained["run"])
    for part in content.keys() - optional:
        torch.save({name: value for name, value in content.items() if name != part}, network)
        refused(trained["run"])


def _with(name: str, change: Callable[[Any], Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda content: {**content, name: change(content[name])}


@pytest.mark.parametrize(
    "changed",
    [
        _with("state", lambda state: {name: value * float("nan") for name, value in state.items()}),
        _with("state", lambda state: {name: value[:1] for name, value in state.items()}),
        _with("state", lambda state: {f"x.{name}": value for name, value in state.items()}),
        _with("config", lambda config: {**config, "seed": config["seed"] + 1}),
        _with("config", lambda config: {**config, "model": "mlp(hidden=65536)"}),
        _with("given", lambda given: (given + 1) % 10),
        _with("train", lambda rows: rows + 10**6),
        lambda content: {**content, "more": 1},
        lambda content: [content],
    ],
)
def test_the_network_of_another_run_or_with_other_numbers_is_refused(
    network: Path, trained: dict[str, Any], changed: Callable[[Any], Any]
) -> None:
    torch.save(changed(torch.load(network, weights_only=True)), network)
    refused(trained["run"])


def test_code_and_damage_are_refused(network: Path, trained: dict[str, Any], tmp_path: Path) -> None:
    whole = network.read_bytes()

    class Harmful:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "executed",)

    torch.save(Harmful(), network)
    refused(trained["run"])
    assert not (tmp_path / "executed").exists()
    for damaged in (b"", whole[: len(whole) // 2], whole[100:], b"x" * 1000, whole[:-40]):
        network.write_bytes(damaged)
        refused(trained["run"])


def test_the_network_of_another_revision_of_its_method_is_not_used(
    database: Path, trained: dict[str, Any]
) -> None:
    store = Store.open(database)
    with store.conn:
        store.conn.execute("UPDATE runs SET revision = 7")
    store.conn.close()
    refused(trained["run"])
    assert "revision 7 of lq" in noisybench("evaluate", trained["run"]).stderr
