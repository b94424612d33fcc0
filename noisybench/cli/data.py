"""`noisybench data`: prepare, list and verify data sets."""

from pathlib import Path
from typing import Annotated, Any

import typer

from noisybench import datasets
from noisybench.cli.console import console, print_json, say, warn
from noisybench.registry import DATASETS

app = typer.Typer(help="Prepare, list and verify data sets.", no_args_is_help=True, rich_markup_mode=None)

Name = Annotated[
    str, typer.Argument(metavar="NAME", help=f"Data set: {', '.join(entry.name for entry in DATASETS)}.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


@app.command()
def add(
    name: Name,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="PATH",
            help="Files you already have: torchvision's root, the original archive or files, or a folder"
            " with train/<class>/*.png and test/<class>/*.png. Without it, torchvision downloads them.",
        ),
    ] = None,
) -> None:
    """Prepare a data set once, so that runs load it at once."""
    (before,) = [row for row in datasets.listing() if row["name"] == DATASETS[name].name]
    with console(stderr=True).status(f"Preparing {name} …"):
        prepared = datasets.add(name, source)
    if before["canonical"] and not prepared.canonical:
        warn(f"This takes the place of the canonical {name}; `data add` from the full files brings it back.")
    say(
        f"{prepared.name}: {prepared.n_train:,} training and {prepared.n_test:,} test images,"
        f" {_canonical_in_words(prepared)}.",
    )


@app.command("list")
def list_(json: Json = False) -> None:
    """Show which data sets are known, and which are prepared."""
    from rich.table import Table

    rows = datasets.listing()
    if json:
        print_json(rows)
        return
    table = Table("name", "prepared", box=None, pad_edge=False)
    for heading in ("train", "test", "image", "classes", "MB"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            row["name"],
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
def verify(name: Name, json: Json = False) -> None:
    """Recompute the fingerprint of a prepared data set, and say whether it is the canonical one."""
    prepared = datasets.verify(name)
    if json:
        print_json(
            {
                "name": prepared.name,
                "identity": prepared.identity,
                "canonical": prepared.canonical,
                "fingerprint": prepared.fingerprint,
                "canonical_fingerprint": DATASETS[prepared.name].metadata.fingerprint,
                "n_train": prepared.n_train,
                "n_test": prepared.n_test,
                "source": prepared.source,
            }
        )
        return
    say(
        f"{prepared.name} is intact, {_canonical_in_words(prepared)}.\nFingerprint: {prepared.fingerprint}",
    )


def _canonical_in_words(prepared: datasets.Prepared) -> str:
    if prepared.canonical:
        return "canonical"
    n_train, n_test = DATASETS[prepared.name].metadata.counts
    return f"not the canonical {n_train:,} and {n_test:,}: runs on it are recorded as {prepared.identity}"


def _prepared_in_words(row: dict[str, Any]) -> str:
    if row["problem"]:
        return "damaged"
    if row["prepared"]:
        return "canonical" if row["canonical"] else "not canonical"
    return "at first use" if row["embedded"] else "no"
