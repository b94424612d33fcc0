"""The state of an interrupted run comes with a store of colleagues: what is in it is hostile input."""

import copy
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from test_hostile_networks import HOSTILE
from test_resume import CASES, CPU, KilledAfter, interrupted, result

from noisybench.config import Config
from noisybench.errors import RunFailed
from noisybench.store import Store
from noisybench.sweeps import run as running
from noisybench.sweeps.observer import RunObserver
from noisybench.training.resume import Resume

NAN = float("nan")


@pytest.fixture(autouse=True)
def _always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the state after each epoch."""
    write = Resume.__init__
    monkeypatch.setattr(Resume, "__init__", lambda self, *arguments: write(self, *arguments, always=True))


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths to all parts of a nested dictionary."""
    yield path
    if isinstance(value, dict):
        for key, part in value.items():
            yield from places(part, (*path, key))


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def damaged(content: dict[str, Any], chance: random.Random) -> Any:
    """The content with another value, another shape, other numbers, or nothing in one place."""
    path = chance.choice([path for path in places(content) if path])
    content = copy.deepcopy(content)
    holder, key = at(content, path[:-1]), path[-1]
    kind = chance.choice(["value", "gone", "more", "tensor"])
    if kind == "gone":
        del holder[key]
    elif kind == "more":
        holder[chance.choice(["x", 10**6, key if isinstance(key, int) else f"{key}x"])] = 1
    elif kind == "tensor" and isinstance(holder[key], torch.Tensor):
        changes = (
            lambda x: x[:1] if x.dim() else x.reshape(1),
            lambda x: x * NAN,
            lambda x: x.reshape(1, *x.shape),
            lambda x: x.to(torch.float16 if x.is_floating_point() else torch.int8),
            lambda x: x.reshape(-1)[:1].expand(10**12),
            lambda x: x.reshape(-1).flip(0).reshape(x.shape) - 10**9,
            lambda x: x.to_sparse(),
        )
        holder[key] = chance.choice(changes)(holder[key])
    else:
        holder[key] = chance.choice(HOSTILE)
    return content


def goes_on(config: Config, store: Store) -> int:
    """After how many epochs the run goes on."""
    observer = KilledAfter(1000)
    assert running.run(running.Job(config), store, CPU, observer)["status"] == "completed"
    return observer.went_on_after


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES[::2], ids=lambda case: case["loss"].partition("(")[0])
def test_a_state_that_is_damaged_anywhere_is_begun_anew_or_goes_on(
    case: dict[str, Any], tmp_path: Path
) -> None:
    config, chance = Config.create(**case), random.Random(case["loss"])
    clean = Store.open(tmp_path / "clean.db")
    running.run(running.Job(config), clean, CPU, RunObserver())
    store = Store.open(tmp_path / "runs.db")
    file = interrupted(store, config=config)
    store.conn.close()
    content, before = torch.load(file), (tmp_path / "runs.db").read_bytes()
    for _ in range(8):
        (tmp_path / "runs.db").write_bytes(before)
        torch.save(damaged(content, chance), file)
        store = Store.open(tmp_path / "runs.db")
        try:
            epoch = goes_on(config, store)
        except RunFailed as error:  # numbers of the right kind with which no loss stays finite
            assert "no longer a finite number" in str(error)
            continue
        if not epoch:
            assert result(store, config.identity) == result(clean, config.identity)
        store.conn.close()


@pytest.mark.parametrize("part", ["model", "optimiser", "best", "kept_rows", "method", "epoch"])
@pytest.mark.parametrize("value", [None, NAN, 2**70, {}, torch.zeros(3), torch.ones(1).expand(10**12)])
def test_a_part_of_another_kind_is_not_used(tmp_path: Path, part: str, value: Any) -> None:
    """Of a state that was never trained on: nothing else is left to go on from."""
    config = Config.create(**{**CASES[0], "train_size": 40, "epochs": 4, "batch_size": 20})
    store = Store.open(tmp_path / "runs.db")
    file = interrupted(store, config=config)
    if part in ("optimiser", "method") and value == {}:
        pytest.skip("it has none")
    torch.save({**torch.load(file), part: value}, file)
    assert goes_on(config, store) == 0


def test_what_was_measured_is_in_the_store_alone(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "runs.db")
    content = torch.load(interrupted(store, config=Config.create(**CASES[0])))
    plain = {path for path in places(content) if not isinstance(at(content, path), dict | torch.Tensor)}
    assert plain == {("identity",), ("precision",), ("noisybench",), ("epoch",), ("lowest",)}
