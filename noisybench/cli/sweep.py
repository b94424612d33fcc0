"""`noisybench sweep`: all runs of an experiment."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from noisybench.cli.arguments import (
    DATABASE,
    Capture,
    Compile,
    Database,
    Deterministic,
    Device,
    Force,
    Quiet,
    Where,
)
from noisybench.cli.console import complain, say, tell, warn
from noisybench.config import declared_fields
from noisybench.errors import InvalidValue, RunFailed, join_limited
from noisybench.sweeps.grid import MAX_RUNS, check_count, load, packaged
from noisybench.sweeps.watchdog import FIRST_EPOCH, MINIMUM, SLOWEST_EPOCHS

if TYPE_CHECKING:
    from noisybench.config import Config
    from noisybench.store import Row, Store
    from noisybench.sweeps.observer import RunObserver
    from noisybench.sweeps.run import Job


def shard_database(shard: object) -> Path:
    """The default store of a shard: shards on one file system must not share a file."""
    return DATABASE.with_suffix(f".{str(shard).replace('/', '-of-')}{DATABASE.suffix}")


def own_database(context: typer.Context, db: Path, shard: object) -> Path:
    """The store of a shard: that of --db or NOISYBENCH_DB if given, else its own."""
    source = context.get_parameter_source("db")
    return shard_database(shard) if source is not None and source.name == "DEFAULT" else db


def sweep(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            metavar="EXPERIMENT",
            autocompletion=lambda incomplete: [known for known in packaged() if known.startswith(incomplete)],
            help=f"Experiment: {', '.join(packaged())}, or a YAML file.",
        ),
    ],
    where: Where = None,
    seeds: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Use seeds 0 to N-1 instead of those of the experiment."),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="K/N",
            help="Train only the K-th of N equal parts of the runs, in a store of its own"
            f" ({shard_database('K/N')}, unless --db or NOISYBENCH_DB is given). `noisybench runs merge`"
            " merges the stores.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Only print the runs, which of them the store has, and the estimated time of the others.",
        ),
    ] = False,
    jobs_at_once: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            min=1,
            help="Number of runs at a time, each in its own process. [default: on a CPU, one per core,"
            " limited by the memory; on a GPU, one, and up to three while memory and time are left]",
        ),
    ] = None,
    retries: Annotated[
        int | None, typer.Option(min=0, help="How often to retry a failed run. [default: 0]")
    ] = None,
    executor: Annotated[
        Literal["local", "ray"],
        typer.Option(help="Where to train: on this machine, or on a Ray cluster (needs noisybench[ray])."),
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="With --executor ray: head node of the cluster; auto: the cluster of this machine. [default:"
            " RAY_ADDRESS, else a new cluster on this machine]",
        ),
    ] = None,
    cpus_per_run: Annotated[
        int | None, typer.Option(min=1, help="With --executor ray: CPUs and threads per run. [default: 1]")
    ] = None,
    gpus_per_run: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="With --executor ray: GPUs per run, such as 0.25. [default: 1 if the cluster has GPUs]",
        ),
    ] = None,
    stalled: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            metavar="MINUTES",
            help="On this machine: kill a run that completes no epoch in this time."
            f" [default: {SLOWEST_EPOCHS} times its slowest epoch, at least {MINIMUM / 60:g};"
            f" {FIRST_EPOCH / 60:g} for its first epoch]",
        ),
    ] = None,
    max_runs: Annotated[int, typer.Option(min=1, help="Refuse an experiment with more runs.")] = MAX_RUNS,
    db: Database = DATABASE,
    device: Device = "auto",
    precision: Annotated[
        str | None,
        typer.Option(help="Precision of all runs instead of the experiment's: fp32, bf16 or auto."),
    ] = None,
    capture: Capture = "auto",
    compiled: Compile = "auto",
    deterministic: Deterministic = False,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Train the runs of an experiment, and print its table.

    Runs that are completed in the store are not trained again. A run whose method needs a first stage, as
    forward-that needs a cce run, is trained after that stage.
    """
    on_ray = executor == "ray"
    ours = (("--jobs", jobs_at_once), ("--stalled", stalled))
    rays = (("--address", address), ("--cpus-per-run", cpus_per_run), ("--gpus-per-run", gpus_per_run))
    for option, value in ours if on_ray else rays:
        if value is not None:
            raise InvalidValue(f"{option} cannot be combined with --executor {executor}. Omit it.")
    if gpus_per_run is not None and gpus_per_run > 1 and gpus_per_run % 1:
        raise InvalidValue(f"gpus-per-run is {gpus_per_run:g}, but must be a whole number, or below 1.")
    if on_ray and ":" in device:
        raise InvalidValue(
            f"device is '{device}', but Ray chooses a GPU for each run: omit --device, or give cuda or cpu."
        )
    from noisybench.cli.progress import progress
    from noisybench.cli.report import print_document
    from noisybench.inputs import as_prepared
    from noisybench.reporting.selection import select
    from noisybench.reporting.tables import TABLES
    from noisybench.store import Store
    from noisybench.store.host import network_warning
    from noisybench.sweeps.parallel import Parallel, start_importing
    from noisybench.sweeps.resources import default_jobs
    from noisybench.sweeps.shards import Shard
    from noisybench.sweeps.sweep import matching, plan, planned, with_seeds
    from noisybench.training.device import check_device, choose_device, several
    from noisybench.training.gpu_options import GpuOptions
    from noisybench.training.memory import check_networks

    check_device(device)
    gpu = GpuOptions(capture, compiled, deterministic)
    experiment = load(name, max_runs)
    if precision is not None:
        value = declared_fields()["precision"].read("precision", precision)
        with_precision = dict.fromkeys(replace(config, precision=value) for config in experiment.configs)
        experiment = replace(experiment, configs=tuple(with_precision))
    part = None if shard is None else Shard.read(shard)
    if seeds is not None:
        check_count(len({replace(config, seed=0) for config in experiment.configs}) * seeds, max_runs)
    all_configs = experiment.configs if seeds is None else with_seeds(experiment.configs, seeds)
    chosen = matching(all_configs, where or [])
    if part is not None:
        # Before data sets are looked up here, so that all machines divide the same runs.
        whole, chosen = len(chosen), part.of(chosen)
        db = own_database(context, db, part)
        if not quiet:
            tell(f"Shard {part} has {len(chosen)} of {whole} runs, in {db}.")
    configs, problems = planned(chosen) if dry_run else ([as_prepared(config) for config in chosen], [])
    # A dry run makes no file, nor does a sweep that is refused.
    there = db.exists()
    store = Store.read(db) if dry_run and there else Store.open(db if there else Path(":memory:"))
    jobs = plan(configs, store, force, experiment.files)
    # Each node of Ray chooses its own device.
    at_once, devices = 0, [device]
    if not on_ray and (jobs or dry_run):
        devices = several(device)
        gpu.check(devices[0].partition(":")[0])
        at_once = jobs_at_once or default_jobs(len(all_configs), devices)
    if dry_run:
        show_plan(configs, jobs, store, device, at_once)
        for problem in problems:
            warn(problem)
        return
    if at_once:
        start_importing()
        check_networks((job.config for job in jobs), choose_device(devices[0]))
    if warning := network_warning(db):
        warn(warning)
    if not quiet:
        n_done = len(configs) - len({c.identity for c in configs} & {job.config.identity for job in jobs})
        already = f", {n_done} in the store already" if n_done else ""
        runs = "1 run" if len(configs) == 1 else f"{len(configs)} runs"
        tell(f"{experiment.name}: {experiment.about} ({runs}{already})")
    jobs = [replace(job, gpu=gpu) for job in jobs]
    failed: list[Row] = []
    skipped = 0
    if jobs and on_ray:
        gpus, cpus = gpus_per_run, cpus_per_run or 1
        with progress(len(jobs), quiet) as observer:
            failed, skipped = sweep_on_ray(jobs, db, device, address, cpus, gpus, retries or 0, observer)
    store = Store.open(db)
    if jobs and not on_ray:
        timeout = None if stalled is None else 60 * stalled
        with progress(len(jobs), quiet) as observer:
            measures = jobs_at_once is None
            parallel = Parallel(store, devices, at_once, observer, retries or 0, timeout, measures)
            failed, skipped = parallel.sweep(jobs)
    results = store.results()
    if experiment.table:
        wanted = {config.identity for config in configs}
        made, _ = select(results[results["identity"].isin(wanted)], [])
        print_document(TABLES.bind(experiment.table)(made))
    if experiment.figure:
        figure = experiment.figure
        say(
            f"To draw these runs: `noisybench report --figure {figure} --out {figure}.pdf`. Add --where if"
            " the store has runs in other settings too."
        )
    if skipped:
        warn(
            f"{skipped} runs were skipped: another process is training them or a prerequisite."
            " Run the sweep again later."
        )
    complain_of(failed)
    if failed:
        raise RunFailed(f"{len(failed)} of {len(jobs)} runs failed.")


def complain_of(failed: Iterable["Row"]) -> None:
    """Say of each run why it failed."""
    for row in failed:
        complain(f"Run {row['id']} ({row['loss']}, seed {row['seed']}) failed: {row['reason']}")


def sweep_on_ray(
    jobs: Sequence["Job"],
    db: Path,
    device: str,
    address: str | None,
    cpus: int,
    gpus: float | None,
    retries: int,
    observer: "RunObserver",
) -> tuple[list["Row"], int]:
    """Train the jobs on a Ray cluster; return the rows of the failed runs and the number of skipped ones.

    The store is opened once the cluster answers.  address: see `connected`.
    """
    from noisybench.store import Store
    from noisybench.sweeps.ray.cluster import Cluster
    from noisybench.sweeps.ray.connection import Nodes, connected

    with connected(address) as started_here:
        nodes = Nodes(device, cpus, gpus)
        if missing := nodes.missing():
            if started_here:
                raise InvalidValue(missing)
            warn(f"{missing} The runs wait for a larger node.")
        cluster = Cluster(Store.open(db), nodes, observer, retries)
        outcome = cluster.sweep(jobs)
    for found in cluster.contradictions:
        warn(str(found))
    return outcome


def show_plan(configs: list["Config"], jobs: list["Job"], store: "Store", device: str, at_once: int) -> None:
    """Print a line for each run, the number of runs to train, and their estimated time.

    at_once: how many runs are trained at a time; 0 where that is not known, without an estimate.
    """
    from noisybench.cli.progress import describe
    from noisybench.sweeps.estimate import Forecast, in_words
    from noisybench.sweeps.resources import threads_per_job
    from noisybench.training.device import choose_device, device_label

    chosen = choose_device(device if at_once else "cpu")
    threads = threads_per_job(max(1, at_once))
    where = device_label(chosen, threads)
    forecast = Forecast(store, where)
    todo = {job.config.identity for job in jobs}
    wanted = {config.identity for config in configs}
    stages = [job.config for job in jobs if job.config.identity not in wanted]
    times = {job.config.identity: forecast.of(job.config) for job in jobs if at_once}
    for config in [*stages, *configs]:
        seconds = times.get(config.identity)
        state = "to be trained" if config.identity in todo else "in the store"
        time = "" if seconds is None else f", {in_words(seconds)}"
        stage = ", as a first stage" if config.identity not in wanted else ""
        say(f"{describe(config)}: {state}{stage}{time}")
    known = [seconds for seconds in times.values() if seconds is not None]
    besides = f", {len(stages)} more as first stages" if stages else ""
    say(
        f"\n{len(configs)} runs: {len(wanted - todo)} in the store, {len(wanted & todo)} to be trained"
        f"{besides}."
    )
    if known:
        say(
            f"Estimated from epochs measured here on {where}:"
            f" {in_words(max(max(known), sum(known) / at_once))} for {len(known)} of {len(times)} runs,"
            f" {min(at_once, len(times))} at a time."
        )
    if len(known) < len(times):
        kinds = sorted(
            {f"{j.config.dataset} with {j.config.model}" for j in jobs if times[j.config.identity] is None}
        )
        on_threads = f"OMP_NUM_THREADS={threads} " if chosen.type == "cpu" else ""
        say(
            f"For {len(times) - len(known)} runs, no epoch has been measured here on {where}:"
            f" {join_limited(kinds)}. A single `{on_threads}noisybench train --epochs 1` of each kind gives"
            " an estimate."
        )
