"""Losses compared for `noisybench diagnose`: trained, and told."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noisybench.cli.console import complain

if TYPE_CHECKING:
    from noisybench.config import Config
    from noisybench.inputs import Inputs
    from noisybench.reporting.tables import Table
    from noisybench.sweeps.comparison import Suggestion


def compared(
    losses: Collection[str],
    given: Mapping[str, Any],
    inputs: "Inputs",
    path: Path,
    jobs: int,
    devices: Sequence[str],
    quiet: bool,
) -> "Suggestion | None":
    """Train the losses, each in a run of the store at `path`, and suggest one; None if no run completed.

    given: options of each run but for its loss, with its seed as a number.  jobs: runs at once.  What the
    store has is not trained again.
    """
    from noisybench.cli.progress import progress
    from noisybench.store import Store
    from noisybench.sweeps.comparison import suggestion
    from noisybench.sweeps.search import Search
    from noisybench.sweeps.space import Space

    seed = given["seed"]
    space = Space.read(
        {name: value for name, value in given.items() if name not in ("seed", "loss")},
        [f"loss={','.join(losses)}"],
        inputs,
    )
    with progress(len(losses), quiet) as observer:
        search = Search(
            space,
            len(losses),
            range(seed, seed + 1),
            store=Store.open(path),
            devices=devices,
            n_jobs=jobs,
            measures=True,
            observer=observer,
        )
        search.search()
    for row in search.failed:
        complain(f"The run of {row['loss']} failed: {row['reason']}")
    return suggestion(search)


def in_sentences(suggestion: "Suggestion | None", config: "Config") -> str:
    """What is suggested, and how sure that is.  config: of the diagnosis."""
    if suggestion is None:
        return "No losses were compared."
    told = (
        f"Suggested loss: {suggestion.loss}, of highest accuracy on {suggestion.n_validation:,} noisy"
        f" validation labels ({config.model}, {config.epochs} epochs on the labels that are kept), with a"
        f" standard error of {100 * suggestion.standard_error:.1f} points."
    )
    if not suggestion.alike:
        return f"{told} All others are worse by more than chance."
    return f"{told} Not told apart from it: {', '.join(suggestion.alike)}."


def table_of(suggestion: "Suggestion") -> "Table":
    """The losses that were compared, the best first."""
    import pandas as pd

    from noisybench.reporting.tables import list_table

    rows = [
        [of.loss, "–" if of.val_accuracy is None else f"{100 * of.val_accuracy:.2f}", of.state]
        for of in suggestion.losses
    ]
    stopped = any(of.state == "stopped" for of in suggestion.losses)
    return list_table(
        name="compared",
        caption="Losses compared: noisy-validation accuracy in percent.",
        stub=["loss"],
        headings=["noisy val.", "run"],
        sections=[(f"{suggestion.n_validation:,} validation images", rows)],
        notes=["A run that is stopped was below the median of the others."] * stopped,
        cells=pd.DataFrame(rows, columns=["loss", "noisy val.", "run"]),
    )
