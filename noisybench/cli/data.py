"""`noisybench data`: prepare, list and verify data sets."""

import os
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from noisybench import datasets
from noisybench.cli.arguments import AsJson, Overwrite
from noisybench.cli.console import bar, cell, console, print_json, right, say, tell, warn, write
from noisybench.errors import InvalidValue
from noisybench.registry import DATASETS

app = typer.Typer(help="Prepare, list and verify data sets.", no_args_is_help=True, rich_markup_mode=None)

Name = Annotated[
    str, typer.Argument(metavar="NAME", help=f"Data set: {', '.join(entry.name for entry in DATASETS)}.")
]
BUILT_IN = [entry.name for entry in DATASETS if DATASETS.is_registered(entry.name)]


@app.command()
def add(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help=f"A built-in data set ({', '.join(BUILT_IN)}), or a new name for your own images.",
        ),
    ],
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="PATH",
            help="Where the files are. Built-in data set: torchvision's root, the original archive or files,"
            " or a folder with train/<class>/*.png and test/<class>/*.png; without --from, torchvision"
            " downloads them. Own images: a folder with train/<class>/… (and val/, test/) or <class>/…, or a"
            " CSV, TSV or Parquet file.",
        ),
    ] = None,
    layout: Annotated[
        str,
        typer.Option(metavar="LAYOUT", help=f"Own images: layout of PATH: {', '.join(datasets.LAYOUTS)}."),
    ] = "auto",
    root: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Table: folder that its paths start from. [default: the table's]"),
    ] = None,
    path_column: Annotated[str, typer.Option(metavar="NAME", help="Table: column of the files.")] = "path",
    label_column: Annotated[
        str, typer.Option(metavar="NAME", help="Table: column of given labels.")
    ] = "label",
    clean_column: Annotated[
        str, typer.Option(metavar="NAME", help="Table: column of the true labels, if any.")
    ] = "clean_label",
    split_column: Annotated[
        str, typer.Option(metavar="NAME", help="Table: column with train, val or test, if any.")
    ] = "split",
    test: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Own images: folder <class>/… or table of test images."),
    ] = None,
    test_share: Annotated[
        float, typer.Option(min=0.01, max=0.9, help="Own images without a test part: fraction to split off.")
    ] = 0.2,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of that split.")] = 0,
    image_size: Annotated[
        int | None,
        typer.Option(
            min=4,
            max=1024,
            metavar="PIXELS",
            help="Own images: height and width. The shorter side is resized, then the centre is cropped."
            " [default: the median, at most 64]",
        ),
    ] = None,
    colour: Annotated[
        bool | None, typer.Option("--colour/--grey", help="Own images: channels. [default: grey if all are]")
    ] = None,
    on_error: Annotated[
        Literal["refuse", "skip"],
        typer.Option(
            metavar="refuse|skip",
            help="Own images that cannot be read: refuse the data set, or skip these images.",
        ),
    ] = "refuse",
    problems: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Own images: CSV file to write all problems to.")
    ] = None,
    overwrite: Overwrite = False,
    keep_duplicates: Annotated[
        bool, typer.Option(help="Own images: keep training images that are test or validation images too.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Own images: reading processes.", show_default="one per core")
    ] = None,
) -> None:
    """Prepare a built-in data set, or one of your own images."""
    if DATASETS.is_registered(name):
        _refuse_own_options(context, name)
        _add_built_in(name, source)
        return
    if source is None:
        # An unknown name is answered with the nearest; an own data set needs its source again.
        DATASETS[name]
        raise InvalidValue(f"{name} is your own data set: give its images with --from PATH.")
    _add_own(
        name,
        source,
        datasets.OwnOptions(
            layout=layout,
            columns=datasets.Columns(path_column, label_column, clean_column, split_column),
            root=root,
            test=test,
            test_share=test_share,
            seed=seed,
            image_size=image_size,
            colour=colour,
            skip_errors=on_error == "skip",
            keep_duplicates=keep_duplicates,
            write_problems=None if problems is None else partial(write, problems, overwrite=overwrite),
            workers=workers or max(2, os.cpu_count() or 1),
        ),
    )


def _refuse_own_options(context: typer.Context, name: str) -> None:
    given = []
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name not in ("name", "source") and source is not None and source.name == "COMMANDLINE":
            given.append(parameter.opts[0])
    if given:
        raise InvalidValue(f"{name} is built in: omit {', '.join(given)}, for your own images only.")


def _add_built_in(name: str, source: Path | None) -> None:
    (before,) = [row for row in datasets.listing() if row["name"] == DATASETS[name].name]
    with console(stderr=True).status(f"Preparing {name} …"):
        prepared = datasets.add(name, source)
    if before["canonical"] and not prepared.canonical:
        warn(f"This replaces the canonical {name}; `data add` from the full files restores it.")
    say(
        f"{prepared.name}: {prepared.n_train:,} training and {prepared.n_test:,} test images,"
        f" {_canonical_in_words(prepared)}."
    )


def prepare_own(name: str, source: Path, options: datasets.OwnOptions) -> datasets.Prepared:
    """Prepare a user's own images, with progress and notes on stderr."""
    near = get_close_matches(name, BUILT_IN, 1, 0.8)
    if near:
        warn(f"{name} is your own data set, not the built-in {near[0]}.")
    with bar("Reading images") as update:
        prepared, notes = datasets.add_own(
            name, source, options, lambda done, total: update(completed=done, total=total)
        )
    for note in notes:
        tell(note)
    return prepared


def _add_own(name: str, source: Path, options: datasets.OwnOptions) -> None:
    prepared = prepare_own(name, source, options)
    info = prepared.info
    truth = ", true labels known" if prepared.own and prepared.own["has_truth"] else ""
    validation = f", {info.n_validation:,} of them for validation" if info.n_validation else ""
    say(
        f"{name}: {len(info.classes)} classes, {prepared.n_train:,} training images{validation}, and"
        f" {prepared.n_test:,} test images of {datasets.by(info.shape)}{truth}."
    )
    settings = {key: value for key, value in info.protocol.items() if key != "rate" and "prune" not in key}
    words = ", ".join(f"{key.replace('_', '-')} {_plain(value)}" for key, value in settings.items())
    say(f"Runs on it are recorded as {prepared.identity}. Their protocol: {words}.")
    height, width, channels = info.shape
    in_memory = prepared.n_train * (height + 8) * (width + 8) * channels
    if in_memory >= 1e9:
        say(f"Training holds its pixels in memory: {in_memory / 1e9:.1f} GB.")
    say(f"The labels are used as given. Train with: noisybench train --dataset {name}")


def _plain(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the known data sets, and say which are prepared."""
    from rich.table import Table

    rows = datasets.listing()
    if as_json:
        print_json(rows)
        return
    numbers = right("train", "test", "image", "classes", "MB")
    table = Table("name", "prepared", *numbers, box=None, pad_edge=False)
    for row in rows:
        table.add_row(
            cell(row["name"]),
            _prepared_in_words(row),
            f"{row['n_train']:,}",
            f"{row['n_test']:,}",
            datasets.by(row["shape"]),
            str(len(row["classes"])),
            f"{row['bytes'] / 1e6:.1f}" if row["prepared"] else "",
        )
    console().print(table)
    for row in rows:
        if row["prepared"]:
            say(f"{row['name']} came from {row['source']}")
        if row["problem"]:
            warn(row["problem"])


@app.command()
def remove(
    name: Name, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False
) -> None:
    """Delete a prepared data set; its source files stay."""
    prepared = datasets.prepared(name)
    if not yes and not typer.confirm(
        f"Delete the prepared {prepared.identity} in {prepared.folder}?", err=True
    ):
        raise InvalidValue("Nothing was deleted. Answer y, or give --yes.")
    datasets.remove(prepared.name)
    say(f"{prepared.identity} is removed.")


@app.command()
def verify(name: Name, as_json: AsJson = False) -> None:
    """Recompute the fingerprint of a prepared data set.

    Also says whether it is the canonical data set.
    """
    prepared = datasets.verify(name)
    if as_json:
        print_json(
            {
                "name": prepared.name,
                "identity": prepared.identity,
                "canonical": prepared.canonical,
                "fingerprint": prepared.fingerprint,
                "canonical_fingerprint": prepared.info.fingerprint or None,
                "n_train": prepared.n_train,
                "n_test": prepared.n_test,
                "source": prepared.source,
            }
        )
        return
    say(f"{prepared.name} is intact, {_canonical_in_words(prepared)}.\nFingerprint: {prepared.fingerprint}")


def _canonical_in_words(prepared: datasets.Prepared) -> str:
    if prepared.own is not None:
        return f"your own images: runs on it are recorded as {prepared.identity}"
    if prepared.canonical:
        return "canonical"
    n_train, n_test = DATASETS[prepared.name].metadata.counts
    return f"not the canonical {n_train:,} and {n_test:,}: runs on it are recorded as {prepared.identity}"


def _prepared_in_words(row: dict[str, Any]) -> str:
    if row["problem"]:
        return "damaged"
    if row["own"]:
        return "own images"
    if row["prepared"]:
        return "canonical" if row["canonical"] else "not canonical"
    return "at first use" if row["embedded"] else "no"
