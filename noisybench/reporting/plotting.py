"""A figure as PDF, PNG or SVG, drawn by matplotlib without a display.

Nothing of matplotlib's state is changed, nor does the user's own style reach a figure.  The same data
gives the same bytes.
"""

import io
import textwrap
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noisybench.errors import InvalidValue
from noisybench.reporting.figures import AnyPanel, Figure, HeatMap, Line, Panel, Point, RankAxis, Scatter

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

# By suffix: matplotlib's name of the format, and what it would otherwise write of the time.
FILE_TYPES: Mapping[str, Mapping[str, Any]] = {
    ".pdf": {"format": "pdf", "metadata": {"CreationDate": None}},
    ".png": {"format": "png", "dpi": 200},
    ".svg": {"format": "svg", "metadata": {"Date": None}},
}

# Inches of a panel, one column of a paper wide; of a line of the notes; of the legends of a row.
PANEL = (3.3, 2.5)
NOTE_LINE = 0.14
LEGEND_LINE = 0.18

# Panels beside each other in the figure of a search.
SEARCH_COLUMNS = 3

# Inches of a cell of a heat map; of a rank diagram, and of a method's line in it.
HEAT_CELL = (0.58, 0.24)
RANK_WIDTH = 7.0
RANK_LINE = 0.2
# Characters in an inch of the labels of an axis; of a legend.
LABEL_DENSITY = 13
LEGEND_DENSITY = 14
LEGEND_HANDLE = 7  # as wide as so many characters

NOTE_SIZE = 7.5
# Characters of a note that fit in an inch, at that size; of a title that fit over a panel.
NOTE_DENSITY = 17
TITLE_WIDTH = 36

STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.5,
    "lines.markersize": 4,
    "legend.frameon": False,
    "legend.handlelength": 3,
    "figure.constrained_layout.use": True,
    "pdf.fonttype": 42,  # whole TrueType fonts: publishers refuse Type 3
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "noisybench",
    "text.parse_math": False,  # a name may have a dollar
}

# From dark blue to orange, evenly in lightness; what comes after is too light for a line on white.
COLOURS = "plasma"
LIGHTEST = 0.78
HEAT_COLOURS = "viridis"
HEAT_DARK = 60  # in percent; below, text on the colour is white
MARKERS = "osD^vPX*<>"
MARKS = 8
WRONG = (0, (3, 1.4))


def check_suffix(path: Path) -> str:
    """The suffix of a file that a figure is written to.  Raises InvalidValue for an unknown one."""
    suffix = path.suffix.lower()
    if suffix not in FILE_TYPES:
        raise InvalidValue(f"{path} cannot hold a figure: its name must end in {', '.join(FILE_TYPES)}.")
    return suffix


def draw(figure: Figure, suffix: str) -> bytes:
    """The content of a file with this suffix."""
    options = dict(FILE_TYPES[suffix])
    options["metadata"] = {"Title": figure.title, **options.get("metadata", {})}
    file = io.BytesIO()
    with style():
        compose(figure).savefig(file, **options)
    return file.getvalue()


def draw_search(
    importances: Mapping[str, float],
    values: Mapping[str, Sequence[Any]],
    accuracies: Sequence[float],
    logarithmic: Sequence[str],
    suffix: str,
) -> bytes:
    """The content of a file with this suffix: a panel of importances (fractions), if there are any, and one
    for each setting, the trials' accuracies in percent over its values.

    values: of each setting, one for each accuracy.  logarithmic: the settings on a logarithmic axis.
    """
    from matplotlib.figure import Figure as Drawing

    panels = len(values) + bool(importances)
    columns = min(SEARCH_COLUMNS, panels)
    rows = -(-panels // columns)
    file = io.BytesIO()
    with style():
        drawing = Drawing(figsize=(PANEL[0] * columns, PANEL[1] * rows))
        places = iter(drawing.add_gridspec(rows, columns))
        if importances:
            axes = drawing.add_subplot(next(places))
            # The greatest stands on top.
            names = list(importances)[::-1]
            axes.barh(names, [100 * importances[name] for name in names], color=colour_of(0.3))
            axes.set_xlabel("Importance (%)")
        for name, of_trial in values.items():
            axes = drawing.add_subplot(next(places))
            is_number = all(isinstance(v, int | float) and not isinstance(v, bool) for v in of_trial)
            axes.scatter(
                of_trial if is_number else [str(v) for v in of_trial], accuracies, color=colour_of(0.6)
            )
            if name in logarithmic:
                axes.set_xscale("log")
                axes.xaxis.set_major_formatter("{x:g}")
                axes.xaxis.set_minor_formatter("")
            axes.set_xlabel(name)
            axes.set_ylabel("Noisy-validation accuracy (%)")
        drawing.savefig(file, **FILE_TYPES[suffix])
    return file.getvalue()


def style() -> AbstractContextManager[None]:
    """STYLE and matplotlib's defaults, and nothing of the user's, for as long as it lasts."""
    import matplotlib.style

    return matplotlib.style.context(STYLE, after_reset=True)


def compose(figure: Figure) -> "Drawing":
    """The figure as matplotlib's, within `style`."""
    from matplotlib.figure import Figure as Drawing

    sizes = [[size_of(panel) for panel in row] for row in figure.rows]
    columns = max(len(row) for row in sizes)
    widths = [max(row[at][0] for row in sizes if at < len(row)) for at in range(columns)]
    heights = [max(height for _, height in row) for row in sizes]
    notes = "\n".join(_fill(note, int(NOTE_DENSITY * sum(widths))) for note in figure.notes)
    entries = [entry for _, panel in figure.panels for entry in _in_legend(panel)]
    labels = {entry.label for entry in entries}
    # A shade has one marker in all panels.
    markers = dict(zip(sorted({entry.shade for entry in entries}), cycle(MARKERS), strict=False))
    longest = max(map(len, labels), default=0) + LEGEND_HANDLE
    abreast = max(1, min(len(labels), int(LEGEND_DENSITY * sum(widths) / longest)))
    if figure.shared_legend:
        legends = LEGEND_LINE * (1 + -(-len(labels) // abreast))
    else:
        legends = LEGEND_LINE * 3 * sum(any(map(_in_legend, row)) for row in figure.rows)
    height = sum(heights) + legends + NOTE_LINE * (notes.count("\n") + 2)
    drawing = Drawing(figsize=(sum(widths), height))
    grid = drawing.add_gridspec(len(sizes), columns, width_ratios=widths, height_ratios=heights)
    places = [grid[r, c] for r, row in enumerate(figure.rows) for c in range(len(row))]
    for (letter, panel), place in zip(figure.panels, places, strict=True):
        axes = drawing.add_subplot(place)
        if panel.title:
            axes.set_title(_fill(f"{letter} {panel.title}", TITLE_WIDTH), loc="left")
        DRAW[type(panel)](axes, panel, markers)
        if _in_legend(panel) and not figure.shared_legend:
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, borderaxespad=0)
    _share_axes(drawing)
    if figure.shared_legend:
        _draw_legend(drawing, abreast)
    drawing.supxlabel(notes, x=0.01, ha="left", fontsize=NOTE_SIZE)
    return drawing


def size_of(panel: AnyPanel) -> tuple[float, float]:
    """Width and height in inches of what is drawn for a panel."""
    if isinstance(panel, HeatMap):
        names = max(map(len, panel.rows)) / LABEL_DENSITY
        title = min(len(panel.title) + len("(a) "), TITLE_WIDTH) / LABEL_DENSITY
        width = max(title, HEAT_CELL[0] * len(panel.columns))
        return names + width + 0.4, HEAT_CELL[1] * len(panel.rows) + 0.8
    if isinstance(panel, RankAxis):
        return RANK_WIDTH, RANK_LINE * (len(panel.ranks) / 2 + len(panel.groups) / 2) + 0.9
    return PANEL


def _in_legend(panel: AnyPanel) -> Sequence[Line | Point]:
    """What the legend of a panel has an entry for."""
    if isinstance(panel, Panel):
        return panel.lines
    return panel.points if isinstance(panel, Scatter) else ()


def _draw_curves(axes: "Axes", panel: Panel, markers: Mapping[float, str]) -> None:
    """The lines of a panel, their bands, and its axes."""
    from matplotlib.ticker import MaxNLocator

    step = max(1, max(len(line.points) for line in panel.lines) // MARKS)
    for position, line in enumerate(panel.lines):
        points = line.points
        colour = colour_of(line.shade)
        axes.plot(
            points["epoch"],
            points["mean"],
            label=line.label,
            color=colour,
            linestyle=WRONG if line.dashed else "-",
            marker=markers[line.shade],
            markevery=(position * step // len(panel.lines), step),
        )
        if line.n > 1:
            low, high = points["mean"] - points["std"], points["mean"] + points["std"]
            axes.fill_between(points["epoch"], low, high, color=colour, alpha=0.2, linewidth=0)
    axes.set_xlabel("Epoch")
    axes.set_ylabel(panel.ylabel)
    axes.margins(x=0.02)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def _draw_heat_map(axes: "Axes", panel: HeatMap, markers: Mapping[float, str]) -> None:
    """A coloured cell for each number, which stands in it."""
    import numpy as np

    values = np.array([[np.nan if value is None else value for value in row] for row in panel.values])
    # Not an image: a page holds it as text.
    axes.pcolormesh(np.ma.masked_invalid(values), cmap=HEAT_COLOURS, vmin=0, vmax=100, clip_on=False)
    axes.invert_yaxis()
    for (row, column), value in np.ndenumerate(values):
        colour = "w" if value < HEAT_DARK else "k"
        axes.text(column + 0.5, row + 0.5, panel.texts[row][column], ha="center", va="center", color=colour)
    axes.set_xticks(np.arange(len(panel.columns)) + 0.5, panel.columns)
    axes.set_yticks(np.arange(len(panel.rows)) + 0.5, panel.rows)
    axes.grid(False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _draw_scatter(axes: "Axes", panel: Scatter, markers: Mapping[float, str]) -> None:
    """A marker for each method, and the axes."""
    from matplotlib.ticker import LogLocator, MaxNLocator

    for point in panel.points:
        colour = colour_of(point.shade)
        axes.plot(point.x, point.y, markers[point.shade], color=colour, label=point.label, markersize=6)
    axes.set_xlabel(panel.xlabel)
    axes.set_ylabel(panel.ylabel)
    axes.margins(0.12)
    if panel.is_log:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("")
    else:
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))


def _draw_ranks(axes: "Axes", panel: RankAxis, markers: Mapping[float, str]) -> None:
    """An axis with a line from each mean rank down to its method's name, and bars over groups."""
    count = len(panel.ranks)
    left = -(-count // 2)
    first_name = 0.6 + 0.5 * len(panel.groups)
    axes.plot([1, count], [0, 0], color="k", linewidth=1)
    for tick in range(1, count + 1):
        axes.plot([tick, tick], [0, -0.25], color="k", linewidth=1)
        axes.text(tick, -0.35, str(tick), ha="center", va="bottom")
    margin = 0.04 * (count - 1)
    for place, (method, rank) in enumerate(panel.ranks.items()):
        is_left = place < left
        depth = first_name + (place if is_left else count - 1 - place)
        end = 1 - margin if is_left else count + margin
        axes.plot([rank, rank, end], [0, depth, depth], color="0.35", linewidth=0.9)
        text = f"{method} {rank:.2f}" if is_left else f"{rank:.2f} {method}"
        x = end - margin / 3 if is_left else end + margin / 3
        axes.text(x, depth, text, va="center", ha="right" if is_left else "left")
    for level, group in enumerate(panel.groups):
        places = [panel.ranks[method] for method in group]
        height = 0.45 + 0.5 * level
        reach = 0.012 * (count - 1)
        axes.plot([min(places) - reach, max(places) + reach], [height, height], color="k", linewidth=3.5)
    # Room for the names beside the axis.
    names = max(map(len, panel.ranks)) / LABEL_DENSITY + 0.4
    per_inch = (count - 1) / (RANK_WIDTH - 2 * names)
    axes.set_xlim(1 - names * per_inch, count + names * per_inch)
    axes.set_ylim(first_name + left - 0.4, -1.2)
    axes.set_axis_off()


DRAW: Mapping[type, Callable[..., None]] = {
    Panel: _draw_curves,
    HeatMap: _draw_heat_map,
    Scatter: _draw_scatter,
    RankAxis: _draw_ranks,
}


def _share_axes(drawing: "Drawing") -> None:
    """Give all panels of one quantity the same limits, so that they compare by eye."""
    quantities = {(axes.get_xlabel(), axes.get_ylabel()) for axes in drawing.axes} - {("", "")}
    for quantity in quantities:
        panels = [axes for axes in drawing.axes if (axes.get_xlabel(), axes.get_ylabel()) == quantity]
        for name in ("xlim", "ylim"):
            low, high = zip(*(getattr(axes, f"get_{name}")() for axes in panels), strict=True)
            for axes in panels:
                getattr(axes, f"set_{name}")(min(low), max(high))


def _draw_legend(drawing: "Drawing", columns: int) -> None:
    """One legend above all panels, with an entry for each label."""
    handles: dict[str, Any] = {}
    for axes in drawing.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    drawing.legend([*handles.values()], [*handles], loc="outside upper center", ncols=columns)


def colour_of(shade: float) -> tuple[float, float, float]:
    """Red, green and blue, from 0 to 1, of a line's shade."""
    import matplotlib

    red, green, blue, _ = matplotlib.colormaps[COLOURS](LIGHTEST * shade)
    return float(red), float(green), float(blue)


def _fill(text: str, width: int) -> str:
    """Text in lines of so many characters; "n = 3" stays together."""
    kept = text.replace(" = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")
    return textwrap.fill(kept, width, break_on_hyphens=False)
