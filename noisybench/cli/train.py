"""`noisybench train`: train one run."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from noisybench.cli.arguments import (
    DATABASE,
    AsJson,
    Capture,
    Compile,
    Database,
    Deterministic,
    Device,
    Force,
    Quiet,
)
from noisybench.cli.console import print_json, say, tell, warn
from noisybench.cli.options import config_options, train_command
from noisybench.errors import InvalidValue, RunFailed
from noisybench.registry import shortened

if TYPE_CHECKING:
    from noisybench.config import Config
    from noisybench.inputs import Inputs
    from noisybench.store import Row

SUMMARY = (
    *("status", "best_epoch", "val_accuracy", "test_accuracy", "last_test_accuracy"),
    *("epochs", "n_train", "n_kept", "seconds"),
)

Labels = Annotated[
    str | None,
    typer.Option(
        metavar="FILE[:KEY]",
        help="Train on the labels in this file: .npz of `corrupt`, .pt, .npy, .json, or a table.",
    ),
]
LabelOrder = Annotated[Path | None, typer.Option(help="Source row of each of the --labels: a .npy file.")]
Keep = Annotated[Path | None, typer.Option(help="Train only on the samples that this mask of `prune` keeps.")]

Weights = Annotated[
    Path | None,
    typer.Option(
        "--pretrained",
        metavar="WEIGHTS",
        help="Start from the weights of a torchvision ResNet, a .pth file. They fit torchvision-resnet18, -34"
        " and -50; resnet18 and resnet34 take all but the stem.",
    ),
]


@config_options()
def train(
    labels: Labels = None,
    label_order: LabelOrder = None,
    keep: Keep = None,
    pretrained: Weights = None,
    db: Database = DATABASE,
    device: Device = "auto",
    capture: Capture = "auto",
    compiled: Compile = "auto",
    deterministic: Deterministic = False,
    force: Force = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Only print the full configuration, and a command that states all of it."
        ),
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    **values: Any,
) -> None:
    """Train one network on noisy labels and store what it measured.

    Options that are not given follow the protocol of the data set. A run that is completed in the store is
    shown, not trained again. A hyper-parameter can be part of the name, as in --loss "lq(q=0.5)".
    """
    from noisybench.config import Config, ineffective
    from noisybench.inputs import Inputs, pretrained_in_words, transition_of, with_inputs
    from noisybench.labels.drawing import intolerable
    from noisybench.store import Store
    from noisybench.store.host import network_warning
    from noisybench.sweeps.resources import follow_quota
    from noisybench.sweeps.run import check_memory, run, run_data
    from noisybench.sweeps.sweep import plan, planned
    from noisybench.training.device import check_device, choose_device
    from noisybench.training.gpu_options import GpuOptions

    check_device(device)
    gpu = GpuOptions(capture, compiled, deterministic)
    files = read_files(labels, label_order, keep, values["dataset"], pretrained)
    if dry_run and files == Inputs():
        # If data is not prepared here, that is only a warning.
        (config,), problems = planned([Config.from_user(**values)])
        inputs = files
    else:
        (config, inputs), problems = with_inputs(values, files), []
    if idle := ineffective(config, values):
        raise InvalidValue(idle)
    if inputs.pretrained is not None:
        tell(pretrained_in_words(config, inputs.pretrained))
    if dry_run:
        paths = {"labels": labels, "label_order": label_order, "keep": keep, "pretrained": pretrained}
        show_config(config, train_command({**stated(config, values), **paths}), as_json)
        for problem in problems:
            warn(problem)
        return

    warning = intolerable(transition_of(config))
    for sentence in filter(None, (warning, network_warning(db))):
        warn(sentence)
    # What is wrong with files and devices is said before a store is made, and as far as possible before
    # torch is imported.
    store = Store.open(db if db.exists() else Path(":memory:"))
    jobs = plan([config], store, force)
    if jobs:
        from noisybench.cli.progress import progress

        data = run_data(config, inputs)
        chosen = choose_device(device)
        gpu.check(chosen.type)
        for job in jobs:
            check_memory(job.config, data, chosen)
        follow_quota()
        store = Store.open(db)
    for job in jobs:
        try:
            with progress(quiet=quiet) as display:
                run(replace(job, inputs=inputs, gpu=gpu), store, chosen, display, data)
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
        tell(f"Run {row['id']} is already in {db}; --force trains it again.")
    show(row)


def read_files(
    labels: str | None,
    label_order: Path | None,
    keep: Path | None,
    dataset: str | None,
    pretrained: Path | None = None,
) -> "Inputs":
    """The files of these options.  Raises InputError."""
    from noisybench.inputs import Inputs, labels_of
    from noisybench.labels.masks import Mask

    if label_order is not None and labels is None:
        raise InvalidValue("--label-order requires --labels, whose order it gives.")
    given, placed = (None, "") if labels is None else labels_of(labels, label_order, dataset)
    if placed:
        tell(placed)
    weights = None
    if pretrained is not None:
        from noisybench.pretrained import Pretrained

        weights = Pretrained.read(pretrained)
    return Inputs(given, None if keep is None else Mask.read(keep), weights)


def stated(config: "Config", values: Mapping[str, Any]) -> dict[str, str]:
    """The options of `train` that state a config, independent of defaults and protocols.

    values: the options of the user, which have the paths of files of code.
    """
    from noisybench.config import declared_fields

    options = {}
    row = config.row()
    for name, declared in declared_fields().items():
        if declared.option.cli and row[name] is not None:
            path, _, _ = str(values.get(name) or "").rpartition(".py:")
            options[name] = str(Path(path).parent / str(row[name])) if path else str(row[name])
    return options


def show_config(config: "Config", command: str, as_json: bool) -> None:
    """Print the configuration of a run and its command."""
    row = {name: value for name, value in config.row().items() if value not in (None, "")}
    if as_json:
        print_json({**row, "identity": config.identity, "command": command})
        return
    for name, value in row.items():
        say(f"{name.replace('_', '-'):<14}{value}")
    say(f"{'identity':<14}{config.identity}\n\n{command}")


def summary(row: "Row") -> dict[str, Any]:
    """The record of a run for --json; accuracies are fractions from 0 to 1."""
    return {"run": row["id"], **{name: row[name] for name in SUMMARY}}


def show(row: "Row") -> None:
    """Print a run as text."""
    say(
        f"Run {row['id']} {row['status']}: {row['loss']} on {row['dataset']},"
        f" {shortened(row['noise'])} noise {row['rate']:g}, seed {row['seed']}.\n"
        f"  test accuracy {row['test_accuracy']:.2%} at epoch {row['best_epoch']}, the best noisy-validation"
        f" epoch ({row['val_accuracy']:.2%} there)\n"
        f"  test accuracy {row['last_test_accuracy']:.2%} at the last epoch, {row['epochs']}\n"
        f"  {row['n_kept']:,} of {row['n_train']:,} training images kept, {row['seconds']:.1f} s"
    )
