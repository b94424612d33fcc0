"""`noisybench sweep`: all runs of an experiment."""

from typing import TYPE_CHECKING, Annotated

import typer

from noisybench.cli.arguments import DATABASE, Database, Device, Force, Quiet, Where
from noisybench.cli.console import complain, tell
from noisybench.errors import RunFailed
from noisybench.sweeps.grid import load, packaged

if TYPE_CHECKING:
    from noisybench.config import Config
    from noisybench.store import Row, Store


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

    from noisybench.cli.report import print_table
    from noisybench.store import Store
    from noisybench.sweeps.sweep import matching, prepared

    store = Store.open(db)
    configs = prepared(matching(experiment.configs, where or []))
    missing = [config for config in configs if force or store.completed(config.identity) is None]
    if not quiet:
        there = f", {len(configs) - len(missing)} in the store already" if len(missing) < len(configs) else ""
        title = f"{experiment.name}: {experiment.about} ({len(configs)} runs{there})"
        tell(title)
    failed = _carry_out(missing, store, device, force, quiet) if missing else []
    results = store.results()
    print_table(results[results["identity"].isin({config.identity for config in configs})], experiment.table)
    for row in failed:
        complain(f"Run {row['id']} ({row['loss']}, seed {row['seed']}) failed: {row['reason']}")
    if failed:
        raise RunFailed(f"{len(failed)} of {len(configs)} runs failed.")


def _carry_out(configs: list["Config"], store: "Store", device: str, force: bool, quiet: bool) -> list["Row"]:
    """Train with a progress display; the rows of the runs that failed."""
    from noisybench.cli.progress import progress
    from noisybench.sweeps.sweep import sweep as carry_out
    from noisybench.training.device import choose_device

    chosen = choose_device(device)
    with progress(len(configs), quiet) as display:
        return carry_out(configs, store, chosen, display, force)
