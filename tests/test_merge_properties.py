"""Whatever several stores hold, merging them loses nothing and counts nothing twice."""

import tempfile
import zlib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from stores import content, counted, put
from test_store import CONFIG

from noisybench.store import Store
from noisybench.store.merge import merge


def timed(run: dict[str, Any]) -> dict[str, Any]:
    """To the microsecond, no two different runs end together."""
    fraction = zlib.crc32(repr(run).encode()) % 10**6
    return {**run, "ended": f"2026-01-0{run['ended']}T00:00:00.{fraction:06}+00:00"}


RUNS = st.lists(
    st.fixed_dictionaries(
        {
            "config": st.sampled_from([replace(CONFIG, seed=seed) for seed in (0, 1)]),
            "ended": st.integers(1, 3),
            "accuracy": st.sampled_from([0.25, 0.5, 0.75]),
            "status": st.sampled_from(["completed", "completed", "completed", "failed", "interrupted"]),
            "epochs": st.integers(1, 3),
            "device": st.sampled_from(["cpu", "cuda:0"]),
        }
    ).map(timed),
    max_size=4,
)


def completed(path: Path) -> Counter[Any]:
    """How often a store has what a run can have measured."""
    sql = "SELECT identity, test_accuracy, (SELECT count(*) FROM epochs WHERE run = id) FROM runs"
    return Counter(Store.open(path).conn.execute(f"{sql} WHERE status = 'completed'").fetchall())


@given(st.tuples(RUNS, RUNS, RUNS), st.permutations([0, 1, 2]))
def test_nothing_is_lost_nothing_is_twice_and_the_order_decides_nothing(
    worlds: tuple[list[dict[str, Any]], ...], order: list[int]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = [folder / f"{number}.db" for number in range(3)]
        for path, runs in zip(paths, worlds, strict=True):
            store = Store.open(path)
            for run in runs:
                put(store, **run)
        merge(paths, folder / "all.db")
        merge([paths[number] for number in order], folder / "other.db")
        for number in order:
            merge([paths[number]], folder / "by-and-by.db")
        offered = set().union(*map(completed, paths))
        assert completed(folder / "all.db") == Counter(offered)
        assert content(folder / "all.db") == content(folder / "other.db")
        assert counted(folder / "all.db") == counted(folder / "by-and-by.db")
        done = {identity for identity, *_ in offered}
        rest = [row for row in counted(folder / "all.db") if row[0] not in done]
        assert len({row[0] for row in rest}) == len(rest)
        assert len(Store.open(folder / "by-and-by.db").runs()) == len(offered) + len(rest)
