"""Figures of any runs: what is in them, and that they are drawn whole."""

import itertools
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from commands import noisybench
from curves import add

from noisybench.errors import UnknownName
from noisybench.reporting.figures import Figure, HeatMap, Panel, RankAxis, Scatter, build_figure
from noisybench.reporting.paper_tables import closed_set, open_set
from noisybench.reporting.plotting import compose, draw, style
from noisybench.store import Store

LOSSES = ("cce", "mae", "lq(q=0.7)", "trunc-lq(q=0.7, k=0.5)", "co-teaching(warm_up=10)")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Five methods in two kinds of noise; mae lacks the highest rate."""
    made = Store.open(tmp_path_factory.mktemp("store") / "runs.db")
    for loss, noise, rate, seed in itertools.product(
        LOSSES, ("uniform", "class-dependent"), (0.2, 0.4), (0, 1)
    ):
        if (loss, rate) != ("mae", 0.4):
            add(made, seed, dataset="cifar10", loss=loss, noise=noise, rate=rate, epochs=6)
    return made


def figure(store: Store, name: str, by: str = "loss", table: Any = closed_set, query: str = "") -> Figure:
    runs = store.results()
    runs = runs.query(query) if query else runs
    return build_figure(name, runs, store.mean_curves, table=table(runs), by=by)


def test_curves_have_a_panel_for_each_setting_and_a_line_for_each_method(store: Store) -> None:
    made = figure(store, "curves")
    panels = [panel for _, panel in made.panels if isinstance(panel, Panel)]
    tops = [panel for panel in panels if panel.ylabel == "Test accuracy (%)"]
    assert len(panels) == 2 * len(tops) == 8
    assert {len(panel.lines) for panel in tops if "0.2" in panel.title} == {5}
    assert {len(panel.lines) for panel in tops if "0.4" in panel.title} == {4}
    assert any("mae" in note and "No completed runs" in note for note in made.notes)


def test_a_curve_is_the_mean_of_its_runs(store: Store) -> None:
    made = figure(store, "curves", query="loss == 'cce' and noise == 'uniform' and rate == 0.2")
    ((test,), (validation,)) = made.rows
    assert isinstance(test, Panel) and isinstance(validation, Panel)
    runs = store.results().query("loss == 'cce' and noise == 'uniform' and rate == 0.2")["id"]
    own = store.epochs()
    epochs = own[own["run"].isin(runs)].groupby("epoch")
    for panel, measure in ((test, "test_accuracy"), (validation, "val_accuracy")):
        (line,) = panel.lines
        assert list(line.points["mean"]) == pytest.approx(list(100 * epochs[measure].mean()))
        assert list(line.points["std"]) == pytest.approx(list(100 * epochs[measure].std()))
        assert line.n == 2


def test_lines_by_rate(store: Store) -> None:
    made = figure(store, "curves", by="rate", query="loss == 'cce'")
    tops = [panel for panel in made.rows[0] if isinstance(panel, Panel)]
    assert [panel.title for panel in tops] == ["cifar10, uniform, cce", "cifar10, class-dependent, cce"]
    assert [[line.label for line in panel.lines] for panel in tops] == [["rate=0.2", "rate=0.4"]] * 2


@pytest.mark.parametrize("by", ["seed", "colour"])
def test_lines_by_what_cannot_be(store: Store, by: str) -> None:
    with pytest.raises(UnknownName, match="loss"):
        figure(store, "curves", by=by)


def test_a_heat_map_has_the_means_of_the_table(store: Store) -> None:
    runs = store.results()
    cells = closed_set(runs).cells.set_index(["loss", "noise", "rate"])["mean"]
    ((one, other),) = figure(store, "heatmap").rows
    for panel in (one, other):
        assert isinstance(panel, HeatMap) and panel.columns == ["η = 0.2", "η = 0.4"]
        noise = panel.title.removeprefix("cifar10, ")
        for loss, row in zip(panel.rows, panel.values, strict=True):
            for rate, value in zip((0.2, 0.4), row, strict=True):
                known = (loss, noise, rate) in cells.index
                assert value == pytest.approx(cells[loss, noise, rate]) if known else value is None


def test_cost_is_of_the_noises_that_all_methods_have(store: Store) -> None:
    ((time, passes),) = figure(store, "cost").rows
    assert isinstance(time, Scatter) and isinstance(passes, Scatter)
    cells = closed_set(store.results()).cells.query("rate == 0.2")
    for point in time.points:
        assert point.y == pytest.approx(fmean(cells[cells["loss"].eq(point.label)]["mean"]))
        assert point.x == 1.0
    assert {point.label: point.x for point in passes.points} == {
        loss: 2 if loss.startswith("co-teaching") else 1 for loss in LOSSES
    }


def test_the_rank_diagram_has_all_methods_in_order(store: Store) -> None:
    made = figure(store, "ranks")
    ((panel,),) = made.rows
    assert isinstance(panel, RankAxis) and set(panel.ranks) == set(LOSSES)
    assert list(panel.ranks.values()) == sorted(panel.ranks.values())
    assert "Friedman" in made.notes[0]


@pytest.mark.parametrize("table", [closed_set, open_set])
@pytest.mark.parametrize("name", ["curves", "heatmap", "cost", "ranks"])
def test_nothing_is_cut_off_and_no_panel_covers_another(store: Store, name: str, table: Any) -> None:
    with style():
        drawing = compose(figure(store, name, table=table))
        drawing.draw_without_rendering()
        page = drawing.bbox.padded(1)
        boxes = [axes.get_tightbbox() for axes in drawing.axes]
        boxes += [legend.get_window_extent() for legend in drawing.legends]
        boxes.append(drawing._supxlabel.get_window_extent())  # type: ignore[attr-defined]
        texts = [text.get_window_extent() for axes in drawing.axes for text in axes.texts if text.get_text()]
    for box in (*boxes, *texts):
        assert page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1
    for box, other in itertools.combinations(boxes, 2):
        assert not box.overlaps(other)
    for box, other in itertools.combinations(texts, 2):
        assert not box.overlaps(other)


@pytest.mark.parametrize("name", ["heatmap", "cost", "ranks"])
def test_without_runs_there_is_nothing_to_draw(store: Store, name: str) -> None:
    assert figure(store, name, query="seed > 100").rows == []


def test_the_same_data_gives_the_same_bytes(store: Store) -> None:
    for name in ("heatmap", "ranks"):
        assert draw(figure(store, name), ".svg") == draw(figure(store, name), ".svg")


def test_the_command_writes_figures_and_answers_what_does_not_go_together(
    store: Store, tmp_path: Path
) -> None:
    out = tmp_path / "ranks.svg"
    common = ("report", "--db", store.path, "--out", out)
    assert noisybench(*common, "--figure", "ranks", "--table", "open-set").exit_code == 0
    assert "<svg" in out.read_text()
    for wrong in (
        ["--figure", "fig1", "--by", "rate"],
        ["--by", "rate"],
        ["--figure", "fig1", "--table", "open-set"],
    ):
        answer = noisybench(*common, *wrong)
        assert answer.exit_code == 2 and wrong[-2] in answer.stderr
