"""From runs to a table: selection, statistics, layout.  Formats are in test_reporting_formats.py."""

import statistics
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noisybench.config import Config, declared_fields
from noisybench.errors import InvalidValue, UnknownName
from noisybench.reporting.selection import select
from noisybench.reporting.statistics import PLACE, SCHEDULE, SETTINGS, summarise
from noisybench.reporting.tables import NO_RUN, Column, Table, closed_set

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
UNIFORM_40 = Column("uniform", 0.4)


def run(accuracy: float | None = None, status: str = "completed", **fields: Any) -> dict[str, Any]:
    """A row of the store's view `results`; what was not measured is None."""
    config = Config(**{**PROTOCOL, **fields})
    measured = dict.fromkeys(MEASURES) | {"test_accuracy": accuracy}
    return {
        "id": config.identity[:12],
        "identity": config.identity,
        "attempt": 1,
        "status": status,
        "reason": None,
        **config.row(),
        **measured,
    }


def runs(*rows: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(run()))


def table(*rows: dict[str, Any]) -> Table:
    return closed_set(runs(*rows))


def texts(table: Table, column: Column = UNIFORM_40) -> dict[str, str]:
    """What the first block says in a column, by loss."""
    return {loss: row.get(column, NO_RUN).text for loss, row in table.blocks[0].rows.items()}


def best(table: Table) -> set[str]:
    return {loss for loss, row in table.blocks[0].rows.items() if row[UNIFORM_40].best}


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


@settings(max_examples=30, deadline=None)
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


@settings(max_examples=25, deadline=None)
@given(ROWS, st.randoms())
def test_the_order_of_the_runs_does_not_matter(rows: list[dict[str, Any]], random: Any) -> None:
    made, again = table(*rows), table(*random.sample(rows, len(rows)))
    pd.testing.assert_frame_equal(made.cells, again.cells, check_exact=True)
    assert (made.blocks, made.caption, made.notes) == (again.blocks, again.caption, again.notes)


@settings(max_examples=25, deadline=None)
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
    "train_size": 50,
    "validation": 0.2,
    "model": "mlp(hidden=256)",
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
}


@pytest.mark.parametrize("setting", [n for n in declared_fields() if n not in (*PLACE, "seed")])
def test_runs_of_different_settings_are_never_averaged(setting: str) -> None:
    made = table(run(0.5, seed=0), run(0.7, seed=1, **{setting: OTHER[setting]}))
    said = [
        (block.title, method, row[UNIFORM_40].text)
        for block in made.blocks
        for method, row in block.rows.items()
    ]
    assert sorted(text for *_, text in said) == ["50.00", "70.00"]
    assert len({(title, method) for title, method, _ in said}) == 2


# Layout


def test_one_block_per_data_set_losses_and_noises_in_the_order_of_the_registries() -> None:
    made = table(
        run(0.1, dataset="unheard-of"),
        run(0.1, dataset="digits", loss="zzz", noise="class-dependent", rate=0.1),
        run(0.1, dataset="digits", loss="trunc-lq(q=0.7, k=0.5)", rate=0.8),
        run(0.1, dataset="digits", loss="lq(q=0.7)", rate=0.2),
        run(0.1, dataset="digits", loss="lq(q=0.5)", rate=0.2),
        run(0.1, dataset="digits", loss="mae", rate=0.2),
    )
    assert [block.title.partition(":")[0] for block in made.blocks] == ["digits", "unheard-of"]
    digits = made.blocks[0]
    assert list(digits.rows) == ["mae", "lq(q=0.5)", "lq(q=0.7)", "trunc-lq(q=0.7, k=0.5)", "zzz"]
    assert digits.columns == [
        Column("uniform", 0.2),
        Column("uniform", 0.8),
        Column("class-dependent", 0.1),
    ]
    assert made.columns == [
        Column("uniform", 0.2),
        UNIFORM_40,
        Column("uniform", 0.8),
        Column("class-dependent", 0.1),
    ]


def test_a_title_states_the_setting_and_what_tells_blocks_apart() -> None:
    made = table(run(0.5), run(0.5, train_size=6000), run(0.5, train_size=6000, lr=0.2, draws="exact"))
    assert [block.title for block in made.blocks] == [
        "digits: cnn6, 10 epochs, 6,000 images; draws=exact; lr=0.2",
        "digits: cnn6, 10 epochs, 6,000 images; draws=independent; lr=0.1",
        "digits: cnn6, 10 epochs, all images; draws=independent; lr=0.1",
    ]


def test_a_title_states_what_is_not_the_protocol_of_the_data_set() -> None:
    odd = {"lr": 0.02, "validation": 0.3}
    made = table(run(0.5, **odd), run(0.5, loss="mae", **odd))
    assert made.blocks[0].title == "digits: cnn6, 10 epochs, all images; validation=0.3; lr=0.02"
    assert table(run(0.5)).blocks[0].title == "digits: cnn6, 10 epochs, all images"
    assert table(run(0.5, dataset="unheard-of")).blocks[0].title == "unheard-of: cnn6, 10 epochs, all images"


def test_losses_that_do_and_do_not_prune_stand_in_one_block() -> None:
    lq, trunc = (
        {"loss": "lq(q=0.7)", "prune_from": None, "prune_every": None},
        {"loss": "trunc-lq(q=0.7, k=0.5)"},
    )
    made = table(run(0.5, **lq), run(0.6, **trunc), run(0.7, **{**trunc, "prune_from": 6}))
    assert texts(made) == {
        "lq(q=0.7)": "50.00",
        "trunc-lq(q=0.7, k=0.5), pruned from 4 every 1": "60.00",
        "trunc-lq(q=0.7, k=0.5), pruned from 6 every 1": "70.00",
    }


def test_a_note_says_whose_pruning_came_to_nothing() -> None:
    trunc = "trunc-lq(q=0.7, k=0.5)"
    rows = [{**run(0.5, loss=trunc, seed=s), "best_epoch": epoch} for s, epoch in enumerate((4, 5, 3))]
    (note,) = table(*rows).notes
    assert note.startswith(f"2 of 3 runs of {trunc} were best before their first pruning")
    assert table(rows[1]).notes == []


def test_a_note_says_what_was_trained_again() -> None:
    again = {**run(0.5, seed=1), "id": "abc-2", "attempt": 2}
    assert table(run(0.5), again).notes == ["Trained more than once, with --force: abc-2."]


def test_a_mean_over_fewer_seeds_does_not_compete_for_best() -> None:
    rows = [
        run(0.5 + s / 100 + i / 10, loss=loss, seed=s)
        for i, loss in enumerate(("cce", "mae", "unhinged"))
        for s in (0, 1)
    ]
    assert best(table(*rows, run(0.99, loss="lq(q=0.7)"))) == {"mae", "unhinged"}


def test_the_usual_n_is_in_the_caption_and_another_in_its_cell() -> None:
    three = [run(0.5, loss=loss, seed=s) for loss in ("cce", "mae") for s in range(3)]
    assert "n = 3." in table(*three).caption
    made = table(*three, run(0.7, loss="lq(q=0.7)"), *(run(0.6, loss="unhinged", seed=s) for s in range(2)))
    assert "n = 3 unless a cell says otherwise." in made.caption
    assert texts(made) == {
        "cce": "50.00 ± 0.00",
        "mae": "50.00 ± 0.00",
        "unhinged": "60.00 ± 0.00 (n=2)",
        "lq(q=0.7)": "70.00 (n=1)",
    }


def test_of_two_equally_common_n_the_larger_is_the_usual_one() -> None:
    made = table(*(run(0.5, seed=s) for s in range(2)), *(run(0.5, loss="mae", seed=s) for s in range(3)))
    assert texts(made) == {"cce": "50.00 ± 0.00 (n=2)", "mae": "50.00 ± 0.00"}


def test_one_run_shows_no_deviation() -> None:
    made = table(run(0.5))
    assert texts(made) == {"cce": "50.00"}
    assert "±" not in made.caption and "n = 1" in made.caption


def test_runs_without_a_result_are_shown_for_what_they_are() -> None:
    made = table(
        run(0.5, loss="cce"),
        run(status="failed", loss="cce", seed=1),
        run(status="failed", loss="mae"),
        run(status="running", loss="mae", seed=1),
        run(status="interrupted", loss="lq(q=0.7)"),
        run(status="running", loss="lq(q=0.7)", seed=1),
        run(status="running", loss="unhinged"),
        run(0.5, loss="unhinged", rate=0.6),
    )
    assert texts(made) == {
        "cce": "50.00",
        "mae": "failed",
        "unhinged": "running",
        "lq(q=0.7)": "interrupted",
    }
    assert texts(made, Column("uniform", 0.6))["cce"] == "–"
    (note,) = made.notes
    ids = sorted([run(loss="cce", seed=1)["id"], run(loss="mae")["id"]])
    assert f"2 failed ({', '.join(ids)}), 1 interrupted (" in note and ", 3 running (" in note


def test_a_store_where_nothing_has_completed() -> None:
    made = table(run(status="failed"))
    assert texts(made) == {"cce": "failed"} and "no run has completed" in made.caption


def test_a_long_list_of_runs_is_cut() -> None:
    (note,) = table(*(run(status="failed", seed=s) for s in range(30))).notes
    assert note.count(",") == 9 and "and 20 more" in note


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [
        ({"cce": 0.5, "mae": 0.7, "unhinged": 0.6}, {"mae", "unhinged"}),
        # 70.001 and 70.002 round to the same text: the unrounded mean decides.
        ({"cce": 0.9, "mae": 0.70001, "unhinged": 0.70002}, {"cce", "unhinged"}),
        ({"cce": 0.9, "mae": 0.7, "unhinged": 0.7, "lq(q=0.7)": 0.1}, {"cce", "mae", "unhinged"}),
        ({"cce": 0.7, "mae": 0.7, "unhinged": 0.6}, {"cce", "mae"}),
        # Both of two, or one of one, would mark what needs no mark.
        ({"cce": 0.5, "mae": 0.7}, set()),
        ({"cce": 0.5}, set()),
    ],
)
def test_the_best_two_of_a_column(accuracies: dict[str, float], expected: set[str]) -> None:
    made = table(*(run(accuracy, loss=loss) for loss, accuracy in accuracies.items()))
    assert best(made) == expected
    assert made.marks_best == bool(expected)


def test_means_that_differ_by_rounding_error_are_tied() -> None:
    right = {"cce": (2, 5), "mae": (1, 6), "unhinged": (9, 9), "lq(q=0.7)": (0, 0)}
    rows = [run(n / 360, loss=loss, seed=s) for loss, pair in right.items() for s, n in enumerate(pair)]
    made = table(*rows)
    assert made.cells["mean"].iloc[0] != made.cells["mean"].iloc[1]
    assert best(made) == {"cce", "mae", "unhinged"}


def test_the_best_are_of_a_data_set_and_setting() -> None:
    weak = [run(a, loss=loss) for loss, a in {"cce": 0.1, "mae": 0.2, "unhinged": 0.3}.items()]
    strong = [run(0.9, loss=loss, dataset="cifar10") for loss in ("cce", "mae", "unhinged")]
    assert best(table(*weak, *strong)) == {"mae", "unhinged"}


def test_a_run_that_failed_is_not_among_the_best() -> None:
    made = table(run(0.5), run(0.6, loss="mae"), run(status="failed", loss="unhinged"))
    assert best(made) == set()


# Selection

STORE = runs(
    run(0.5, loss="lq(q=0.5)", rate=0.2),
    run(0.6, loss="lq(q=0.7)", rate=0.4, train_size=100),
    run(0.7, loss="trunc-lq(q=0.7, k=0.5)", rate=0.4, model="mlp(hidden=8)"),
    run(None, "failed", loss="cce", rate=0.4, dataset="cifar10", seed=3, milestones=(2,)),
)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ([], [0, 1, 2, 3]),
        (["loss=lq"], [0, 1]),
        (["loss=trunc-lq"], [2]),
        (["loss=lq(q=0.5)"], [0]),
        (["loss=lq( q=.5 )"], [0]),
        (["loss=lq()"], [1]),
        (["loss=lq", "loss=cce"], [0, 1, 3]),
        (["loss=lq", "rate=0.4"], [1]),
        (["rate=.40"], [1, 2, 3]),
        (["model=mlp"], [2]),
        (["milestones=4 7"], [0, 1, 2]),
        (["milestones=2"], [3]),
        (["train_size=none"], [0, 2, 3]),
        (["train_size=100"], [1]),
        (["status=failed"], [3]),
        (["test_accuracy=0.6"], [1]),
        (["labels="], [0, 1, 2, 3]),
        ([f"id={STORE['id'][2]}"], [2]),
    ],
)
def test_conditions(where: list[str], expected: list[int]) -> None:
    selected, unmatched = select(STORE, where)
    assert selected.index.tolist() == expected and unmatched == []


def test_a_value_that_no_run_has_is_said_with_the_known_ones() -> None:
    selected, unmatched = select(STORE, ["rate=0.9", "rate=0.2"])
    assert selected.index.tolist() == [0]
    assert unmatched == ["No run has rate=0.9. Known values of rate: 0.2, 0.4."]


@pytest.mark.parametrize(
    ("condition", "error", "message"),
    [
        ("los=lq", UnknownName, "Did you mean 'loss'"),
        ("loss", InvalidValue, "key=value"),
        ("rate=high", InvalidValue, "rate is 'high', but must be a number"),
        ("attempt=one", InvalidValue, "attempt is 'one', but must be a number"),
        ("loss=lq(z=1)", UnknownName, "Known: q"),
    ],
)
def test_a_wrong_condition(condition: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message.replace("(", r"\(")):
        select(STORE, [condition])


def test_settings_are_all_fields_but_place_and_seed() -> None:
    assert {*SETTINGS, *SCHEDULE} == set(declared_fields()) - {"dataset", "loss", "noise", "rate", "seed"}
    assert {*SETTINGS, *SCHEDULE} == set(OTHER)
