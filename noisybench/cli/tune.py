"""`noisybench tune`: search for the setting of highest noisy-validation accuracy."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from noisybench.cli.arguments import DATABASE, AsJson, Database, Device, Overwrite, Quiet
from noisybench.cli.console import check_file, print_json, say, tell, warn, write
from noisybench.cli.options import as_typed, config_options, train_command
from noisybench.cli.sweep import complain_of, own_database
from noisybench.cli.train import Keep, LabelOrder, Labels, Weights, read_files
from noisybench.config import declared_fields
from noisybench.errors import RunFailed
from noisybench.reporting.plotting import check_suffix

if TYPE_CHECKING:
    from noisybench.reporting.tables import Table
    from noisybench.sweeps.search import Search, Trial

STATES = ("completed", "stopped", "failed", "running", "open")


@config_options()
def tune(
    context: typer.Context,
    over: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUES",
            help="Option to search, one of those above that say how to train: a range (q=0.3..1.0), a range"
            " in the logarithm (lr=0.001..0.1:log) or a list (loss=cce,lq,elr). Repeatable.",
        ),
    ] = None,
    labels: Labels = None,
    label_order: LabelOrder = None,
    keep: Keep = None,
    pretrained: Weights = None,
    trials: Annotated[
        int, typer.Option(min=1, help="Number of settings, including those already in the store.")
    ] = 30,
    seeds: Annotated[
        int,
        typer.Option(
            min=1, help="Runs per setting, at this many seeds from --seed on; their mean accuracy counts."
        ),
    ] = 1,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="K/N",
            help="Only the K-th of N parts of the trials, in a store of its own and without the results of"
            " the others. After `noisybench runs merge`, the same command without --shard shows all trials.",
        ),
    ] = None,
    jobs_at_once: Annotated[
        int | None, typer.Option("--jobs", min=1, help="Number of runs at a time. [default: as in `sweep`]")
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(help="Draw importances and trials to this file (.pdf, .png, .svg).")
    ] = None,
    db: Database = DATABASE,
    device: Device = "auto",
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    **values: Any,
) -> None:
    """Search for the setting of highest noisy-validation accuracy.

    Each trial is an ordinary run in the store. The same command continues a search that was stopped; more
    --trials extend it. A run whose curve is below the median of the others is stopped; `train` continues it.
    """
    from noisybench.cli.progress import progress
    from noisybench.cli.report import print_document
    from noisybench.reporting.plotting import draw_search
    from noisybench.store import Store
    from noisybench.store.host import network_warning
    from noisybench.sweeps.parallel import start_importing
    from noisybench.sweeps.resources import default_jobs
    from noisybench.sweeps.search import WHOLE, Search
    from noisybench.sweeps.shards import Shard
    from noisybench.sweeps.space import Space
    from noisybench.training.device import choose_device, several
    from noisybench.training.memory import check_networks

    suffix = None if figure is None else check_suffix(figure)
    if figure is not None:
        check_file(figure)
    first = 0 if values["seed"] is None else declared_fields()["seed"].read("seed", values["seed"])
    files = read_files(labels, label_order, keep, values["dataset"], pretrained)
    space = Space.read({name: value for name, value in values.items() if name != "seed"}, over or [], files)
    part = WHOLE if shard is None else Shard.read(shard)
    if shard is not None:
        db = own_database(context, db, part)
        trials = len(range(part.number - 1, trials, part.count))
        if not quiet:
            tell(f"Shard {part} has {trials} trials, in {db}.")
    space.run(space.first, first)  # a setting that cannot be trained is refused before a store is made
    devices = several(device)
    start_importing()
    check_networks([space.config(space.first, first)], choose_device(devices[0]))
    if warning := network_warning(db):
        warn(warning)
    store = Store.open(db)
    with progress(trials * seeds, quiet) as observer:
        search = Search(
            space,
            trials,
            range(first, first + seeds),
            part,
            store=store,
            devices=devices,
            n_jobs=jobs_at_once or default_jobs(trials * seeds, devices),
            measures=jobs_at_once is None,
            observer=observer,
        )
        found = sorted(search.search(), key=_rank)
    complain_of(search.failed)
    completed = [trial for trial in found if trial.state == "completed"]
    if not completed:
        raise RunFailed(f"None of {len(found)} trials has completed.")
    importances = search.importances()
    if figure is not None and suffix is not None:
        drawn = draw_search(
            importances,
            {axis.name: [trial.setting[axis.name] for trial in completed] for axis in space.axes},
            [100 * trial.accuracy for trial in completed],
            [axis.name for axis in space.axes if axis.log],
            suffix,
        )
        write(figure, drawn, overwrite)
    paths = {"labels": labels, "label_order": label_order, "keep": keep, "pretrained": pretrained}
    command = train_command({**space.given, **completed[0].setting, **paths, "seed": first or None})
    if as_json:
        print_json({"trials": list(map(_record, found)), "importances": importances, "command": command})
        return
    print_document(table_of(search, found, importances))
    say(f"\nThe best of these settings:\n  {command}")


def _rank(trial: "Trial") -> tuple[int, float]:
    """Completed trials first, the best of them first."""
    return STATES.index(trial.state), -trial.accuracy if trial.state == "completed" else 0


def _record(trial: "Trial") -> dict[str, Any]:
    """The record of a trial for --json; accuracies are fractions from 0 to 1."""
    return {
        "setting": trial.setting,
        "state": trial.state,
        "val_accuracy": trial.accuracy if trial.state == "completed" else None,
        "runs": [row["id"] for row in trial.rows.values()],
    }


def table_of(search: "Search", trials: list["Trial"], importances: dict[str, float]) -> "Table":
    """The table of the trials, with notes on its standard error."""
    import pandas as pd

    from noisybench.reporting.tables import list_table

    names = [axis.name for axis in search.space.axes]
    counts = [f"{n} {state}" for state in STATES if (n := sum(trial.state == state for trial in trials))]
    n_seeds = len(search.seeds)
    rows = [
        [
            *(as_typed(trial.setting[name]) for name in names),
            f"{100 * trial.accuracy:.2f}" if trial.state == "completed" else "–",
            trial.state,
        ]
        for trial in trials
    ]
    run = next(iter(trials[0].rows.values()))
    best = trials[0]
    images = f"{best.n_validation:,} validation images{f' at each of {n_seeds} seeds' * (n_seeds > 1)}"
    notes = [
        f"The accuracy of a trial, on {images}, has a standard error of"
        f" {100 * best.standard_error:.1f} points: it cannot tell closer settings"
        " apart, and the accuracy of the best is too high on average. More --seeds reduce the error.",
    ]
    if importances:
        shares = ", ".join(f"{name} {share:.0%}" for name, share in importances.items())
        notes.append(f"Importance, the share of each option in the variance of completed trials: {shares}.")
    return list_table(
        name="tune",
        caption=f"Noisy-validation accuracy in percent{f', mean over {n_seeds} seeds' * (n_seeds > 1)};"
        f" trials: {', '.join(counts)}.",
        stub=names,
        headings=["noisy val.", "trial"],
        sections=[(f"{run['dataset']}; {run['noise']} noise {run['rate']:g}", rows)],
        notes=notes,
        cells=pd.DataFrame(map(_record, trials)),
    )
