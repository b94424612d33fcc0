"""From runs and epochs to figures.  How they are drawn is in test_reporting_drawing.py."""

import dataclasses
import shlex
import statistics
from pathlib import Path
from typing import Any

import pytest
from curves import ADAM, FIG1, FIG2, MADE, add, filled
from test_store import RESULT

from noisybench.config import Config
from noisybench.errors import InvalidValue
from noisybench.reporting.figures import Figure, Line, Panel, build_figure
from noisybench.reporting.selection import select
from noisybench.results import Epoch
from noisybench.store import Store

SHORT = {"epochs": 4}
CCE, LQ = {"dataset": "cifar10", "loss": "cce"}, {"dataset": "cifar10", "loss": "lq(q=0.7)"}


def figure(store: Store, name: str = "fig1", *where: str) -> Figure:
    return build_figure(name, select(store.results(), where)[0], store.mean_curves)


def contents(figure: Figure) -> list[tuple[str, str, list[str]]]:
    """Heading, measure and labels of each panel."""
    return [
        (f"{letter} {p.title}", p.ylabel, [line.label for line in p.lines]) for letter, p in figure.panels
    ]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "runs.db")


def test_figure_1_has_the_panels_of_the_paper(tmp_path: Path) -> None:
    made = figure(filled(tmp_path / "runs.db", FIG1, seeds=2, **SHORT))
    accuracy, softmax = "Test accuracy (%)", "Mean softmax of the given label"
    both = ["cce, correct", "cce, wrong", "lq(q=0.7), correct", "lq(q=0.7), wrong"]
    assert contents(made) == [
        ("(a) cifar10, clean labels", accuracy, ["cce", "mae"]),
        ("(b) cifar100, clean labels", accuracy, ["cce", "mae"]),
        ("(c) cifar10, uniform, η = 0.4", softmax, both),
    ]
    assert [line.dashed for line in made.rows[0][2].lines] == [False, True, False, True]
    shades = {line.label: line.shade for panel in made.rows[0] for line in panel.lines}
    assert shades["cce"] == shades["cce, correct"] == shades["cce, wrong"] != shades["mae"]


def test_figure_2_has_a_column_for_each_rate(tmp_path: Path) -> None:
    made = figure(filled(tmp_path / "runs.db", FIG2, seeds=1, **SHORT), "fig2")
    places = ["cifar10, clean labels", "cifar10, uniform, η = 0.2", "cifar10, uniform, η = 0.6"]
    top, bottom = made.rows
    assert [panel.title for panel in top] == [panel.title for panel in bottom] == places
    assert {panel.ylabel for panel in top} == {"Test accuracy (%)"}
    assert {panel.ylabel for panel in bottom} == {"Noisy-validation loss"}
    labels = [f"q = {q}" for q in ("0", "0.2", "0.4", "0.6", "0.8", "1")]
    assert all([line.label for line in panel.lines] == labels for row in made.rows for panel in row)


def test_each_data_set_and_noise_has_rows_of_its_own_in_figure_2(store: Store) -> None:
    noises = [("cifar100", "uniform"), ("cifar10", "class-dependent"), ("cifar10", "uniform")]
    for dataset, noise in noises:
        for q in (0, 1):
            add(store, dataset=dataset, noise=noise, rate=0.2, loss=f"lq(q={q})", **SHORT)
    made = figure(store, "fig2")
    assert [[panel.title for panel in row] for row in made.rows[::2]] == [
        ["cifar10, uniform, η = 0.2"],
        ["cifar10, class-dependent, η = 0.2"],
        ["cifar100, uniform, η = 0.2"],
    ]


def test_points_are_mean_and_sample_standard_deviation_over_seeds(tmp_path: Path) -> None:
    store = filled(tmp_path / "runs.db", [CCE, LQ], seeds=3, rate=0.4, **SHORT)
    drawn = {line.label: line for line in figure(store).rows[0][0].lines}
    for label, loss, measure in [
        ("cce, correct", "cce", "softmax_correct"),
        ("lq(q=0.7), wrong", "lq(q=0.7)", "softmax_wrong"),
    ]:
        runs = [row["id"] for row in store.runs() if row["loss"] == loss]
        points = drawn[label].points.set_index("epoch")
        assert list(points.index) == [1, 2, 3, 4] and set(points["n"]) == {3}
        for epoch in points.index:
            values = [store.details("epochs", run)[epoch - 1][measure] for run in runs]
            assert points["mean"][epoch] == pytest.approx(statistics.mean(values))
            assert points["std"][epoch] == pytest.approx(statistics.stdev(values), abs=1e-12)


def test_accuracies_are_percent_and_losses_are_not(store: Store) -> None:
    for loss in ("lq(q=0)", "lq(q=1)"):
        run = store.begin(Config.create(dataset="cifar10", loss=loss, epochs=1), MADE)
        store.add(run, Epoch(1, 1.0, 1.5, 0.4, 0.4, 0.25, 0.1, 90, 0.5, 0.5, 1.0))
        store.complete(run, RESULT)
    (top,), (bottom,) = figure(store, "fig2").rows
    assert [line.points["mean"].tolist() for line in top.lines] == [[25.0], [25.0]]
    assert [line.points["mean"].tolist() for line in bottom.lines] == [[1.5], [1.5]]


def test_only_completed_runs_count(tmp_path: Path) -> None:
    store = filled(tmp_path / "runs.db", [CCE, LQ], seeds=2, rate=0.4, **SHORT)
    before = figure(store)
    interrupted = store.begin(Config.create(**CCE, rate=0.4, seed=2, **SHORT), MADE)
    store.add(interrupted, Epoch(1, 1.0, 1.0, 0.0, 0.0, 0.0, 0.1, 90, 0.9, 0.9, 1.0))
    store.end(interrupted, "interrupted", "stopped")
    (panel,), (after,) = before.rows[0], figure(store).rows[0]
    for line, again in zip(panel.lines, after.lines, strict=True):
        assert line.n == again.n == 2
        assert line.points.equals(again.points)


def test_a_place_with_nothing_to_compare_has_no_panel(store: Store) -> None:
    add(store, **CCE, rate=0.4, **SHORT)
    add(store, **LQ, rate=0.2, **SHORT)
    add(store, **CCE, **{**ADAM, **SHORT})
    assert figure(store).rows == [] and figure(store, "fig2").rows == []
    add(store, **LQ, rate=0.4, **SHORT)
    assert [panel.title for _, panel in figure(store).panels] == ["cifar10, uniform, η = 0.4"]


def test_runs_without_epochs_are_not_drawn(store: Store) -> None:
    for setting in (CCE, LQ):
        store.complete(store.begin(Config.create(**setting, rate=0.4), MADE), RESULT)
    assert figure(store).rows == []


# Settings


@pytest.mark.parametrize(
    "other",
    [
        {"augment": "none"},
        {"train_size": 5000},
        {"model": "mlp(hidden=32)"},
        {"milestones": (2, 3)},
        {"lr": 0.0123456789, "optimiser": "adam"},
    ],
    ids=str,
)
def test_runs_of_several_settings_are_refused_and_each_can_be_chosen(
    store: Store, other: dict[str, Any]
) -> None:
    for setting in (CCE, LQ):
        add(store, **setting, rate=0.4, **SHORT)
        add(store, **setting, rate=0.4, **{**SHORT, **other})
    with pytest.raises(InvalidValue, match="different settings") as caught:
        figure(store)
    words = shlex.split(str(caught.value).replace(";", " ").replace(",", " ").removesuffix("."))
    conditions = [after for word, after in zip(words, words[1:], strict=False) if word == "--where"]
    assert {condition.partition("=")[0] for condition in conditions} == set(other)
    assert len(conditions) == 2 * len(other)
    # One value of each, as the message says: every choice is one setting.
    first, second = conditions[::2], conditions[1::2]
    titles = [
        panel.setting for choice in (first, second) for _, panel in figure(store, "fig1", *choice).panels
    ]
    assert len(set(titles)) == 2


def test_a_setting_with_nothing_to_compare_does_not_stand_in_the_way(tmp_path: Path) -> None:
    store = filled(tmp_path / "runs.db", [CCE, LQ], seeds=1, rate=0.4, **SHORT)
    add(store, **CCE, rate=0.4, augment="none", **SHORT)
    (_, panel), *_ = figure(store).panels
    assert [line.n for line in panel.lines] == [1, 1, 1, 1] and "augment" not in panel.setting


def test_clean_runs_of_two_kinds_of_noise_are_not_counted_twice(store: Store) -> None:
    for noise in ("uniform", "class-dependent"):
        for loss in ("cce", "mae"):
            add(store, dataset="cifar10", loss=loss, rate=0.0, noise=noise, **SHORT)
    with pytest.raises(InvalidValue, match="--where noise=class-dependent, --where noise=uniform"):
        figure(store)


# Notes


def panel(setting: str, *counts: int) -> Panel:
    points = [{"epoch": [1], "mean": [1.0], "std": [0.0], "n": [n]} for n in counts]
    lines: list[Any] = [Line(f"line {i}", 0.0, False, n, points[i]) for i, n in enumerate(counts)]  # type: ignore[arg-type]
    return Panel("somewhere", "Test accuracy (%)", setting, lines)


@pytest.mark.parametrize(
    ("panels", "expected"),
    [
        ([panel("small", 1, 1)], ["One seed (n = 1).", "small."]),
        (
            [panel("small", 3, 3), panel("small", 3, 2)],
            [
                "Mean over seeds ± one sample standard deviation (n−1), n = 3 (2 for line 1 in (b)).",
                "small.",
            ],
        ),
        (
            [panel("small", 3), panel("large", 3), panel("small", 3)],
            [
                "Mean over seeds ± one sample standard deviation (n−1), n = 3.",
                "(a), (c) small.",
                "(b) large.",
            ],
        ),
    ],
)
def test_notes_say_n_and_the_setting(panels: list[Panel], expected: list[str]) -> None:
    assert Figure("fig1", "title", [panels]).notes == expected


def test_a_small_run_is_named_as_one(tmp_path: Path) -> None:
    store = filled(tmp_path / "runs.db", FIG1, seeds=1, model="mlp", train_size=500, **SHORT)
    *_, last = figure(store).notes
    assert last == "(c) cifar10: mlp(hidden=256), 4 epochs, 500 images."


def test_there_are_letters_for_many_panels() -> None:
    made = Figure("fig1", "title", [[panel("small", 1)] * 40])
    letters = [letter for letter, _ in made.panels]
    assert letters[:2] == ["(a)", "(b)"] and len(set(letters)) == 40
    assert dataclasses.replace(made, rows=[]).panels == []
