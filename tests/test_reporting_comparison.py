"""Losses compared seed by seed: which runs are pairs, and what is said of them."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_reporting import ROWS, run, runs

from noisybench.errors import InvalidValue, UnknownName
from noisybench.reporting.compare import CELLS, HEADINGS, STUB, compare
from noisybench.reporting.formats import FORMATS
from noisybench.reporting.paper_tables import MEASURES
from noisybench.reporting.tables import NO_RUNS, TABLES, Table

LQ, TRUNC = "lq(q=0.7)", "trunc-lq(q=0.7, k=0.5)"


def comparing(rows: list[dict[str, Any]], *losses: str) -> Table:
    return compare(runs(*rows), losses, "test_accuracy")


def said(lines: Table) -> list[dict[str, str]]:
    return [dict(zip([*STUB, *HEADINGS], row, strict=True)) for block in lines.blocks for row in block.texts]


def cells(lines: Table) -> list[dict[str, Any]]:
    return json.loads(FORMATS.bind("json")(lines))


def of(loss: str, *accuracies: float, **fields: Any) -> list[dict[str, Any]]:
    return [run(accuracy, loss=loss, seed=seed, **fields) for seed, accuracy in enumerate(accuracies)]


def test_a_line_has_the_numbers_of_its_pairs() -> None:
    """Differences 1, 2, 6 as in test_reporting_paired: 3 ± 4.3027·√(7/3), p = 1 − 0.811."""
    lines = comparing([*of("cce", 0.10, 0.20, 0.30), *of(LQ, 0.11, 0.22, 0.36)], "cce", "lq")
    (line,) = said(lines)
    assert (line["η"], line["pair"], line["n"]) == ("0.4", "A to B", "3")
    assert (line["from"], line["to"], line["diff."]) == ("20.00", "23.00", "+3.00")
    assert (line["95 % CI"], line["p"], line["p Holm"]) == ("[−3.57, 9.57]", "0.188", "0.188")
    (cell,) = cells(lines)
    assert list(cell) == list(CELLS)
    assert (cell["first"], cell["second"], cell["difference"]) == ("cce", LQ, pytest.approx(3))
    assert (cell["seeds"], cell["differing"], cell["measure"]) == ("0 1 2", "", "test_accuracy")
    assert int(line["seeds"]) == cell["seeds_needed"] > 3
    assert "A = cce, B = lq(q=0.7)." in lines.caption and lines.notes == []


def test_pairs_are_of_one_seed_whatever_the_order() -> None:
    rows = [*of("cce", 0.1, 0.5, 0.9), *of(LQ, 0.11, 0.52, 0.93)]
    made = cells(comparing(rows, "cce", "lq"))
    assert made == cells(comparing(rows[::-1], "cce", "lq"))
    # Unpaired, spreads of 40 points would hide a difference of 2.
    assert made[0]["sd"] == pytest.approx(1) and made[0]["p"] < 0.08


def test_all_pairs_in_the_order_given() -> None:
    rows = [r for i, loss in enumerate((LQ, "cce", TRUNC)) for r in of(loss, 0.1 * i, 0.2 * i, 0.1)]
    lines = comparing(rows, TRUNC, "cce", "lq")
    assert [(cell["first"], cell["second"]) for cell in cells(lines)] == [
        (TRUNC, "cce"),
        (TRUNC, LQ),
        ("cce", LQ),
    ]
    assert [line["pair"] for line in said(lines)] == ["A to B", "A to C", "B to C"]
    assert f"A = {TRUNC}, B = cce, C = {LQ}." in lines.caption


def test_holm_is_over_all_tests_printed() -> None:
    rows = []
    for rate, third in ((0.2, 0.13), (0.4, 0.17), (0.6, 0.23)):
        rows += [*of("cce", 0.1, 0.1, 0.1, rate=rate), *of("mae", 0.11, 0.12, third, rate=rate)]
    rows += [*of("cce", 0.1, rate=0.8), *of("mae", 0.2, rate=0.8)]
    lines = comparing(rows, "cce", "mae")
    p = [cell["p"] for cell in cells(lines)]
    assert p[0] < p[1] < p[2] and p[3] is None
    assert [cell["p_holm"] for cell in cells(lines)] == [
        pytest.approx(3 * p[0]),
        pytest.approx(max(3 * p[0], 2 * p[1])),
        pytest.approx(max(3 * p[0], 2 * p[1], p[2])),
        None,
    ]
    assert "all tests here (3)" in lines.caption


def test_a_bare_name_is_all_its_hyper_parameters_each_for_itself() -> None:
    rows = [*of("cce", 0.1, 0.2), *of("lq(q=0.5)", 0.2, 0.4), *of(LQ, 0.3, 0.5)]
    assert [(cell["first"], cell["second"]) for cell in cells(comparing(rows, "cce", "lq", LQ))] == [
        ("cce", "lq(q=0.5)"),
        ("cce", LQ),
        ("lq(q=0.5)", LQ),
    ]
    assert len(cells(comparing(rows, "lq"))) == 1


def test_what_cannot_be_compared() -> None:
    rows = [*of("cce", 0.1, 0.2), *of(LQ, 0.2, 0.4)]
    with pytest.raises(InvalidValue, match="at least two losses.* Here lq is lq.q=0.7. alone"):
        comparing(rows, "lq")
    with pytest.raises(UnknownName, match="loss of these runs is called 'mae'.*Known: cce, lq"):
        comparing(rows, "cce", "mae")
    assert comparing([], "cce", "mae").caption == NO_RUNS


def test_a_seed_of_one_alone_is_named_and_not_used() -> None:
    elsewhere = run(0.5, loss=LQ, rate=0.6)
    lines = comparing([*of("cce", 0.9, 0.1, 0.2), *of(LQ, 0.8, 0.2, 0.4)[1:], elsewhere], "cce", "lq")
    (cell,) = cells(lines)
    assert (cell["seeds"], cell["n"], cell["mean_first"]) == ("1 2", 2, pytest.approx(15))
    assert lines.notes == [
        "Not used, as lq(q=0.7) has no completed run to pair with: cce at digits uniform 0.4 seed 0.",
        "Not used, as cce has no completed run to pair with: lq(q=0.7) at digits uniform 0.6 seed 0.",
    ]


def test_a_run_that_did_not_complete_is_no_half_of_a_pair() -> None:
    failed = run(None, "failed", loss=LQ, seed=2)
    lines = comparing([*of("cce", 0.1, 0.2, 0.9), *of(LQ, 0.2, 0.4), failed], "lq", "cce")
    assert cells(lines)[0]["n"] == 2
    assert f"Not in the averages: 1 failed ({failed['id']})." in lines.notes
    nothing = comparing([*of("cce", 0.1), run(None, "failed", loss=LQ)], "lq", "cce")
    assert nothing.blocks == [] and nothing.caption.startswith("Nothing to compare: A = lq(q=0.7), B = cce")
    assert len(nothing.notes) == 2


def test_one_pair_has_a_difference_and_no_test() -> None:
    lines = comparing([*of("cce", 0.1), *of("mae", 0.05)], "cce", "mae")
    (line,) = said(lines)
    assert line["diff."] == "−5.00" and {line[h] for h in HEADINGS[4:]} == {"–"}
    assert any("n = 1" in note for note in lines.notes) and "(0)" in lines.caption


def test_differences_that_do_not_vary_have_no_test() -> None:
    lines = comparing([*of("cce", 0.1, 0.2, 0.3), *of("mae", 0.15, 0.25, 0.35)], "cce", "mae")
    (line,) = said(lines)
    assert line["diff."] == "+5.00" and {line[h] for h in HEADINGS[4:]} == {"–"}
    assert any("they do not vary" in note for note in lines.notes)


def test_more_seeds_than_are_counted() -> None:
    lines = comparing([*of("cce", 0.1, 0.2, 0.3), *of("mae", 0.2, 0.1, 0.3)], "cce", "mae")
    assert said(lines)[0]["seeds"] == "> 10,000" and said(lines)[0]["diff."] == "0.00"
    assert cells(lines)[0]["seeds_needed"] is None and cells(lines)[0]["p"] == pytest.approx(1)


# Settings


def test_the_same_settings_are_compared_where_both_have_them() -> None:
    rows = [r for lr in (0.1, 0.2) for loss in ("cce", "mae") for r in of(loss, lr, lr + 0.1, lr=lr)]
    rows += of("cce", 0.9, 0.9, lr=0.3)
    lines = comparing(rows, "cce", "mae")
    assert [(cell["lr"], cell["mean_first"], cell["differing"]) for cell in cells(lines)] == [
        (0.1, pytest.approx(15), ""),
        (0.2, pytest.approx(25), ""),
    ]
    assert [re.search("lr=[0-9.]+", block.title)[0] for block in lines.blocks] == ["lr=0.1", "lr=0.2"]
    assert any(note.startswith("Not used, as mae has no") for note in lines.notes)


def test_a_method_with_settings_of_its_own_is_compared_and_they_are_named() -> None:
    lines = comparing([*of("cce", 0.1, 0.2), *of("mae", 0.2, 0.5, lr=0.2, optimiser="adam")], "cce", "mae")
    assert cells(lines)[0]["differing"] == "optimiser lr"
    assert lines.notes == [
        "On digits, not only the loss differs: cce has optimiser=sgd, lr=0.1; mae has optimiser=adam, lr=0.2."
    ]


def test_of_several_settings_none_is_picked_for_a_method_that_has_another() -> None:
    rows = [*of("cce", 0.1, 0.2), *of("cce", 0.1, 0.2, lr=0.3), *of("mae", 0.2, 0.5, lr=0.2)]
    lines = comparing(rows, "cce", "mae")
    assert lines.blocks == [] and lines.caption.startswith("Nothing to compare")
    assert [note.partition(":")[0] for note in lines.notes] == [
        f"Not used, as {other} has no completed run to pair with" for other in ("mae", "cce")
    ]


@pytest.mark.parametrize(
    "data",
    [{"train_size": 50}, {"validation": 0.2}, {"draws": "exact"}, {"labels": "abc"}, {"keep": "abc"}],
    ids=str,
)
def test_runs_on_other_data_are_no_pairs(data: dict[str, Any]) -> None:
    assert comparing([*of("cce", 0.1, 0.2), *of("mae", 0.2, 0.5, **data)], "cce", "mae").blocks == []


def test_pruning_belongs_to_the_method() -> None:
    never = {"prune_from": None, "prune_every": None}
    rows = [*of(LQ, 0.1, 0.2, **never), *of(TRUNC, 0.2, 0.5)]
    assert cells(comparing(rows, "lq", "trunc-lq"))[0]["differing"] == ""
    lines = comparing([*rows, *of(TRUNC, 0.3, 0.5, prune_from=6)], "lq", "trunc-lq")
    early, late = (f"{TRUNC}, pruned from {epoch} every 1" for epoch in (4, 6))
    assert [(cell["first"], cell["second"], cell["differing"]) for cell in cells(lines)] == [
        (LQ, early, ""),
        (LQ, late, ""),
        (early, late, "prune_from"),
    ]


def test_pairs_with_other_labels_are_named() -> None:
    rows = [*of("cce", 0.1, 0.2), *of("mae", 0.2, 0.5)]
    made = runs(*rows).assign(labels_sha256=["a", "b", "a", "c"])
    (note,) = compare(made, ["cce", "mae"], "test_accuracy").notes
    assert note.startswith("The noisy labels of these pairs are not the same")
    assert note.endswith(f" {rows[1]['id']} and {rows[3]['id']}.")


@given(ROWS, st.randoms())
def test_any_runs_can_be_compared_in_any_order(rows: list[dict[str, Any]], random: Any) -> None:
    names = sorted({row["loss"] for row in rows})
    if len(names) < 2:
        return
    lines, again = (comparing(some, *names) for some in (rows, random.sample(rows, len(rows))))
    assert cells(lines) == cells(again)
    assert (lines.blocks, lines.caption) == (again.blocks, again.caption)
    accuracy = {
        tuple(row[c] for c in ("dataset", "rate", "loss", "lr", "train_size", "seed")): row["test_accuracy"]
        for row in rows
        if row["status"] == "completed"
    }
    for cell in cells(lines):
        place = [cell[c] for c in ("dataset", "rate")]
        if cell["differing"]:
            continue
        sides = [
            [
                accuracy[*place, cell[side], cell["lr"], cell["train_size"], int(seed)]
                for seed in cell["seeds"].split()
            ]
            for side in ("first", "second")
        ]
        mean = sum(b - a for a, b in zip(*sides, strict=True)) / cell["n"]
        assert cell["difference"] == pytest.approx(100 * mean, abs=1e-9)


@pytest.mark.parametrize("form", ["table", "markdown", "latex", "csv", "json"])
def test_every_format_says_the_same(form: str) -> None:
    rows = [r for loss in ("cce", "mae", LQ) for rate in (0.2, 0.45) for r in of(loss, 0.1, rate, rate=rate)]
    text = FORMATS.bind(form)(comparing(rows, "cce", "mae", "lq"), width=80)
    assert LQ in text.replace("\n", " ")
    assert form != "latex" or text.isascii()
    if form == "table":
        assert max(map(len, text.splitlines())) <= 80


def test_every_table_has_a_measure_that_has_words() -> None:
    assert {entry.metadata.measure for entry in TABLES} <= set(MEASURES)
