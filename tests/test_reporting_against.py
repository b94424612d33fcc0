"""Runs beside published numbers: --against."""

import json
import re
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_reporting import OTHER, run, runs

from noisybench.config import Config
from noisybench.errors import InvalidValue, UnknownName
from noisybench.registry import METHODS
from noisybench.reporting.formats import FORMATS
from noisybench.reporting.published import (
    HEADINGS,
    STUB,
    PublishedValue,
    Source,
    compare_with_published,
    find_source,
)
from noisybench.reporting.significance import Summary, chance_to_agree, tost_p, welch_p
from noisybench.reporting.statistics import as_records
from noisybench.reporting.tables import NO_RUNS, TABLES, Table

TABLE_2 = {"model": "cnn6", "epochs": 100, "milestones": (40, 80), "augment": "none", "draws": "exact"}
# CIFAR-10 with uniform noise of rate 0.4.
CCE = Summary(81.88, 0.29, 5)
LQ = Summary(87.13, 0.22, 5)


def ours(*percents: float, status: str = "completed", **given: Any) -> list[dict[str, Any]]:
    """Runs of seeds 0, 1, ... in the protocol of the data set, with these accuracies in percent."""
    made = [Config.create(**{"dataset": "cifar10", **given}, seed=seed) for seed in range(len(percents))]
    return [
        run(percent / 100, status, **asdict(config)) for percent, config in zip(percents, made, strict=True)
    ]


def held(
    rows: list[dict[str, Any]], kind: str = "closed-set", name: str = "paper", margin: float = 1
) -> Table:
    frame = runs(*rows)
    return compare_with_published(TABLES.bind(kind)(frame), frame, name, margin)


def records(lines: Table) -> list[dict[str, Any]]:
    return as_records(lines.cells)


def written(form: str, lines: Table) -> str:
    return str(FORMATS.bind(form)(lines, width=None))


def test_the_chance_that_equal_means_agree_stands_beside_the_verdict() -> None:
    (record,) = records(held(ours(81.5, 82.0, 82.1)))
    mine = Summary(record["mean"], record["std"], record["n"])
    assert record["power"] == chance_to_agree(mine, CCE, 1)
    assert records(held(ours(81.5)))[0]["power"] is None


def test_a_cell_has_both_numbers_their_difference_and_both_tests() -> None:
    made = held(ours(81.5, 82.0, 82.1))
    (record,) = records(made)
    mine = Summary(record["mean"], record["std"], record["n"])
    assert mine == (pytest.approx(245.6 / 3), pytest.approx(0.3214550), 3)
    assert (record["published_mean"], record["published_std"], record["published_n"]) == CCE
    assert record["difference"] == pytest.approx(245.6 / 3 - 81.88)
    assert record["welch_p"] == pytest.approx(welch_p(mine, CCE))
    assert record["tost_p"] == pytest.approx(tost_p(mine, CCE, 1))
    assert (record["verdict"], record["deviations"], record["margin"]) == ("agrees", "", 1)
    assert made.blocks[0].title == "cifar10: resnet34(width=64), 120 epochs, all images"
    (line,) = made.blocks[0].texts
    assert line == ["cce", "uniform", "0.4", "81.88 ± 0.29", "81.87 ± 0.32", "−0.01", "86%", "agrees"]


@pytest.mark.parametrize(
    ("percents", "margin", "verdict"),
    [
        ((81.6, 81.9, 82.1), 1, "agrees"),
        ((81.6, 81.9, 82.1), 0.01, "undecided"),
        ((75.0, 75.3, 75.1), 1, "differs"),
        ((82.5, 82.6, 82.55), 2, "differs, within the margin"),
        ((76.0, 86.0), 1, "undecided"),
        ((81.88,), 1, "–"),
    ],
)
def test_the_verdict(percents: tuple[float, ...], margin: float, verdict: str) -> None:
    made = held(ours(*percents), margin=margin)
    assert [record["verdict"] for record in records(made)] == [verdict]
    if len(percents) == 1:
        assert made.blocks[0].texts[0][-3] == "0.00" and records(made)[0]["welch_p"] is None


def test_the_tests_and_the_margin_are_stated() -> None:
    (note,) = [note for note in held(ours(81.6, 81.9), margin=0.5).notes if note.startswith("Each cell")]
    assert "level 0.05" in note and "±0.5 percentage points" in note and "Welch" in note
    notes = " ".join(held(ours(81.6, 81.9)).notes)
    assert "n = 5 runs" in notes and "(n−1) is not said, and assumed" in notes
    assert "uniform-inclusive" in notes


def test_runs_that_failed_have_no_difference() -> None:
    made = held(ours(0, status="failed"))
    assert made.blocks[0].texts[0][-4:] == ["failed", "–", "–", "–"]
    assert records(made)[0]["difference"] is None


# Deviations

CHANGED = {**OTHER, "augment": "none"}
del CHANGED["precision"]  # which the paper does not state: it is said in a note


@given(
    st.sets(st.sampled_from(sorted(CHANGED)), min_size=1, max_size=4),
    st.sampled_from(["cce", "mae", "forward-t", "lq", "trunc-lq"]),
)
def test_a_run_of_other_settings_is_never_a_reproduction(changed: set[str], loss: str) -> None:
    """Whatever is changed, and although the accuracies are those that were published."""
    exact = (
        find_source("paper", "closed-set").numbers()["cifar10", str(METHODS.bind(loss)), "uniform", 0.4].mean
    )
    rows = ours(exact - 0.01, exact, exact + 0.01, loss=loss)
    assert [record["verdict"] for record in records(held(rows))] == ["agrees"] or loss == "mae"
    other = [{**asdict(Config.from_row(row)), **{name: CHANGED[name] for name in changed}} for row in rows]
    made = held([run(row["test_accuracy"], **fields) for row, fields in zip(rows, other, strict=True)])
    (record,) = records(made)
    assert (record["verdict"], record["welch_p"], record["tost_p"]) == ("no reproduction", None, None)
    assert record["difference"] == pytest.approx(0, abs=1e-9)
    assert {one.partition("=")[0] for one in record["deviations"].split("; ")} == changed
    assert made.blocks[0].title.endswith("– no reproduction")
    assert any(record["deviations"].split("; ")[0] in note for note in made.notes)
    assert "agrees" not in written("table", made)


def test_a_data_set_of_other_images_deviates() -> None:
    (record,) = records(held(ours(81.9, 81.8, dataset="cifar10@3f2a")))
    assert (record["verdict"], record["deviations"]) == (
        "no reproduction",
        "dataset=cifar10@3f2a (protocol: cifar10)",
    )


def test_what_cannot_be_checked_is_no_reproduction(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store may hold runs of a loss that this noisybench does not know."""
    place = ("cifar10", "unheard-of", "uniform", 0.4)
    monkeypatch.setattr(Source, "numbers", lambda source: {place: PublishedValue(82, 0.1, 5, "somebody")})
    (record,) = records(held([{**row, "loss": "unheard-of"} for row in ours(82, 82.1)]))
    assert record["verdict"] == "no reproduction"
    assert record["deviations"] == "settings that cannot be checked, as unheard-of is not known here"


def test_a_method_that_alone_deviates_is_named() -> None:
    rows = [*ours(87.1, 87.2, loss="lq"), *ours(87.5, 87.6, loss="trunc-lq", prune_from=50)]
    made = held(rows)
    (block,) = made.blocks
    assert [line[-1] for line in block.texts] == ["agrees", "no reproduction"]
    assert block.title.endswith("– no reproduction by trunc-lq(q=0.7, k=0.5)")
    assert made.notes[0].endswith(": trunc-lq(q=0.7, k=0.5) with prune_from=50 (protocol: 40).")


def test_a_note_counts_the_runs_of_lower_precision() -> None:
    first, second = ours(81.9, 81.8)
    notes = held([first, {**second, "computed_in": "tf32"}]).notes
    assert any(note.startswith("1 of the runs computed convolutions in tf32") for note in notes)
    assert not any("precision" in note or "convolutions" in note for note in held([first, second]).notes)


# What is compared


def test_only_what_was_published_is_compared_and_the_rest_named() -> None:
    rows = [
        *ours(80, loss="lq"),
        *ours(81, loss="lq(q=0.5)"),
        *ours(82, noise="uniform-inclusive"),
        *ours(83, rate=0.5),
    ]
    made = held(rows)
    assert [(line[0], line[3]) for line in made.blocks[0].texts] == [("lq(q=0.7)", "87.13 ± 0.22")]
    (note,) = [note for note in made.notes if note.startswith("Not published")]
    for place in ("lq(q=0.5) on cifar10", "with uniform-inclusive, η = 0.4", "with uniform, η = 0.5"):
        assert place in note


def test_one_block_for_each_data_set_and_setting() -> None:
    rows = [
        *ours(80, 81),
        *ours(70, 71, lr=0.1),
        *ours(90, 91, dataset="fashion-mnist"),
        *ours(80, 81, loss="mae"),
    ]
    made = held(rows)
    assert [(block.title.partition(":")[0], len(block.texts)) for block in made.blocks] == [
        ("fashion-mnist", 1),
        ("cifar10", 2),
        ("cifar10", 1),
    ]


def test_table_2_shows_the_difference_and_no_test() -> None:
    rows = ours(64, 65, loss="lq", **TABLE_2)
    for row in rows:
        row["test_accuracy"] = 0.1
    made = held(rows, "open-set")
    (record,) = records(made)
    assert (record["verdict"], record["deviations"]) == ("no test: no spread published", "")
    assert (record["published_std"], record["published_n"], record["welch_p"]) == (None, None, None)
    assert record["difference"] == pytest.approx(64.5 - 64.79)
    assert made.blocks[0].texts[0][3:6] == ["64.79", "64.50 ± 0.71", "−0.29"]
    notes = " ".join(made.notes)
    assert "No test: no spread published" in notes and "Forward is read as forward-that" in notes


def test_table_2_prunes_as_the_paper_says() -> None:
    scaled, stated = ({}, {"prune_from": 10, "prune_every": 10})
    for pruning, verdict in [(scaled, "no reproduction"), (stated, "no test: no spread published")]:
        made = held(ours(79, loss="trunc-lq", **TABLE_2, **pruning), "open-set")
        assert [record["verdict"] for record in records(made)] == [verdict]


def test_a_loss_with_a_protocol_of_its_own_is_held_against_that() -> None:
    for own, verdict in [({"epochs": 100}, "no test: no spread published"), ({}, "no reproduction")]:
        made = held(ours(79, loss="wang2018", draws="exact", **own), "open-set")
        assert [record["verdict"] for record in records(made)] == [verdict]


def test_nothing_to_compare_is_said_with_what_there_is() -> None:
    made = held(ours(80, 81, dataset="digits"))
    assert made.blocks == [] and records(made) == []
    assert made.caption.startswith(
        "Nothing to compare: Table 1 of Zhang & Sabuncu 2018 has none of these runs."
    )
    assert "lq(q=0.7)" in made.caption and "cifar100" in made.caption and "class-dependent" in made.caption
    assert held([]).caption == NO_RUNS


@pytest.mark.parametrize("margin", [0, -1, float("nan"), float("inf"), 101])
def test_a_margin_is_a_positive_number_of_points(margin: float) -> None:
    with pytest.raises(InvalidValue, match="margin is"):
        held(ours(80), margin=margin)


def test_an_unknown_source_has_the_known_ones() -> None:
    with pytest.raises(UnknownName, match="Known: paper"):
        held(ours(80), name="wang")


# Formats

MIXED = [*ours(81.5, 82.0), *ours(70, 71, loss="trunc-lq", prune_from=50), *ours(87, loss="lq", epochs=5)]


@pytest.mark.parametrize("form", ["table", "markdown", "latex"])
def test_every_line_is_written_in_every_format(form: str) -> None:
    made = held(MIXED)
    text = written(form, made)
    plain = text.replace(r"$\pm$", "±").replace("$-$", "−").replace("--", "–").replace("\\", "")
    for block in made.blocks:
        assert len(block.texts[0]) == len(STUB) + len(HEADINGS)
        for line in block.texts:
            assert all(text in plain for text in line)
    assert form != "latex" or text.isascii()


def test_csv_and_json_are_one_record_a_cell() -> None:
    made = held(MIXED)
    found = json.loads(written("json", made))
    assert [record["verdict"] for record in found] == [record["verdict"] for record in records(made)]
    head = written("csv", made).splitlines()[0].split(",")
    first = "dataset loss noise rate mean std n published_mean published_std published_n origin difference"
    assert head[:18] == [*first.split(), "welch_p", "tost_p", "power", "margin", "verdict", "deviations"]
    for form in ("json", "csv"):
        nothing = written(form, held([]))
        assert nothing == "[]" or nothing.split(",") == head


def test_lines_fit_a_terminal() -> None:
    text = re.sub(r"\033\[\d*m", "", str(FORMATS.bind("table")(held(MIXED), width=80)))
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("no reproduction\n") >= 2


def test_the_order_of_the_losses_is_counted() -> None:
    """Published: cce 81.88, mae 67.00, lq 87.13; ours put lq between the two others."""
    rows = [row for loss, mean in [("cce", 60), ("mae", 40), ("lq", 50)] for row in ours(mean, loss=loss)]
    made = held(rows)
    assert "Pairs of losses, at one rate, in the published order: cifar10, uniform: 2 of 3." in made.notes
    assert not any("published order" in note for note in held(ours(50, loss="lq")).notes)


def test_the_count_of_the_order_names_runs_that_ended_early() -> None:
    rows = [*ours(80, loss="cce"), *ours(81, loss="lq"), *ours(90, loss="trunc-lq")]
    early = [{**row, "reason": "pruning kept too little"} if "trunc" in row["loss"] else row for row in rows]
    (note,) = [note for note in held(early).notes if "published order" in note]
    assert "trunc-lq(q=0.7, k=0.5) in 2 pairs" in note
    assert not any("ended before" in note for note in held(rows).notes)
