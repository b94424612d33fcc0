"""A figure as PDF, PNG or SVG, drawn by matplotlib without a display.

Nothing of matplotlib's state is changed, nor does the user's own style reach a figure.  The same data
gives the same bytes.
"""

import io
import textwrap
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noisybench.errors import InvalidValue
from noisybench.reporting.figures import Figure, Panel

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
MARKERS = "osD^vPX*<>"
MARKS = 8
WRONG = (0, (3, 1.4))


def check_suffix(path: Path) -> str:
    """The suffix of a file that a figure is written to.  Raises InvalidValue for an unknown one."""
    suffix = path.suffix.lower()
    if suffix not in FILE_TYPES:
        raise InvalidValue(f"{path} is no name for a figure: it must end in {', '.join(FILE_TYPES)}.")
    return suffix


def draw(figure: Figure, suffix: str) -> bytes:
    """The content of a file with this suffix."""
    options = dict(FILE_TYPES[suffix])
    options["metadata"] = {"Title": figure.title, **options.get("metadata", {})}
    file = io.BytesIO()
    with style():
        compose(figure).savefig(file, **options)
    return file.getvalue()


def style() -> AbstractContextManager[None]:
    """STYLE and matplotlib's defaults, and nothing of the user's, for as long as it lasts."""
    import matplotlib.style

    return matplotlib.style.context(STYLE, after_reset=True)


def compose(figure: Figure) -> "Drawing":
    """The figure as matplotlib's, within `style`."""
    from matplotlib.figure import Figure as Drawing

    rows, columns = len(figure.rows), max(len(row) for row in figure.rows)
    notes = _wrapped(figure, columns)
    legends = LEGEND_LINE * (2 if figure.shared_legend else 3 * rows)
    height = PANEL[1] * rows + legends + NOTE_LINE * (notes.count("\n") + 2)
    drawing = Drawing(figsize=(PANEL[0] * columns, height))
    grid = drawing.add_gridspec(rows, columns)
    places = [grid[r, c] for r, row in enumerate(figure.rows) for c in range(len(row))]
    shades = sorted({line.shade for _, panel in figure.panels for line in panel.lines})
    for (letter, panel), place in zip(figure.panels, places, strict=True):
        axes = drawing.add_subplot(place)
        _draw_panel(axes, letter, panel, shades)
        if not figure.shared_legend:
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, borderaxespad=0)
    _share_axes(drawing)
    if figure.shared_legend:
        _draw_legend(drawing, 2 * columns)
    drawing.supxlabel(notes, x=0.01, ha="left", fontsize=NOTE_SIZE)
    return drawing


def _draw_panel(axes: "Axes", letter: str, panel: Panel, shades: list[float]) -> None:
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
            marker=MARKERS[shades.index(line.shade) % len(MARKERS)],
            markevery=(position * step // len(panel.lines), step),
        )
        if line.n > 1:
            low, high = points["mean"] - points["std"], points["mean"] + points["std"]
            axes.fill_between(points["epoch"], low, high, color=colour, alpha=0.2, linewidth=0)
    axes.set_title(_fill(f"{letter} {panel.title}", TITLE_WIDTH), loc="left")
    axes.set_xlabel("Epoch")
    axes.set_ylabel(panel.ylabel)
    axes.margins(x=0.02)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def _share_axes(drawing: "Drawing") -> None:
    """Give all panels of one quantity the same limits, so that they compare by eye."""
    for label in {axes.get_ylabel() for axes in drawing.axes}:
        panels = [axes for axes in drawing.axes if axes.get_ylabel() == label]
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
    labels = sorted(handles)
    drawing.legend([handles[label] for label in labels], labels, loc="outside upper center", ncols=columns)


def colour_of(shade: float) -> tuple[float, float, float]:
    """Red, green and blue, from 0 to 1, of a line's shade."""
    import matplotlib

    red, green, blue, _ = matplotlib.colormaps[COLOURS](LIGHTEST * shade)
    return float(red), float(green), float(blue)


def _wrapped(figure: Figure, columns: int) -> str:
    """The notes, a paragraph each, as wide as the panels are."""
    width = int(NOTE_DENSITY * PANEL[0] * columns)
    return "\n".join(_fill(note, width) for note in figure.notes)


def _fill(text: str, width: int) -> str:
    """Text in lines of so many characters; "n = 3" stays together."""
    kept = text.replace(" = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")
    return textwrap.fill(kept, width, break_on_hyphens=False)
