"""`noisybench sweep`: all runs of an experiment."""

from typing import Annotated

import typer

from noisybench.cli.arguments import DATABASE, Database, Device, Force, Quiet, Where
from noisybench.cli.console import complain, err
from noisybench.errors import RunFailed
from noisybench.sweeps.grid import load, packaged


def sweep(
    name: Annotated[
        str,
        typer.Argument(
            metavar="EXPERIMENT",
            help=f"Name of an experiment ({', '.join(packaged())}) or a YAML file with one.",
            show_default=False,
        ),
    ],
    where: Where = None,
    db: Database = DATABASE,
    device: Device = "auto",
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Carry out the runs of an experiment that the store does not have, and print its table."""
    experiment = load(name)

    from noisybench.cli.progress import progress
    from noisybench.cli.report import print_table
    from noisybench.store import Store
    from noisybench.sweeps.sweep import matching, prepared
    from noisybench.sweeps.sweep import sweep as carry_out
    from noisybench.training.device import choose_device

    store = Store.open(db)
    chosen = choose_device(device)
    configs = prepared(matching(experiment.configs, where or []))
    if not quiet:
        err.print(
            f"{experiment.name}: {experiment.about} ({len(configs)} runs)", markup=False, soft_wrap=True
        )
    with progress(len(configs), quiet) as display:
        failed = carry_out(configs, store, chosen, display, force)
    identities = {config.identity for config in configs}
    results = store.results()
    print_table(results[results["identity"].isin(identities)], experiment.table)
    for row in failed:
        complain(f"Run {row['id']} ({row['loss']}, seed {row['seed']}) failed: {row['reason']}")
    if failed:
        raise RunFailed(f"{len(failed)} of {len(configs)} runs failed.")
