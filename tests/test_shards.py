"""Shards partition a grid, evenly, and keep together what must not be trained twice."""

import random
from collections import Counter
from pathlib import Path

import pytest
from commands import noisybench, succeed
from hypothesis import given
from hypothesis import strategies as st

from noisybench.config import Config, first_stage
from noisybench.errors import InvalidValue
from noisybench.store import Store
from noisybench.sweeps.grid import load
from noisybench.sweeps.shards import Shard

LOSSES = ["cce", "mae", "lq", "trunc-lq", "forward-t", "forward-that", "wang2018"]
CONFIGS = st.builds(
    lambda **values: Config.create(**{"batch_size": 32, "model": "mlp", **values}),
    dataset=st.sampled_from(["digits", "fashion-mnist"]),
    loss=st.sampled_from(LOSSES),
    rate=st.sampled_from([0.2, 0.4]),
    seed=st.integers(0, 3),
    epochs=st.sampled_from([2, 30]),
    train_size=st.sampled_from([None, 300]),
)
GRIDS = st.lists(CONFIGS, unique=True, max_size=40)
COUNTS = st.integers(1, 17)


def parts(configs: list[Config], count: int) -> list[list[Config]]:
    return [Shard(number, count).of(configs) for number in range(1, count + 1)]


@given(GRIDS, COUNTS)
def test_the_parts_are_disjoint_and_together_the_grid_in_its_order(configs: list[Config], count: int) -> None:
    dealt = parts(configs, count)
    assert sorted(map(configs.index, sum(dealt, []))) == list(range(len(configs)))
    for part in dealt:
        assert part == sorted(part, key=configs.index)


@given(GRIDS, COUNTS, st.randoms(use_true_random=False))
def test_the_order_of_the_grid_decides_nothing(
    configs: list[Config], count: int, order: random.Random
) -> None:
    shuffled = order.sample(configs, len(configs))
    assert list(map(set, parts(configs, count))) == list(map(set, parts(shuffled, count)))


@given(GRIDS, COUNTS)
def test_no_run_is_trained_in_two_parts(configs: list[Config], count: int) -> None:
    """Not even a first stage that the grid itself does not have."""
    trained = [
        {config for run in part for config in (run, first_stage(run)) if config is not None}
        for part in parts(configs, count)
    ]
    assert sum(map(len, trained)) == len(set().union(*trained))


def kind(config: Config, configs: list[Config]) -> tuple[object, ...] | None:
    """What a unit costs, written anew; None for a run that comes along with its first stage."""
    stage = first_stage(config)
    if stage is not None and stage in configs:
        return None
    follower = stage is not None or any(first_stage(other) == config for other in configs)
    own_way = config.loss if config.loss.startswith("wang2018") else ""
    return (config.dataset, config.epochs, config.train_size, own_way, follower)


@given(GRIDS, COUNTS)
def test_the_parts_differ_by_one_unit_of_a_kind_at_most_and_by_one_in_all(
    configs: list[Config], count: int
) -> None:
    counts = [Counter(kind(config, configs) for config in part) for part in parts(configs, count)]
    for found in counts:
        del found[None]
    for each in set().union(*counts):
        assert max(found[each] for found in counts) - min(found[each] for found in counts) <= 1
    sizes = [sum(found.values()) for found in counts]
    assert max(sizes) - min(sizes) <= 1


def test_table_1_in_sixteen_parts() -> None:
    configs = list(load("table1").configs)
    dealt = parts(configs, 16)
    assert sum(map(len, dealt)) == 720 and {len(part) for part in dealt} <= set(range(43, 48))
    for dataset in ("fashion-mnist", "cifar10", "cifar100"):
        sizes = [sum(config.dataset == dataset for config in part) for part in dealt]
        assert sum(sizes) == 240 and max(sizes) - min(sizes) <= 3
    assert all(len({(config.loss, config.seed) for config in part}) > 10 for part in dealt)


@pytest.mark.parametrize(
    "text", ["0/16", "17/16", "3-16", "3/0", "3", "/16", "3/", "-3/16", "1.5/2", "a/b", ""]
)
def test_what_is_no_part_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(InvalidValue, match=r"K from 1 to N, such as 3/16"):
        Shard.read(text)
    result = noisybench("sweep", "demo", "--dry-run", f"--shard={text}")
    assert result.exit_code == 2 and "3/16" in result.stderr


def test_a_shard_is_what_is_left_by_where_and_seeds_in_a_store_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NOISYBENCH_DB")
    results = [
        noisybench("sweep", "demo", "--where", "loss=lq", "--seeds", 2, "--shard", f"{part}/3", "--dry-run")
        for part in (1, 2, 3)
    ]
    shown = [result.stdout for result in results]
    # Two rates and two seeds: four runs on three machines.
    lines = [line.partition(":")[0] for text in shown for line in text.splitlines() if "lq(q=0.7)" in line]
    assert sorted(lines) == [
        f"digits uniform {rate} lq(q=0.7) seed {seed}" for rate in (0.4, 0.6) for seed in (0, 1)
    ]
    for part, result in enumerate(results, 1):
        assert f"in noisybench.{part}-of-3.db." in result.stderr
    assert not list(tmp_path.glob("*.db")), "a dry run leaves no file"
    mine = noisybench("sweep", "demo", "--shard", "1/3", "--dry-run", "--db", "mine.db")
    monkeypatch.setenv("NOISYBENCH_DB", "ours.db")
    ours = noisybench("sweep", "demo", "--shard", "2/7", "--dry-run")
    assert "in mine.db." in mine.stderr and "in ours.db." in ours.stderr


def test_a_part_without_runs_is_no_error(tmp_path: Path) -> None:
    grid = tmp_path / "grid.yaml"
    grid.write_text("grid: [{loss: lq, epochs: 1, train_size: 300}]")
    stores = [tmp_path / f"{number}.db" for number in (1, 2)]
    for number, store in enumerate(stores, 1):
        succeed("sweep", grid, "--shard", f"{number}/2", "--db", store, "--quiet")
    assert [len(Store.open(store).runs()) for store in stores] == [1, 0]
