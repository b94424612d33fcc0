"""Ranks of methods over settings, against published examples and closed forms."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from commands import noisybench
from curves import add

from noisybench.errors import InvalidValue
from noisybench.reporting.paper_tables import closed_set
from noisybench.reporting.ranks import Accuracies, Ranking, rank_table, ranked, ranking
from noisybench.store import Store

# Demšar (2006), Statistical Comparisons of Classifiers over Multiple Data Sets, Table 6.
C45 = ("C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf")
DEMSAR = [
    (0.763, 0.768, 0.771, 0.798),
    (0.599, 0.591, 0.590, 0.569),
    (0.954, 0.971, 0.968, 0.967),
    (0.628, 0.661, 0.654, 0.657),
    (0.882, 0.888, 0.886, 0.898),
    (0.936, 0.931, 0.916, 0.931),
    (0.661, 0.668, 0.609, 0.685),
    (0.583, 0.583, 0.563, 0.625),
    (0.775, 0.838, 0.866, 0.875),
    (1.000, 1.000, 1.000, 1.000),
    (0.940, 0.962, 0.965, 0.962),
    (0.619, 0.666, 0.614, 0.669),
    # Printed as 0.975 twice, and ranked one before the other.
    (0.972, 0.981, 0.97501, 0.975),
    (0.957, 0.978, 0.946, 0.970),
]


def demsar() -> Ranking:
    return ranked([dict(zip(C45, ({0: auc} for auc in row), strict=True)) for row in DEMSAR])


def test_mean_ranks_as_published() -> None:
    found = demsar()
    published = {"C4.5": 3.143, "C4.5+m": 2.000, "C4.5+cf": 2.893, "C4.5+m+cf": 1.964}
    assert found.ranks == pytest.approx(published, abs=5e-4)
    assert all(one <= other for one, other in pairwise(found.ranks.values()))


def test_friedman_as_published() -> None:
    """The paper's 9.28 is without the correction for ties, by which it is divided."""
    ties = [row.count(value) for row in DEMSAR for value in set(row)]
    correction = 1 - sum(t**3 - t for t in ties) / (14 * (4**3 - 4))
    found = demsar()
    assert found.chi2 is not None and found.chi2 * correction == pytest.approx(9.28, abs=0.03)


def test_wilcoxon_by_counting_signs() -> None:
    """Of six differences of one sign, 2 of the 2⁶ assignments of signs are as extreme."""
    (pair,) = ranked([{"a": {s: 50.0 for s in range(6)}, "b": {s: 51.0 + s for s in range(6)}}]).pairs
    assert (pair.first, pair.second, pair.n) == ("b", "a", 6)
    assert pair.p == pytest.approx(2 / 64) and pair.difference == pytest.approx(-3.5)


def test_methods_that_always_tie_are_one_group() -> None:
    settings: list[Accuracies] = [{m: {0: 10.0 * at, 1: 0.3} for m in "abc"} for at in range(4)]
    found = ranked(settings)
    assert set(found.ranks.values()) == {2.0} and found.chi2 is None and set(found.best.values()) == {4}
    assert found.groups == [("a", "b", "c")]


def test_groups_are_the_neighbours_that_no_test_tells_apart() -> None:
    def accuracies(at: int, seed: int) -> dict[str, float]:
        return {
            "good": 90 + 0.1 * ((at + seed) % 3),
            "fine": 90 + 0.1 * ((at + seed + 1) % 3),
            "bad": 50 + at,
        }

    settings: list[Accuracies] = [
        {m: {s: accuracies(at, s)[m] for s in range(3)} for m in ("bad", "good", "fine")} for at in range(6)
    ]
    (group,) = ranked(settings).groups
    assert set(group) == {"good", "fine"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store.open(tmp_path / "runs.db")
    for loss in ("cce", "mae", "lq"):
        for rate in (0.2, 0.4, 0.6):
            for seed in range(2 + (loss == "lq")):
                add(made, seed, dataset="cifar10", loss=loss, rate=rate, epochs=4)
    return made


def test_a_setting_that_a_method_lacks_and_a_seed_without_partner_are_left_out(store: Store) -> None:
    add(store, dataset="cifar10", loss="cce", rate=0.8, epochs=4)
    runs = store.results()
    found, notes = ranking(closed_set(runs), runs)
    assert found.settings == 3 and {pair.n for pair in found.pairs} == {6}
    assert any("η = 0.8" in note for note in notes) and any("3 runs" in note for note in notes)


def test_settings_without_a_common_seed_are_refused(store: Store) -> None:
    runs = store.results()
    apart = runs[(runs["loss"] != "mae") | (runs["rate"] > 1)]
    with pytest.raises(InvalidValue, match="two methods"):
        ranking(closed_set(apart[apart["loss"] == "cce"]), apart)
    never = runs[(runs["loss"] == "cce") == (runs["rate"] == 0.2)]
    with pytest.raises(InvalidValue, match="cce"):
        ranking(closed_set(never), never)


def test_each_pair_of_methods_is_a_cell(store: Store) -> None:
    runs = store.results()
    table = rank_table(closed_set(runs), runs)
    assert {frozenset((r["first"], r["second"])) for r in table.cells.to_dict("records")} == {
        frozenset(pair) for pair in (("cce", "mae"), ("cce", "lq(q=0.7)"), ("mae", "lq(q=0.7)"))
    }
    (block,) = table.blocks
    assert [row.labels[0] for row in block.rows] == ["1", "2", "3"]


@pytest.mark.parametrize("form", ["table", "markdown", "latex", "csv", "json", "html"])
def test_ranks_in_every_format(store: Store, form: str) -> None:
    found = noisybench("report", "--rank", "--db", str(store.path), "--format", form)
    assert found.exit_code == 0 and "lq(q=0.7)" in found.stdout.replace("\\", "")
    if form == "json":
        assert all(0 <= row["p"] <= row["p_holm"] <= 1 for row in json.loads(found.stdout))
