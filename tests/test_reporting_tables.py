"""What a table says: its blocks, titles, cells, marks and notes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_reporting import OTHER, UNIFORM_40, best, run, table, texts

from noisybench.config import declared_fields
from noisybench.reporting import formatting
from noisybench.reporting.statistics import SCHEDULE, SETTINGS
from noisybench.reporting.tables import Column


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
    assert [row.labels[0] for row in digits.rows] == [
        "mae",
        "lq(q=0.5)",
        "lq(q=0.7)",
        "trunc-lq(q=0.7, k=0.5)",
        "zzz",
    ]
    assert digits.columns == [
        Column("uniform", "η = 0.2"),
        Column("uniform", "η = 0.8"),
        Column("class-dependent", "η = 0.1"),
    ]
    assert made.columns == [
        Column("uniform", "η = 0.2"),
        UNIFORM_40,
        Column("uniform", "η = 0.8"),
        Column("class-dependent", "η = 0.1"),
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
    assert table(run(0.5), again).notes == ["Trained more than once: abc-2."]


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
        "cce": "50.00 (n=1; 1 failed)",
        "mae": "failed",
        "unhinged": "running",
        "lq(q=0.7)": "interrupted",
    }
    assert texts(made, Column("uniform", "η = 0.6"))["cce"] == "–"
    rule, note = made.notes
    assert rule.startswith("Marks:")
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
        # 70.001 and 70.002 are printed alike, and so marked alike.
        ({"cce": 0.9, "mae": 0.70001, "unhinged": 0.70002}, {"cce", "mae", "unhinged"}),
        ({"cce": 0.9, "mae": 0.7, "unhinged": 0.7, "lq(q=0.7)": 0.1}, {"cce", "mae", "unhinged"}),
        ({"cce": 0.7, "mae": 0.7, "unhinged": 0.6}, {"cce", "mae"}),
        # Of two competitors the best alone is marked; one by itself has none to be compared with.
        ({"cce": 0.5, "mae": 0.7}, {"mae"}),
        ({"cce": 0.7, "mae": 0.7}, {"cce", "mae"}),
        ({"cce": 0.5}, set()),
    ],
)
def test_the_best_two_of_a_column(accuracies: dict[str, float], expected: set[str]) -> None:
    made = table(*(run(accuracy, loss=loss) for loss, accuracy in accuracies.items()))
    assert best(made) == expected
    assert bool(made.marks_best) == bool(expected)


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
    assert best(made) == {"mae"}


def test_a_mean_of_the_runs_that_others_survived_does_not_compete() -> None:
    rows = [run(0.5 + i / 10, loss=loss) for i, loss in enumerate(("cce", "mae", "unhinged"))]
    made = table(*rows, run(0.99, loss="lq(q=0.7)"), run(status="failed", loss="lq(q=0.7)", seed=1))
    assert best(made) == {"mae", "unhinged"}
    assert texts(made)["lq(q=0.7)"] == "99.00 (n=1; 1 failed)"


def test_a_method_with_more_seeds_leaves_the_marks_to_the_others() -> None:
    rows = [run(0.5 + i / 10, loss=loss) for i, loss in enumerate(("cce", "mae", "unhinged"))]
    assert best(table(*rows, *(run(0.9, loss="lq(q=0.7)", seed=s) for s in range(3)))) == {"mae", "unhinged"}


RECORD = st.fixed_dictionaries(
    {"mean": st.floats(69.9, 70.1), "n": st.integers(0, 3), "failed": st.sampled_from([0, 0, 0, 1])}
)


@given(st.lists(RECORD, min_size=1, max_size=8))
def test_marks_follow_what_is_printed(records: list[dict[str, float]]) -> None:
    marked = formatting.best(records)
    assert len({record["n"] for record in marked}) <= 1 and not any(record["failed"] for record in marked)
    if not marked:
        return
    competing = [r for r in records if r["n"] == marked[0]["n"] and not r["failed"]]
    printed = {formatting.mean(record) for record in marked}
    assert [r for r in competing if formatting.mean(r) in printed] == marked
    better = [r for r in competing if float(formatting.mean(r)) > min(map(float, printed))]
    assert len(better) < (2 if len(competing) > 2 else 1)


def test_a_run_that_ended_early_is_said_in_a_note() -> None:
    early = {**run(0.5), "reason": "pruning kept one sample"}
    (note,) = table(early, run(0.6, loss="mae")).notes
    assert "pruning kept one sample" in note and early["id"] in note


def test_settings_are_all_fields_but_place_and_seed() -> None:
    assert {*SETTINGS, *SCHEDULE} == set(declared_fields()) - {"dataset", "loss", "noise", "rate", "seed"}
    assert {*SETTINGS, *SCHEDULE} == set(OTHER)


def test_a_mean_over_several_precisions_is_said() -> None:
    half = {**run(0.6, seed=1), "computed_in": "bf16"}
    (note,) = table(run(0.5), half).notes
    assert "bf16 (1 runs), fp32 (1 runs)" in note and "Means over several: cce on digits" in note
    (note,) = table(run(0.5), {**run(0.6, loss="mae"), "computed_in": "bf16"}).notes
    assert "No mean is over several" in note


HUMAN = {"aggre_label": 0.0903, "random_label1": 0.1723, "random_label2": 0.1812, "worse_label": 0.4021}


def test_human_labels_are_the_columns_of_one_block_with_their_measured_rates() -> None:
    runs = [
        run(0.5, seed=seed, loss=loss, noise=f"file(key={key})", rate=rate, labels=f"{at}" * 64)
        for at, (key, rate) in enumerate(HUMAN.items())
        for loss in ("cce", "lq(q=0.7)")
        for seed in (0, 1)
    ]
    (block,) = (made := table(*runs, run(0.5, loss="mae"))).blocks
    assert block.columns == [
        UNIFORM_40,
        *(Column("labels from a file", f"{key} ({100 * rate:.2f} %)") for key, rate in HUMAN.items()),
    ]
    assert [row.labels[0] for row in block.rows] == ["cce", "mae", "lq(q=0.7)"]
    assert all(len(block.rows[0].cell(column).runs) == 2 for column in block.columns[1:])
    assert "labels=" not in block.title and any("measured rate" in note for note in made.notes)


def test_the_rate_of_labels_without_true_ones_is_unknown() -> None:
    (block,) = table(run(0.5, noise="file(key=own)", rate=0.0, labels="0" * 64)).blocks
    assert block.columns == [Column("labels from a file", "own (rate unknown)")]


def test_two_files_with_labels_of_one_name_and_rate_are_two_columns() -> None:
    noise = "file(key=worse_label)"
    made = table(*(run(0.5, noise=noise, rate=0.4, labels=digit * 64) for digit in "ab"))
    (block,) = made.blocks
    assert len(set(block.columns)) == 2 and "aaaaaaaa" in block.columns[0].heading
