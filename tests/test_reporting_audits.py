"""The same runs under other rules of selection, and what each leaks."""

import json
import statistics
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from commands import SHORT, succeed
from hypothesis import given
from hypothesis import strategies as st
from test_reporting import run, runs

from noisybench.reporting.audit import AUDITS, CELLS, HONEST, RULES, selection
from noisybench.reporting.formats import FORMATS
from noisybench.reporting.tables import NO_RUNS, Table
from noisybench.store import Store

MEASURED = ("val_accuracy", "clean_val_accuracy", "test_accuracy")
Curve = list[tuple[float, float | None, float]]


def audit(*rows_and_curves: tuple[dict[str, Any], Curve]) -> Table:
    """The audit of runs with (noisy validation, clean validation, test) accuracies epoch by epoch."""
    epochs = [
        {"run": row["id"], "epoch": number, **dict(zip(MEASURED, values, strict=True))}
        for row, curve in rows_and_curves
        for number, values in enumerate(curve, 1)
    ]
    rows = [row for row, _ in rows_and_curves]
    return selection(runs(*rows), pd.DataFrame(epochs, columns=["run", "epoch", *MEASURED]))


def cells(lines: Table) -> list[dict[str, Any]]:
    return json.loads(FORMATS.bind("json")(lines))


def by_rule(lines: Table, measure: str) -> dict[str, Any]:
    return {cell["rule"]: cell[measure] for cell in cells(lines)}


FIRST: Curve = [(0.2, 0.3, 0.40), (0.6, 0.7, 0.50), (0.6, 0.8, 0.55), (0.1, 0.8, 0.60), (0.5, 0.4, 0.58)]
SECOND: Curve = [(0.7, 0.9, 0.52), (0.6, 0.7, 0.50), (0.6, 0.8, 0.40)]


def test_each_rule_by_hand() -> None:
    lines = audit((run(), FIRST))
    # The earliest epoch of the maximum: of noisy validation the second, of clean validation the third.
    assert by_rule(lines, "mean") == {
        HONEST: pytest.approx(50),
        "last": pytest.approx(58),
        "clean val.": pytest.approx(55),
        "test": pytest.approx(60),
    }
    assert list(cells(lines)[0]) == list(CELLS)
    assert [cell["std"] for cell in cells(lines)] == [None] * 4


def test_a_leak_is_the_mean_difference_over_seeds() -> None:
    lines = audit((run(), FIRST), (run(seed=1), SECOND))
    assert by_rule(lines, "leak") == {
        HONEST: 0,
        "last": pytest.approx((8 - 12) / 2),
        "clean val.": pytest.approx((5 + 0) / 2),
        "test": pytest.approx((10 + 0) / 2),
    }
    (block,) = lines.blocks
    spread = statistics.stdev([50, 52])
    assert block.title == "digits: cnn6, 10 epochs, all images; uniform, η = 0.4"
    assert block.texts[0][:2] == ["cce", f"51.00 ± {spread:.2f}"]
    assert block.texts[1] == ["leak, n = 2", "0.00", "−2.00", "+2.50", "+5.00"]
    assert lines.notes == []


ACCURACY = st.integers(0, 20).map(lambda right: right / 20)
RUNS = st.dictionaries(
    st.tuples(st.sampled_from(["cce", "mae", "lq(q=0.7)"]), st.sampled_from([0.2, 0.4]), st.integers(0, 3)),
    st.lists(st.tuples(ACCURACY, ACCURACY, ACCURACY), min_size=1, max_size=6),
    min_size=1,
    max_size=12,
)


def last_test(curve: Curve) -> float:
    return curve[-1][2]


def best_test(curve: Curve) -> float:
    return max(test for *_, test in curve)


@given(RUNS)
def test_what_a_leak_must_be(curves: dict[tuple[str, float, int], Curve]) -> None:
    lines = audit(*((run(loss=loss, rate=rate, seed=seed), c) for (loss, rate, seed), c in curves.items()))
    assert len(cells(lines)) == len(RULES) * len({place[:2] for place in curves})
    for first in range(0, len(cells(lines)), len(RULES)):
        cell = cells(lines)[first : first + len(RULES)]
        leaks = {record["rule"]: record["leak"] for record in cell}
        assert leaks[HONEST] == 0
        assert leaks["test"] >= 0 and leaks["test"] >= max(leaks.values()) - 1e-9
        place = (cell[0]["loss"], cell[0]["rate"])
        of_cell = [curve for (*where, _), curve in curves.items() if tuple(where) == place]
        assert cell[0]["n"] == len(of_cell)
        for record in cell:
            assert record["leak"] == pytest.approx(record["mean"] - cell[0]["mean"], abs=1e-9)
        last, best = ([pick(c) for c in of_cell] for pick in (last_test, best_test))
        assert cell[1]["mean"] == pytest.approx(100 * statistics.mean(last))
        assert cell[-1]["mean"] == pytest.approx(100 * statistics.mean(best))


def test_a_loss_with_several_places_has_its_mean_leak() -> None:
    lines = audit((run(), FIRST), (run(rate=0.6), SECOND), (run(loss="mae"), SECOND))
    *places, summary = lines.blocks
    assert len(places) == 2
    assert summary.texts == [
        ["cce", "0.00", "−2.00", "+2.50", "+5.00"],
        ["mae", "0.00", "−12.00", "0.00", "0.00"],
    ]
    # A line that repeats what is above says nothing.
    assert len(audit((run(), FIRST), (run(loss="mae"), SECOND)).blocks) == 1


def test_runs_of_different_settings_are_apart() -> None:
    trunc = "trunc-lq(q=0.7, k=0.5)"
    lines = audit(
        (run(lr=0.2), FIRST),
        (run(seed=1), SECOND),
        (run(loss=trunc), FIRST),
        (run(loss=trunc, prune_from=6), SECOND),
    )
    first, second, _ = lines.blocks
    assert "lr=0.1" in first.title and "lr=0.2" in second.title
    assert [row[0] for row in first.texts[::2]] == [
        "cce",
        f"{trunc}, pruned from 4 every 1",
        f"{trunc}, pruned from 6 every 1",
    ]
    assert [row[0] for row in second.texts[::2]] == ["cce"]


# What was not measured


def test_runs_made_before_clean_validation_was_measured() -> None:
    old: Curve = [(noisy, None, test) for noisy, _, test in FIRST]
    half: Curve = [*old[:2], *FIRST[2:]]
    for curve in (old, half):
        older = run(seed=1)
        lines = audit((run(), FIRST), (older, curve))
        (block,) = lines.blocks
        assert [row[3] for row in block.texts] == ["–", "–"]
        assert "–" not in {text for row in block.texts for text in (*row[1:3], row[4])}
        assert by_rule(lines, "leak")["clean val."] is None and by_rule(lines, "n")["clean val."] == 0
        (note,) = lines.notes
        assert note.startswith("clean val. is –") and note.endswith(f": {older['id']}.")


def test_runs_without_epochs_or_a_result_are_named_and_left_out() -> None:
    bare, failed = run(seed=1), run(status="failed", seed=2)
    lines = audit((run(), FIRST), (bare, []), (failed, SECOND))
    assert by_rule(lines, "n") == dict.fromkeys(RULES, 1)
    assert lines.notes == [
        f"Not audited, as the store has no epochs of theirs: {bare['id']}.",
        f"Not in the averages: 1 failed ({failed['id']}).",
    ]


def test_nothing_to_audit() -> None:
    assert audit().caption == NO_RUNS
    lines = audit((run(status="failed"), FIRST))
    assert lines.caption.startswith("No run has completed") and lines.blocks == []
    for form in ("table", "markdown", "latex"):
        assert "No run has completed" in FORMATS.bind(form)(lines, width=80)


@pytest.mark.parametrize("form", ["table", "markdown", "latex", "csv", "json"])
def test_every_format_takes_it(form: str) -> None:
    text = FORMATS.bind(form)(audit((run(), FIRST), (run(seed=1), SECOND), (run(rate=0.6), FIRST)), width=80)
    assert "cce" in text and (form != "latex" or text.isascii())
    assert form != "table" or max(map(len, text.splitlines())) <= 80


def test_every_audit_has_help() -> None:
    assert all(entry.help.endswith(".") for entry in AUDITS)


# Real runs


def test_the_rules_agree_with_what_the_training_stored(database: Path) -> None:
    for loss, seed in (("cce", 0), ("lq", 0), ("cce", 1)):
        succeed("train", *SHORT, "--loss", loss, "--seed", seed)
    results = Store.open(database).results().set_index(["loss", "seed"]).sort_index()
    found = json.loads(succeed("report", "--audit", "selection", "--format", "json"))
    assert len(found) == 2 * len(RULES)
    for loss in ("cce", "lq(q=0.7)"):
        mean = {cell["rule"]: cell["mean"] for cell in found if cell["loss"] == loss}
        stored = 100 * results.loc[loss][["test_accuracy", "last_test_accuracy"]].mean()
        assert [mean[HONEST], mean["last"]] == pytest.approx(stored.tolist())
        assert mean["test"] >= max(mean.values()) - 1e-9
    assert "clean val. is –" not in succeed("report", "--audit", "selection")
