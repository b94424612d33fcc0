"""`noisybench train`: one run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from noisybench.cli.arguments import DATABASE, AsJson, Database, Device, Force, Precision, Quiet
from noisybench.cli.console import print_json, say, tell, warn
from noisybench.cli.options import config_options
from noisybench.errors import InvalidValue, RunFailed

if TYPE_CHECKING:
    from noisybench.store import Row

SUMMARY = (
    *("status", "best_epoch", "val_accuracy", "test_accuracy", "last_test_accuracy"),
    *("epochs", "n_train", "n_kept", "seconds"),
)


@config_options()
def train(
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="FILE[:KEY]",
            help="Train on the labels in this file: .npz of `corrupt`, .pt, .npy, .json, or a table.",
        ),
    ] = None,
    label_order: Annotated[
        Path | None,
        typer.Option(help="A .npy file: the row of each of the --labels in the source."),
    ] = None,
    keep: Annotated[
        Path | None, typer.Option(help="Train on the samples that this mask of `prune` keeps.")
    ] = None,
    db: Database = DATABASE,
    device: Device = "auto",
    precision: Precision = "auto",
    force: Force = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    **values: Any,
) -> None:
    """Train one network on noisy labels and store what it measured.

    Without further options this is the protocol of the data set. A run that the store has is shown,
    not trained again. A hyper-parameter can stand in the name, as in --loss "lq(q=0.5)".
    """
    from noisybench.inputs import Inputs, labels_of, transition_of, with_inputs
    from noisybench.labels.drawing import intolerable
    from noisybench.labels.masks import Mask
    from noisybench.store import Store
    from noisybench.store.filesystem import network_warning
    from noisybench.sweeps.run import run
    from noisybench.sweeps.sweep import forced, plan

    if label_order is not None and labels is None:
        raise InvalidValue("--label-order says where --labels belong. Give --labels too, or omit it.")
    given, placed = (None, "") if labels is None else labels_of(labels, label_order, values["dataset"])
    if placed:
        tell(placed)
    config, inputs = with_inputs(values, Inputs(given, None if keep is None else Mask.read(keep)))

    from noisybench.cli.progress import progress
    from noisybench.training.device import choose_device

    # A matrix that a manifest has is that of its noise and rate, which the config has too.
    warning = intolerable(transition_of(config))
    for sentence in filter(None, (warning, network_warning(db))):
        warn(sentence)
    store = Store.open(db)
    jobs = plan([config], store, force)
    chosen = choose_device(device)
    for job in jobs:
        try:
            with progress(quiet=quiet) as display:
                run(
                    job.config,
                    store,
                    chosen,
                    display,
                    inputs,
                    forced(job, store),
                    precision,
                    job.for_estimate,
                )
        except RunFailed:
            if as_json:
                print_json(summary(store.attempts(job.config.identity)[0]))
            raise
    row = store.completed(config.identity)
    assert row is not None
    if as_json:
        print_json(summary(row))
        return
    if not jobs:
        tell(f"Run {row['id']} is in {db} already; --force trains it again.")
    show(row)


def summary(row: "Row") -> dict[str, Any]:
    """A run for machines: its id, how it ended, and what it measured (accuracies from 0 to 1)."""
    return {"run": row["id"], **{name: row[name] for name in SUMMARY}}


def show(row: "Row") -> None:
    """A run for people."""
    say(
        f"Run {row['id']} {row['status']}: {row['loss']} on {row['dataset']},"
        f" {row['noise']} noise {row['rate']:g}, seed {row['seed']}.\n"
        f"  test accuracy {row['test_accuracy']:.2%} at epoch {row['best_epoch']}, the best noisy-validation"
        f" epoch ({row['val_accuracy']:.2%} there)\n"
        f"  test accuracy {row['last_test_accuracy']:.2%} at the last epoch, {row['epochs']}\n"
        f"  {row['n_kept']:,} of {row['n_train']:,} training images kept, {row['seconds']:.1f} s",
    )
