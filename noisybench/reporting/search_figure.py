"""The figure of a search: how much each setting matters, and the trials along each."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from noisybench.reporting.plotting import FILE_TYPES, PANEL, colour_of, style

COLUMNS = 3


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
    from matplotlib.figure import Figure

    panels = len(values) + bool(importances)
    columns = min(COLUMNS, panels)
    rows = -(-panels // columns)
    file = io.BytesIO()
    with style():
        drawing = Figure(figsize=(PANEL[0] * columns, PANEL[1] * rows))
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
