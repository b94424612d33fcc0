"""`noisybench sweep`: all runs of an experiment."""

from typing import TYPE_CHECKING, Annotated

import typer

from noisybench.cli.arguments import DATABASE, Database, Device, Force, Quiet, Where
from noisybench.cli.console import complain, tell
from noisybench.errors import RunFailed
from noisybench.sweeps.grid import load, packaged

if TYPE_CHECKING:
    from noisybench.store import Row, Store
    from noisybench.sweeps.sweep import Job


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
    from noisybench.sweeps.sweep import matching, plan, prepared

    store = Store.open(db)
    configs = prepared(matching(experiment.configs, where or []))
    jobs = plan(configs, store, force)
    if not quiet:
        there = len(configs) - len({c.identity for c in configs} & {job.config.identity for job in jobs})
        already = f", {there} in the store already" if there else ""
        tell(f"{experiment.name}: {experiment.about} ({len(configs)} runs{already})")
    failed = _carry_out(jobs, store, device, quiet) if jobs else []
    results = store.results()
    print_table(results[results["identity"].isin({config.identity for config in configs})], experiment.table)
    for row in failed:
        complain(f"Run {row['id']} ({row['loss']}, seed {row['seed']}) failed: {row['reason']}")
    if failed:
        raise RunFailed(f"{len(failed)} of {len(configs)} runs failed.")


def _carry_out(jobs: list["Job"], store: "Store", device: str, quiet: bool) -> list["Row"]:
    """Train with a progress display; the rows of the runs that failed."""
    from noisybench.cli.progress import progress
    from noisybench.sweeps.sweep import sweep as carry_out
    from noisybench.training.device import choose_device

    chosen = choose_device(device)
    with progress(len(jobs), quiet) as display:
        return carry_out(jobs, store, chosen, display)
