"""A figure as a file: its bytes, its colours, its layout."""

import io
import itertools
import re
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from curves import FIG1, FIG2, filled
from PIL import Image

from noisybench.reporting.figures import Figure, build_figure
from noisybench.reporting.plotting import MARKERS, PANEL, colour_of, compose, draw, style

REGISTRIES = ["fig1", "fig2"]
SUFFIXES = [".pdf", ".png", ".svg"]


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Figure]:
    """Both figures of the paper, and of each one panel only."""
    whole = filled(tmp_path_factory.mktemp("store") / "runs.db", [*FIG1, *FIG2], seeds=2, epochs=20)
    runs, epochs = whole.results(), whole.mean_curves
    one = runs[runs["dataset"].eq("cifar10") & runs["rate"].isin([0.2, 0.4])]
    made = {name: build_figure(name, runs, epochs) for name in REGISTRIES}
    long = runs.assign(
        dataset=runs["dataset"] + "@0123456789", noise="class-dependent(map='cat>dog dog>cat')"
    )
    made["fig2, long"] = build_figure("fig2", long, epochs)
    return made | {f"{name}, one": build_figure(name, one, epochs) for name in REGISTRIES}


# Bytes


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", ["fig1", "fig2, one"])
def test_the_same_data_gives_the_same_bytes(figures: dict[str, Figure], name: str, suffix: str) -> None:
    first = draw(figures[name], suffix)
    assert draw(figures[name], suffix) == first
    assert not re.search(rb"CreationDate|ModDate|dc:date|\b20\d\d-\d\d-\d\dT", first)


def test_neither_does_the_users_style_reach_a_figure_nor_ours_the_user(figures: dict[str, Figure]) -> None:
    expected = draw(figures["fig1, one"], ".svg")
    with matplotlib.rc_context({"lines.linewidth": 9, "font.size": 30, "axes.facecolor": "red"}):
        before = dict(matplotlib.rcParams)
        assert draw(figures["fig1, one"], ".svg") == expected
        assert dict(matplotlib.rcParams) == before


def test_drawing_needs_neither_pyplot_nor_a_display() -> None:
    """And importing what draws does not import matplotlib."""
    code = """
import sys
import noisybench.cli.report
from noisybench.reporting import plotting, figures
assert not {"matplotlib", "jinja2", "pandas"} & sys.modules.keys()
import pandas
from noisybench.reporting.figures import Line
line = Line("cce", 1.0, False, 1, pandas.DataFrame({"epoch": [1], "mean": [1.0], "std": [0.0], "n": [1]}))
panel = figures.Panel("digits", "Test accuracy (%)", "small", [line])
for suffix in plotting.FILE_TYPES:
    plotting.draw(figures.Figure("fig1", "title", [[panel]]), suffix)
assert "matplotlib.pyplot" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(Path(__file__).parents[1])})
    assert done.returncode == 0


def test_a_pdf_has_its_fonts_as_truetype(figures: dict[str, Figure]) -> None:
    content = draw(figures["fig1"], ".pdf")
    assert content.startswith(b"%PDF") and b"/FontFile2" in content and b"/Type3" not in content


@pytest.mark.parametrize("name", REGISTRIES)
def test_text_in_svg_is_text(figures: dict[str, Figure], name: str) -> None:
    content = draw(figures[name], ".svg").decode()
    words = re.findall(r"<text[^>]*>([^<]*)</text>", content.replace("\N{NO-BREAK SPACE}", " "))
    for letter, panel in figures[name].panels:
        assert f"{letter} {panel.title}" in words and panel.ylabel in words
        assert {line.label for line in panel.lines} <= set(words)
    assert words.count("Epoch") == len(figures[name].panels)


def test_a_png_has_200_dots_per_inch(figures: dict[str, Figure]) -> None:
    image = Image.open(io.BytesIO(draw(figures["fig1"], ".png")))
    assert image.width == round(3 * PANEL[0] * 200)
    assert image.info["dpi"] == pytest.approx((200, 200), abs=0.1)


# Colours


def linear(colour: tuple[float, ...]) -> np.ndarray:
    """sRGB without its gamma (IEC 61966-2-1)."""
    c = np.array(colour)
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def lightness(rgb: np.ndarray) -> float:
    """L* of CIELAB, from 0 (black) to 100 (white), of linear RGB."""
    y = float(np.array([0.2126, 0.7152, 0.0722]) @ rgb)
    return 116 * np.cbrt(y) - 16 if y > (6 / 29) ** 3 else y * (29 / 3) ** 3


# Machado, Oliveira & Fernandes 2009, severity 1.
DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)


@pytest.mark.parametrize("seen_as", [np.eye(3), DEUTERANOPIA], ids=["as is", "deuteranopia"])
@pytest.mark.parametrize("name", REGISTRIES)
def test_series_differ_in_lightness_and_none_is_too_light(
    figures: dict[str, Figure], name: str, seen_as: np.ndarray
) -> None:
    shades = sorted({line.shade for _, panel in figures[name].panels for line in panel.lines})
    seen = [lightness((seen_as @ linear(colour_of(shade))).clip(0, 1)) for shade in shades]
    assert all(after - before > 7 for before, after in itertools.pairwise(seen))
    assert seen[-1] < 80


@pytest.mark.parametrize("name", REGISTRIES)
def test_series_differ_in_marker_or_line_too(figures: dict[str, Figure], name: str) -> None:
    with style():
        axes = compose(figures[name]).axes
    for own in axes:
        looks = [(line.get_marker(), line.get_linestyle()) for line in own.lines]
        assert len(set(looks)) == len(looks) > 1
    assert len(set(MARKERS)) == len(MARKERS)


# Layout


@pytest.mark.parametrize("name", [*REGISTRIES, "fig1, one", "fig2, one", "fig2, long"])
def test_nothing_covers_data_and_nothing_is_cut_off(figures: dict[str, Figure], name: str) -> None:
    with style():
        drawing = compose(figures[name])
        drawing.draw_without_rendering()
    page = drawing.bbox.padded(1)
    legends = [axes.get_legend() for axes in drawing.axes] if not drawing.legends else drawing.legends
    words = [legend.get_window_extent() for legend in legends]
    words.append(drawing._supxlabel.get_window_extent())  # type: ignore[attr-defined]
    whole = [axes.get_tightbbox() for axes in drawing.axes]
    for box in [*words, *whole]:
        assert page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1
    for box, axes in itertools.product(words, drawing.axes):
        assert not box.overlaps(axes.get_window_extent())
    for box, other in itertools.combinations(whole, 2):
        assert not box.overlaps(other)
    # A panel is mostly its data, however much is written around it.
    for axes in drawing.axes:
        width, height = axes.get_window_extent().size / drawing.dpi
        assert width > 2.2 and height > 1.5


def test_a_band_is_a_standard_deviation_wide(figures: dict[str, Figure]) -> None:
    ((panel,),) = figures["fig1, one"].rows
    with style():
        (axes,) = compose(figures["fig1, one"]).axes
    for line, band in zip(panel.lines, axes.collections, strict=True):
        vertices = band.get_paths()[0].vertices
        for epoch, mean, std in line.points[["epoch", "mean", "std"]].itertuples(index=False):
            heights = vertices[vertices[:, 0] == epoch][:, 1]
            assert heights.min() == pytest.approx(mean - std) and heights.max() == pytest.approx(mean + std)


def test_a_name_may_have_a_dollar_and_a_bracket(tmp_path: Path) -> None:
    store = filled(tmp_path / "runs.db", FIG1[-2:], seeds=1, epochs=2)
    runs = store.results().assign(dataset="a$_b$<c>&")
    content = draw(build_figure("fig1", runs, store.mean_curves), ".svg").decode()
    assert "(a) a$_b$&lt;c&gt;&amp;, uniform, η\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}0.4" in content


@pytest.mark.parametrize("name", REGISTRIES)
def test_panels_of_one_quantity_share_their_axes(figures: dict[str, Figure], name: str) -> None:
    with style():
        drawn = compose(figures[name]).axes
    limits = {(axes.get_ylabel(), axes.get_xlim(), axes.get_ylim()) for axes in drawn}
    assert len(limits) == len({axes.get_ylabel() for axes in drawn})
