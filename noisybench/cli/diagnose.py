"""`noisybench diagnose`: find wrong labels, estimate how many there are, suggest a loss."""

import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from noisybench import datasets
from noisybench.cli.arguments import DATABASE, AsJson, Database, Device, Quiet
from noisybench.cli.console import (
    bar,
    cell,
    check_folder,
    console,
    in_percent,
    is_terminal,
    print_json,
    say,
    tell,
    write,
)
from noisybench.cli.options import config_options, train_command
from noisybench.config import declared_fields
from noisybench.diagnosis.scores import DEFAULT, SCORES, score_called
from noisybench.errors import InvalidValue
from noisybench.registry import DATASETS
from noisybench.results import Epoch

if TYPE_CHECKING:
    from noisybench.diagnosis.diagnose import Diagnosis, Watch
    from noisybench.diagnosis.findings import Correctness, Pair

SHOWN = 20
BETWEEN_LINES = 10.0  # seconds
# The store of the runs that are compared.
COMPARED = "compared.db"
FIELDS = (
    *("noise", "rate", "draws", "seed", "train_size", "loss", "model", "epochs"),
    *("batch_size", "lr", "augment", "precision"),
)


# Where they are not those of `train`.
DEFAULTS = {
    "rate": "no noise",
    "model": "resnet8, or mlp if that is the data set's",
    "epochs": "some 3,000 steps, from 20 to 100 epochs; for mlp the data set's",
    "lr": "0.1 if resnet8 is the default model, else the data set's",
}


@config_options(*FIELDS, defaults=DEFAULTS)
def diagnose(
    dataset: Annotated[
        str,
        typer.Argument(metavar="DATASET", help="Prepared data set, or a folder or table of your own images."),
    ],
    labels: Annotated[
        str | None,
        typer.Option(metavar="FILE[:KEY]", help="Diagnose the labels in this file (see `train --labels`)."),
    ] = None,
    score: Annotated[
        str, typer.Option(metavar="NAME", help=f"Score that ranks the labels: {', '.join(SCORES)}.")
    ] = DEFAULT,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Number of networks, each with its own seed and another fold held out; their scores are"
            " averaged. [default: one per fold]",
        ),
    ] = None,
    folds: Annotated[
        int, typer.Option(min=2, max=20, help="Number of parts of the images; each network holds out one.")
    ] = 5,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare/--no-compare",
            help="Train several losses on the kept labels, and suggest the loss of highest noisy-validation"
            " accuracy.",
        ),
    ] = True,
    budget: Annotated[
        float | None,
        typer.Option(metavar="MINUTES", min=0, help="Limit of the training time; reduces epochs."),
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder for results and the state of training.")
    ] = Path("diagnosis"),
    marks: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Marks exported from page.html: also write labels.csv, the corrected labels, for `train"
            " --labels`.",
        ),
    ] = None,
    then: Annotated[
        Literal["train"] | None,
        typer.Option(metavar="train", help="Afterwards, train with the suggested loss on the kept labels."),
    ] = None,
    db: Database = DATABASE,
    device: Device = "auto",
    quiet: Quiet = False,
    as_json: AsJson = False,
    **values: Any,
) -> None:
    """Find wrong labels and estimate how many there are.

    Trains a few small networks on the given labels; a label that the networks do not learn is suspicious. No
    true labels are needed. Then compares losses by noisy validation, to suggest one. Writes suspects.csv,
    page.html (to look at the images), mask.npz (for `train --keep`) and summary.json to the folder of --out.
    To continue an interrupted diagnosis, give the same command again. Where the true labels are known, as
    with --noise and --rate, it also prints its precision and recall.
    """
    if as_json and then:
        raise InvalidValue("--json and --then train both print a result: omit one of them.")
    check_folder(out)
    chosen = score_called(score)
    name = _prepared(dataset)

    from noisybench.cli.comparison import compared, in_sentences, table_of
    from noisybench.cli.report import print_document
    from noisybench.diagnosis import findings, outputs, page, plan
    from noisybench.diagnosis.diagnose import RETRAINED, check_method, diagnosed_rows, n_networks
    from noisybench.diagnosis.diagnose import diagnose as carried_out
    from noisybench.diagnosis.marks import as_csv as marks_as_csv
    from noisybench.diagnosis.marks import read as read_marks
    from noisybench.inputs import Inputs, corrupt, labels_of, with_inputs
    from noisybench.sweeps.comparison import candidates
    from noisybench.sweeps.estimate import in_words
    from noisybench.sweeps.resources import default_jobs
    from noisybench.training.device import choose_device, choose_precision, device_label, set_up, several
    from noisybench.training.memory import check_network

    values["dataset"] = name
    if labels is None:
        if values["noise"] and not values["rate"]:
            raise InvalidValue("--noise requires --rate, the fraction of labels to corrupt.")
        values["rate"] = values["rate"] or 0.0
    given_options = {key: value for key, value in values.items() if value is not None}
    file, placed = (None, "") if labels is None else labels_of(labels, None, name)
    if placed:
        tell(placed)
    values = plan.with_defaults(values)
    config, inputs = with_inputs(values, Inputs(labels=file))
    check_method(config)
    prepared = datasets.load(config.dataset)
    corruption = corrupt(config, prepared) if inputs.labels is None else inputs.labels.corruption
    prepared = corruption.on(prepared)
    marked = None if marks is None else read_marks(marks, prepared, corruption.given)
    place = choose_device(device)
    precision = choose_precision(config.precision, place)
    set_up(place, precision)
    check_network(config, prepared, place)

    n = len(diagnosed_rows(config, prepared))
    count = n_networks(chosen, seeds, folds)
    losses = candidates() if compare else {}
    devices = several(device)
    jobs = default_jobs(max(1, len(losses)), devices)
    # Of one network after the other; several losses are compared at once.
    networks = count + RETRAINED * chosen.retrains
    trainings = networks + sum(losses.values()) / jobs
    request = {key: str(value) for key, value in given_options.items()} | {
        "fingerprint": prepared.fingerprint,
        "labels": corruption.sha256,
        "networks": count,
        "folds": folds,
        "budget": budget,
        "compare": compare,
        "device": device_label(place),
        "precision": precision,
    }
    known = plan.read(out, request)
    if known is None:
        seconds = plan.seconds_per_epoch(config, prepared, corruption.given, folds, place, precision)
        config = plan.fitted(config, seconds, trainings, budget)
        known = {"request": request, "epochs": config.epochs, "seconds_per_epoch": seconds}
        plan.write(out, known)
    else:
        config = plan.fitted_to(config, known["epochs"])
    estimated = in_words(known["seconds_per_epoch"] * config.epochs * trainings)
    tell(
        f"{n:,} labels of {config.dataset} in {prepared.n_classes} classes: {count} networks ({config.model},"
        f" {config.epochs} epochs, {config.loss}) on {device_label(place)}, each with 1/{folds} held out"
        + f", and up to {RETRAINED} more without the suspects" * chosen.retrains
        + "."
        + f" Then {len(losses)} runs, to suggest a loss." * compare
        + f" About {estimated} in all, less what is done."
    )
    with _watching(networks, count, config.epochs, quiet) as watch:
        diagnosis = carried_out(
            config,
            prepared,
            corruption.given,
            out / "work",
            score=score,
            networks=seeds,
            folds=folds,
            device=place,
            precision=precision,
            watch=watch,
        )
    conflicting = findings.conflicts(prepared, diagnosis.rows, diagnosis.given)
    rows = outputs.suspects(diagnosis, prepared, conflicting)
    true = outputs.truth(prepared, config, corruption)
    correct = None if true is None else findings.correctness(diagnosis, true[diagnosis.rows])
    summary = outputs.summary(diagnosis, prepared, config, score, correct, conflicting, rows[:SHOWN])
    mask = outputs.mask(diagnosis, prepared, config, corruption)
    written = {kind: out / file for kind, file in outputs.FILES.items()}
    write(written["suspects"], outputs.as_csv(rows), quiet=True)
    write(written["page"], page.render(diagnosis, prepared, summary, rows), quiet=True)
    if not as_json:
        _show(diagnosis, prepared.classes, summary, correct)
    suggestion = None
    if compare:
        runs = {field: values.get(field) for field in declared_fields()}
        runs |= {"epochs": config.epochs, "seed": config.seed}
        kept = Inputs(labels=inputs.labels, keep=mask)
        suggestion = compared(losses, runs, kept, out / COMPARED, jobs, devices, quiet)
    if marked is not None:
        corrected = marked.corrected(corruption.given)
        mask = outputs.mask(diagnosis, prepared, config, corruption, marked)
        written["labels"] = out / outputs.LABELS
        labels = str(written["labels"])
        write(written["labels"], marks_as_csv(corrected, prepared), quiet=True)
        tell(f"{len(marked.rows):,} labels are marked, {marked.n_wrong:,} of them as wrong.")
    loss = config.loss if suggestion is None else suggestion.loss
    # The mask of drawn labels names its seed itself.
    seed = None if labels is None else config.seed or None
    options = {
        "dataset": None if labels is None else name,
        "labels": labels,
        "keep": written["mask"],
        "loss": loss,
        "train_size": config.train_size,
        "seed": seed,
    }
    summary["suggestion"] = {
        "loss": loss,
        "command": train_command(options),
        "words": in_sentences(suggestion, config),
        "comparison": None if suggestion is None else asdict(suggestion),
    }
    write(written["page"], page.render(diagnosis, prepared, summary, rows), quiet=True)
    write(written["mask"], mask.encode(), quiet=True)
    write(written["summary"], json.dumps(summary, indent=2, allow_nan=False).encode(), quiet=True)
    if as_json:
        print_json(summary)
        return
    if suggestion is not None:
        print_document(table_of(suggestion))
    say(f"\n{summary['suggestion']['words']} Train with:\n  {summary['suggestion']['command']}")
    say(f"\nWritten: {', '.join(str(path) for path in written.values())}")
    if then:
        from noisybench.cli.train import train

        train(
            dataset=name,
            labels=labels,
            keep=written["mask"],
            loss=loss,
            train_size=config.train_size,
            seed=seed,
            db=db,
            device=device,
            quiet=quiet,
        )


def _prepared(dataset: str) -> str:
    """The name of a prepared data set.  The images at a path are prepared first, as by `data add`."""
    from noisybench.cli.data import prepare_own

    known = [entry.name for entry in DATASETS]
    path = Path(dataset)
    if DATASETS.is_registered(dataset) or not path.exists():
        return dataset
    stem = re.sub(r"[^a-z0-9]+", "-", path.resolve().stem.lower())[:60].strip("-") or "images"
    name = dataset if dataset in known else stem
    if DATASETS.is_registered(name):
        name = f"own-{name}"
    if name not in known:
        prepare_own(name, path, datasets.OwnOptions(workers=max(2, os.cpu_count() or 1)))
        return name
    prepared = datasets.prepared(name)
    source = prepared.source
    if source != str(path.resolve()):
        raise InvalidValue(
            f"{name} is already prepared, from {source} and not from {dataset}. Prepare {dataset} with"
            f" `noisybench data add ANOTHER-NAME --from {dataset}`, then diagnose ANOTHER-NAME. The images"
            f" that are prepared are called {name}@{prepared.fingerprint[:12]}."
        )
    tell(f"{name} is already prepared from {source}; `noisybench data add` prepares it again.")
    return name


@contextmanager
def _watching(networks: int, first: int, epochs: int, quiet: bool) -> "Iterator[Watch]":
    """Show the progress of the networks on stderr: a bar on a terminal, else lines.

    first: networks that hold out a part of the images; a later one holds out the suspects.
    """
    if quiet:
        yield lambda network, epoch: None
        return

    def agreement(network: int, epoch: Epoch) -> str:
        place = "held-out images" if network < first else "suspects"
        return f"agreement on {place} {epoch.val_accuracy:.1%}"

    if is_terminal(stderr=True):
        with bar("epochs", networks * epochs) as update:
            yield lambda network, epoch: update(
                completed=network * epochs + epoch.epoch,
                description=f"network {network + 1}/{networks}, {agreement(network, epoch)}",
            )
        return
    start = last = time.perf_counter()
    before: int | None = None

    def line(network: int, epoch: Epoch) -> None:
        nonlocal last, before
        done, now = network * epochs + epoch.epoch, time.perf_counter()
        before = done - 1 if before is None else before
        if now - last < BETWEEN_LINES and epoch.epoch < epochs:
            return
        last = now
        left = (now - start) / (done - before) * (networks * epochs - done)
        tell(
            f"network {network + 1}/{networks}  epoch {epoch.epoch}/{epochs}"
            f"  {agreement(network, epoch)}  {left:.0f}s left"
        )

    yield line


def _show(
    diagnosis: "Diagnosis", classes: tuple[str, ...], summary: dict[str, Any], correct: "Correctness | None"
) -> None:
    """Print the diagnosis as text."""
    from noisybench.diagnosis.findings import CANNOT_SEE, confused_pairs

    low, high = diagnosis.interval
    say(
        f"\nWrong labels: about {diagnosis.rate:.1%} ({diagnosis.n_flagged:,} of {len(diagnosis.rows):,}),"
        f" between {low:.1%} and {high:.1%}."
    )
    calibration = summary["calibration"]
    say(
        f"Of {calibration['injected']:,} labels made wrong on purpose in the same way, the ranking finds"
        f" {calibration['recall']:.0%} where it distrusts {diagnosis.rate:.1%}."
    )
    _show_matrix(diagnosis, classes, confused_pairs(diagnosis))
    _show_suspects(summary["suspects"])
    if correct is not None:
        _show_correctness(correct, classes)
    for note in summary["notes"]:
        say(f"Note: {note}")
    say("What this cannot see:")
    for sentence in CANNOT_SEE:
        say(f"  - {sentence}")


def _show_matrix(diagnosis: "Diagnosis", classes: tuple[str, ...], pairs: "list[Pair]") -> None:
    from rich.table import Table

    if len(classes) <= SHOWN:
        table = Table(
            title="Estimated transition matrix, percent", title_justify="left", box=None, pad_edge=False
        )
        table.add_column("true \\ given", no_wrap=True)
        for name in classes:
            table.add_column(cell(name[:6]), justify="right", no_wrap=True)
        for name, row in zip(classes, diagnosis.transition, strict=True):
            table.add_row(cell(name), *(f"{100 * value:.0f}" if value >= 0.005 else "·" for value in row))
        console().print(table)
    if pairs:
        say("Confused most (true → given, estimated number):")
        for pair in pairs:
            say(f"  {classes[pair.true]} → {classes[pair.given]}  {pair.count:,.0f}")


def _show_suspects(suspects: list[dict[str, Any]]) -> None:
    from rich.table import Table

    has_path = any(row["path"] for row in suspects)
    table = Table(title="Most suspicious labels", title_justify="left", box=None, pad_edge=False)
    for heading in ("path" if has_path else "image", "given", "suggested"):
        table.add_column(heading, overflow="fold")
    table.add_column("score", justify="right")
    for row in suspects:
        at = row["path"] if has_path else f"{row['row']}"
        table.add_row(cell(at), cell(row["given"]), cell(row["suggested"]), f"{row['score']:.2f}")
    console().print(table)


def _show_correctness(correct: "Correctness", classes: tuple[str, ...]) -> None:
    say(
        f"Against the true labels: {correct.n_wrong:,} of {correct.n:,} are wrong ({correct.rate:.1%}).\n"
        f"  precision at that number {correct.precision:.1%},"
        f" average precision {correct.average_precision:.1%}\n"
        f"  of the distrusted {in_percent(correct.flagged_precision, 0)} are wrong, of the wrong"
        f" {correct.flagged_recall:.1%} are distrusted"
    )
    by_class = zip(classes, correct.recall, strict=True)
    recall = ", ".join(f"{name} {in_percent(value, 0)}" for name, value in by_class)
    say(f"  recall by given class: {recall}")
