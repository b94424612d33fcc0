"""`noisybench corrupt`: write noisy labels to a file, or verify the labels in one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from noisybench.cli.arguments import AsJson, Overwrite
from noisybench.cli.console import STDOUT, cell, check_json, console, print_json, right, say, warn, write
from noisybench.cli.options import config_options
from noisybench.config import Config
from noisybench.errors import InvalidValue, RunFailed
from noisybench.registry import shortened

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from noisybench.labels.drawing import Labels, Matrix
    from noisybench.labels.manifest import Manifest
    from noisybench.labels.open_set import OpenSetImages
    from noisybench.verification import Verified

# A matrix of more classes does not fit 80 columns: the most frequent flips are shown instead.
MATRIX_CLASSES = 10
FREQUENT_FLIPS = 10


@config_options("dataset", "noise", "rate", "draws", "seed")
def corrupt(
    path: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="File to write: .npz for `train --labels`; .csv, .npy, .json or .pt for other programs; -"
            " for stdout. With --verify: the realised transition matrix as .csv, which --rows reads.",
        ),
    ] = None,
    verify: Annotated[
        str | None,
        typer.Option(
            metavar="FILE[:KEY]",
            help="Measure the labels in this file instead of drawing labels, and check whether the noise,"
            " rate, draws and seed in the file or in the options give the same labels.",
        ),
    ] = None,
    label_order: Annotated[
        Path | None, typer.Option(help="With --verify: a .npy file with the source row of each label.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    **values: Any,
) -> None:
    """Draw noisy labels, write them to a file and show what was drawn.

    A .npz file holds the clean and the noisy labels of the whole training set, how they were drawn and, for
    open-set noise, the source of each open-set image; it is read without pickle. `noisybench train
    --labels` trains on exactly these labels. A .csv, .npy, .json or .pt file holds the noisy labels in the
    order of the source, for other programs.
    """
    from noisybench import datasets
    from noisybench.inputs import as_prepared
    from noisybench.inputs import corrupt as draw
    from noisybench.labels import writers
    from noisybench.labels.drawing import intolerable
    from noisybench.labels.manifest import DRAWN_BY, Manifest

    if verify is not None:
        show_verified(verify, label_order, path, overwrite, as_json, values)
        return
    if path is None or label_order is not None:
        raise InvalidValue("Name the file to write with --out, or the labels to measure with --verify.")
    check_json(as_json, path)
    config = as_prepared(Config.from_user(**values))
    dataset = datasets.load(config.dataset)
    drawn = draw(config, dataset)
    warning = intolerable(drawn.transition)
    if warning:
        warn(warning)
    manifest = Manifest(
        **{name: getattr(config, name) for name in DRAWN_BY},
        fingerprint=dataset.fingerprint,
        classes=dataset.classes,
        transition=drawn.transition,
        clean=dataset.train_labels if drawn.open_set is None else drawn.open_set.true(dataset.train_labels),
        noisy=drawn.given,
        index=dataset.train_index,
        open_set=drawn.open_set,
    )
    ending = path.suffix.lower()
    content = writers.encode(manifest, ending, dataset) if ending in writers.FORMATS else manifest.encode()
    write(path, content, overwrite, quiet=True)
    if as_json:
        print_json(summary(manifest, path))
    elif path not in STDOUT:
        show(manifest, path)


def summary(manifest: "Manifest", path: Path) -> dict[str, Any]:
    """The record for --json.  transition_matrix: the probabilities of the draw, a row per true class;
    realised_transition_matrix: the fractions that were drawn."""
    from noisybench.labels.drawing import realised_transition
    from noisybench.labels.manifest import DRAWN_BY

    clean, noisy = manifest.clean, manifest.noisy
    return {
        "path": str(path),
        **{name: getattr(manifest, name) for name in DRAWN_BY},
        "n": len(noisy),
        "realised_rate": manifest.realised_rate,
        "classes": list(manifest.classes),
        "transition_matrix": None if manifest.transition is None else manifest.transition.tolist(),
        "realised_transition_matrix": realised_transition(clean, noisy, len(manifest.classes)).tolist(),
        "open_set": None if manifest.open_set is None else n_open_set(manifest.open_set),
        "fingerprint": manifest.fingerprint,
        "sha256": manifest.sha256,
    }


def show(manifest: "Manifest", path: Path) -> None:
    """Print the record as text."""
    m = manifest
    n_wrong = int((m.clean != m.noisy).sum())
    say(
        f"Wrote {path}: {len(m.noisy):,} labels of {m.dataset}, {shortened(m.noise)} noise {m.rate:g}"
        f" ({m.draws} draws), seed {m.seed}."
        f"\nRealised rate {m.realised_rate:.4f}: {n_wrong:,} labels are wrong."
        f"\nSHA-256 of the labels {m.sha256}"
    )
    say("")
    if m.open_set is not None:
        show_open_set(m, m.open_set)
        return
    console().print(realised_table(m.classes, m.clean, m.noisy))


def show_verified(
    text: str, order: Path | None, out: Path | None, overwrite: bool, as_json: bool, values: dict[str, Any]
) -> None:
    """Measure the labels in a file and compare them with the labels that its noise, rate, draws and seed
    give.  Raises RunFailed if they differ."""
    from noisybench.verification import verified

    if out is not None:
        check_json(as_json, out)
    found = verified(text, order, values)
    if out is not None:
        if out.suffix.lower() != ".csv" and out not in STDOUT:
            raise InvalidValue(f"{out} must end in .csv: --verify writes a transition matrix.")
        write(out, found.matrix_csv(), overwrite)
    if as_json:
        print_json(found.row())
    elif out not in STDOUT:
        say(f"{text}: {len(found.given):,} labels of {found.dataset}.")
        if found.placed:
            say(found.placed)
        say(found.rate_in_words())
        say(f"SHA-256 of the labels {found.sha256}\n")
        if (found.clean >= 0).any():
            console().print(class_table(found))
            console().print(realised_table(found.classes, found.clean, found.given))
        say(found.recipe_in_words())
    if found.n_other:
        raise RunFailed(f"{text} does not hold the labels of its noise, rate, draws and seed.")


def class_table(found: "Verified") -> "Table":
    """For each class: its images, how many of their labels are wrong, and how often the label is given."""
    import numpy as np
    from rich import box
    from rich.table import Table

    headings = right("images", "wrong", "% wrong", "given")
    table = Table("class", *headings, box=box.SIMPLE, padding=(0, 1, 0, 1))
    for number, name in enumerate(found.classes):
        of_class = found.clean == number
        n, wrong = int(of_class.sum()), int((found.given[of_class] != number).sum())
        share = percent(wrong / n) if n else "–"
        given = int(np.count_nonzero(found.given == number))
        table.add_row(numbered(number, name), f"{n:,}", f"{wrong:,}", share, f"{given:,}")
    return table


def numbered(number: int, name: str) -> "Text":
    """A class with its number."""
    return cell(f"{number} {name}" if name != str(number) else name)


def realised_table(classes: tuple[str, ...], clean: "Labels", given: "Labels") -> "Table":
    """The realised transition matrix; for more than MATRIX_CLASSES classes, the most frequent flips."""
    from noisybench.labels.drawing import realised_transition

    rows = realised_transition(clean, given, len(classes))
    return matrix_table(classes, rows) if len(classes) <= MATRIX_CLASSES else flips_table(classes, rows)


def n_open_set(open_set: "OpenSetImages") -> dict[str, Any]:
    """The source and the number of the open-set images."""
    from noisybench.labels.open_set import OWN

    return {
        "source": open_set.source,
        "fingerprint": open_set.fingerprint,
        "n": int((open_set.origin != OWN).sum()),
    }


def show_open_set(manifest: "Manifest", open_set: "OpenSetImages") -> None:
    """Print how many own and open-set images each label has."""
    import numpy as np
    from rich.table import Table

    from noisybench.labels.open_set import OWN

    classes = manifest.classes
    own = np.bincount(manifest.noisy[open_set.origin == OWN], minlength=len(classes))
    others = np.bincount(manifest.noisy[open_set.origin != OWN], minlength=len(classes))
    say(f"{others.sum():,} of the images are open-set images, from {open_set.source}.\n")
    headings = right("own images", "open-set images")
    table = Table("label", *headings, box=None, header_style="bold", pad_edge=False)
    for number, name in enumerate(classes):
        table.add_row(numbered(number, name), f"{own[number]:,}", f"{others[number]:,}")
    console().print(table)


def matrix_table(classes: tuple[str, ...], rows: "Matrix") -> "Table":
    """The realised transition matrix in percent."""
    from rich import box
    from rich.table import Table

    title = "Realised transition matrix, in % of the true class"
    table = Table(title=title, box=box.SIMPLE, padding=(0, 0, 0, 1))
    table.add_column("true \\ given", no_wrap=True, max_width=14)
    for number in range(len(classes)):
        table.add_column(str(number), justify="right", no_wrap=True)
    for number, (name, row) in enumerate(zip(classes, rows, strict=True)):
        table.add_row(numbered(number, name), *(percent(share) if share else "·" for share in row))
    return table


def percent(share: float) -> str:
    """A fraction in at most four characters."""
    return f"{100 * share:.1f}".replace("100.0", "100")


def flips_table(classes: tuple[str, ...], rows: "Matrix") -> "Table":
    """The most frequent flips from one class to another."""
    import numpy as np
    from rich import box
    from rich.table import Table

    flips = rows - np.diag(rows.diagonal())
    title = f"The {FREQUENT_FLIPS} most frequent of {np.count_nonzero(flips):,} kinds of flips"
    share = right("% of the true class")
    table = Table("true", "given", *share, title=title, box=box.SIMPLE, caption="The matrix is in --json.")
    for place in np.argsort(-flips, axis=None, kind="stable")[:FREQUENT_FLIPS]:
        i, j = divmod(int(place), len(classes))
        if flips[i, j]:
            table.add_row(cell(classes[i]), cell(classes[j]), percent(flips[i, j]))
    return table
