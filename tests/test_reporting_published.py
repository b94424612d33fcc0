"""The published numbers as they lie in the package."""

from collections import Counter

import pytest

from noisybench.errors import UnknownName
from noisybench.registry import DATASETS, METHODS, NOISES
from noisybench.reporting.published import SOURCES, PublishedValue, find_source
from noisybench.reporting.selection import stem
from noisybench.reporting.tables import TABLES

PAPER = "Zhang & Sabuncu 2018"
TABLE_1 = find_source("paper", "closed-set").numbers()
TABLE_2 = find_source("paper", "open-set").numbers()
EVERY = [(name, table) for name, tables in SOURCES.items() for table in tables]


def test_table_1_has_a_number_for_each_of_its_places() -> None:
    assert len(TABLE_1) == 3 * 6 * 8
    assert set(Counter((dataset, loss) for dataset, loss, _, _ in TABLE_1).values()) == {8}
    rates = {(noise, rate) for _, _, noise, rate in TABLE_1}
    assert rates == {("uniform", r / 10) for r in (2, 4, 6, 8)} | {
        ("class-dependent", r / 10) for r in (1, 2, 3, 4)
    }
    assert {figure.n for figure in TABLE_1.values()} == {5}
    assert all(figure.std is not None and figure.std > 0 for figure in TABLE_1.values())


@pytest.mark.parametrize(
    ("place", "mean", "std"),
    [
        (("fashion-mnist", "cce", "uniform", 0.2), 93.24, 0.12),
        (("fashion-mnist", "trunc-lq(q=0.7, k=0.5)", "class-dependent", 0.4), 91.62, 0.34),
        (("cifar10", "lq(q=0.7)", "uniform", 0.4), 87.13, 0.22),
        (("cifar10", "forward-t", "class-dependent", 0.4), 88.12, 0.32),
        (("cifar100", "cce", "uniform", 0.2), 58.72, 0.26),
        (("cifar100", "trunc-lq(q=0.7, k=0.5)", "class-dependent", 0.4), 47.66, 0.69),
    ],
)
def test_numbers_of_table_1(place: tuple[str, str, str, float], mean: float, std: float) -> None:
    assert TABLE_1[place] == PublishedValue(mean, std, 5, PAPER)


def test_numbers_of_table_2() -> None:
    open_set = "open-set(source=cifar100)"
    assert len(TABLE_2) == 12
    assert TABLE_2["cifar10", "trunc-lq(q=0.7, k=0.5)", open_set, 0.4] == PublishedValue(
        79.55, None, None, PAPER
    )
    assert TABLE_2["cifar10", "forward-that", "uniform", 0.4].mean == 77.81
    quoted = {loss for (_, loss, _, _), figure in TABLE_2.items() if figure.origin != PAPER}
    assert {stem(loss) for loss in quoted} == {"cce", "forward-that", "wang2018"}


@pytest.mark.parametrize(("name", "table"), EVERY)
def test_names_are_canonical_where_they_are_registered(name: str, table: str) -> None:
    """A hyper-parameter of another name than here would leave published numbers without our runs."""
    for place in find_source(name, table).numbers():
        for registry, text in zip((DATASETS, METHODS, NOISES), place, strict=False):
            assert isinstance(text, str)
            if stem(text) in {entry.name for entry in registry}:
                assert str(registry.bind(text)) == text


@pytest.mark.parametrize(("name", "table"), EVERY)
def test_a_source_is_of_a_kind_of_table_and_its_protocol_of_a_run(name: str, table: str) -> None:
    published = find_source(name, table)
    assert table in {entry.name for entry in TABLES}
    for dataset, *_ in published.numbers():
        made = published.config(dataset, "trunc-lq")
        assert {key: getattr(made, key) for key in published.protocol} == dict(published.protocol)


@pytest.mark.parametrize(
    ("name", "table", "message"),
    [("papre", "closed-set", "Did you mean 'paper'"), ("paper", "closed", "Known: closed-set, open-set")],
)
def test_an_unknown_source(name: str, table: str, message: str) -> None:
    with pytest.raises(UnknownName, match=message):
        find_source(name, table)
