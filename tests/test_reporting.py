"""From runs to a table: selection, statistics, layout.  Formats are in test_reporting_formats.py."""

import statistics
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noisybench.config import Config, declared_fields
from noisybench.reporting.statistics import PLACE, summarise
from noisybench.reporting.tables import TABLES, Block, Column, Table

PROTOCOL: dict[str, Any] = {
    "model": "cnn6",
    "epochs": 10,
    "batch_size": 32,
    "lr": 0.1,
    "milestones": (4, 7),
    "augment": "none",
    "prune_from": 4,
    "prune_every": 1,
}
MEASURES = ("best_epoch", "val_accuracy", "test_accuracy", "last_test_accuracy", "n_train", "n_kept")
UNIFORM_40 = Column("uniform", "η = 0.4")


def run(accuracy: float | None = None, status: str = "completed", **fields: Any) -> dict[str, Any]:
    """A row of the store's view `results`; what was not measured is None."""
    config = Config(**{**PROTOCOL, **fields})
    measured = dict.fromkeys(MEASURES) | {"test_accuracy": accuracy, "last_test_accuracy": accuracy}
    return {
        "id": config.identity[:12],
        "identity": config.identity,
        "attempt": 1,
        "status": status,
        "reason": None,
        **config.row(),
        **measured,
        "computed_in": "fp32",
    }


def runs(*rows: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(run()))


def table(*rows: dict[str, Any], kind: str = "closed-set") -> Table:
    made = TABLES.bind(kind)(runs(*rows))
    assert isinstance(made, Table)
    return made


def texts(table: Table, column: Column = UNIFORM_40) -> dict[str, str]:
    """What the first block says in a column, by loss."""
    return {row.labels[0]: row.cell(column).text for row in table.blocks[0].rows}


def best(table: Table) -> set[str]:
    return {row.labels[0] for row in table.blocks[0].rows if row.cell(UNIFORM_40).best}


# Statistics


def test_mean_and_sample_standard_deviation_in_percent() -> None:
    cells = summarise(runs(*(run(a, seed=s) for s, a in enumerate([0.90, 0.92, 0.97]))), "test_accuracy")
    # mean 93; squared deviations 9 + 1 + 16 = 26; 26 / (3 - 1) = 13
    assert cells["mean"].tolist() == pytest.approx([93.0])
    assert cells["std"].tolist() == pytest.approx([13**0.5])
    assert cells["n"].tolist() == [3]


ROWS = st.lists(
    st.builds(
        run,
        st.floats(0, 1),
        st.sampled_from(["completed"] * 4 + ["failed", "interrupted", "running"]),
        dataset=st.sampled_from(["digits", "cifar10"]),
        loss=st.sampled_from(["cce", "lq(q=0.5)", "lq(q=0.7)"]),
        rate=st.sampled_from([0.2, 0.4]),
        seed=st.integers(0, 5),
        lr=st.sampled_from([0.01, 0.1]),
        train_size=st.sampled_from([None, 100]),
    ),
    min_size=1,
    max_size=40,
    unique_by=lambda row: row["identity"],
)


@given(ROWS)
def test_statistics_agree_with_the_standard_library(rows: list[dict[str, Any]]) -> None:
    expected: dict[tuple[Any, ...], list[float]] = {}
    for row in rows:
        key = tuple(row[name] for name in (*PLACE, "lr", "train_size"))
        expected.setdefault(key, [])
        if row["status"] == "completed":
            expected[key].append(100 * row["test_accuracy"])
    cells = summarise(runs(*rows), "test_accuracy").astype({"train_size": object})
    assert len(cells) == len(expected)
    for cell in cells.to_dict("records"):
        size = None if pd.isna(cell["train_size"]) else cell["train_size"]
        values = expected[(*(cell[name] for name in (*PLACE, "lr")), size)]
        assert cell["n"] == len(values)
        assert cell["mean"] == pytest.approx(statistics.mean(values)) if values else pd.isna(cell["mean"])
        spread = statistics.stdev(values) if len(values) > 1 else None
        assert pd.isna(cell["std"]) if spread is None else cell["std"] == pytest.approx(spread, abs=1e-9)


def test_the_last_bit_does_not_depend_on_the_order_of_the_runs() -> None:
    rows = [run(a, seed=s) for s, a in enumerate([0.41, 0.7662, 0.9942, 0.9572, 0.9256])]
    for rotation in range(len(rows)):
        cells = summarise(runs(*rows[rotation:], *rows[:rotation]), "test_accuracy")
        pd.testing.assert_frame_equal(cells, summarise(runs(*rows), "test_accuracy"), check_exact=True)


@given(ROWS, st.randoms())
def test_the_order_of_the_runs_does_not_matter(rows: list[dict[str, Any]], random: Any) -> None:
    made, again = table(*rows), table(*random.sample(rows, len(rows)))
    pd.testing.assert_frame_equal(made.cells, again.cells, check_exact=True)
    assert (made.blocks, made.caption, made.notes) == (again.blocks, again.caption, again.notes)


@given(ROWS)
def test_runs_that_did_not_complete_never_change_an_average(rows: list[dict[str, Any]]) -> None:
    numbers = [*PLACE, "mean", "std", "n", "lr"]
    with_them = summarise(runs(*rows), "test_accuracy").query("n > 0")[numbers]
    completed = [row for row in rows if row["status"] == "completed"]
    without = summarise(runs(*completed), "test_accuracy")[numbers]
    pd.testing.assert_frame_equal(with_them.reset_index(drop=True), without, check_dtype=False)


OTHER = {
    "draws": "exact",
    "labels": "abc",
    "keep": "abc",
    "code": "own.py:abc",
    "revision": 2,
    "train_size": 50,
    "validation": 0.2,
    "trusted": 5,
    "model": "mlp(hidden=256)",
    "pretrained": "abc",
    "epochs": 20,
    "batch_size": 64,
    "optimiser": "adam",
    "lr": 0.3,
    "milestones": (5, 8),
    "momentum": 0.5,
    "weight_decay": 0.0,
    "augment": "flip-crop",
    "prune_from": 5,
    "prune_every": 2,
    "precision": "bf16",
}


def written_cells(block: Block) -> list[tuple[str, str, str, str]]:
    """Title, row, column and text of the cells that a block has."""
    return [
        (block.title, row.labels[0], column.heading, cell.text)
        for row in block.rows
        for column, cell in row.cells.items()
    ]


@pytest.mark.parametrize("kind", ["closed-set", "open-set"])
@pytest.mark.parametrize("setting", [n for n in declared_fields() if n not in (*PLACE, "seed")])
def test_runs_of_different_settings_are_never_averaged(setting: str, kind: str) -> None:
    made = table(run(0.5, seed=0), run(0.7, seed=1, **{setting: OTHER[setting]}), kind=kind)
    said = [cell for block in made.blocks for cell in written_cells(block)]
    assert sorted(text for *_, text in said) == ["50.00", "70.00"]
    assert len({tuple(place) for *place, _ in said}) == 2
