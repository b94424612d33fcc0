"""`noisybench evaluate`: measure the network of a completed run in detail."""

from dataclasses import asdict
from typing import Annotated, Literal

import typer

from noisybench.cli.arguments import DATABASE, AsJson, Code, Database, Device, RunName
from noisybench.cli.console import cell, console, in_percent, print_json, right, say
from noisybench.cli.corrupt import numbered

Part = Literal["test", "validation", "train"]


def evaluate(
    run: RunName,
    split: Annotated[Part, typer.Option(help="Images to measure.")] = "test",
    db: Database = DATABASE,
    device: Device = "auto",
    code: Code = None,
    as_json: AsJson = False,
) -> None:
    """Measure a run's best-validation network in detail.

    Prints accuracy in all and per class, the confusion matrix and the expected calibration error, against the
    true labels. Open-set images have no true label and are left out.
    """
    import json

    from noisybench.config import load_code
    from noisybench.store import Store
    from noisybench.training.device import check_device, choose_device

    check_device(device)
    store = Store.open(db, create=False)
    row = store.find_completed(run)
    load_code(row, code or [], needed=("loss", "model"))

    import torch
    from rich.table import Table

    from noisybench import datasets
    from noisybench.labels.open_set import NO_CLASS
    from noisybench.training.checkpoints import Checkpoint
    from noisybench.training.evaluation import evaluate as measure

    checkpoint = Checkpoint.read(store.folder(row["id"]), row)
    if split == "test":
        dataset = datasets.load(row["dataset"])
        images, labels = dataset.test_images, dataset.test_labels
    else:
        dataset = checkpoint.dataset()
        rows = getattr(checkpoint, split).numpy()
        rows = rows[dataset.train_true[rows] != NO_CLASS]
        images, labels = dataset.train_images[rows], dataset.train_true[rows]
    logits = checkpoint.logits(images, dataset, choose_device(device))
    result = measure(logits, torch.tensor(labels, device=logits.device))
    stored = asdict(result)
    nested = {name: json.dumps(stored[name]) for name in ("per_class", "confusion")}
    store.add_evaluation(row["id"], split, {**stored, **nested})
    if as_json:
        print_json({"run": row["id"], "split": split, "classes": dataset.classes, **stored})
        return
    say(f"Run {row['id']}, {split}, {result.n:,} images, true labels")
    say(f"  accuracy {result.accuracy:.2%}, expected calibration error {result.ece:.4f} (15 bins)")
    wide = len(dataset.classes) > 10
    taken_for = ["most often taken for"] if wide else right(*map(str, range(len(dataset.classes))))
    table = Table("class", *right("accuracy"), *taken_for, box=None, header_style="bold", pad_edge=False)
    for index, name in enumerate(dataset.classes):
        counts = result.confusion[index]
        table.add_row(
            numbered(index, name),
            in_percent(result.per_class[index], 1),
            *([cell(_confused(index, counts, dataset.classes))] if wide else map(str, counts)),
        )
    console().print(table)


def _confused(true: int, counts: list[int], classes: tuple[str, ...]) -> str:
    """The three classes that images of class `true` were most often taken for."""
    others = sorted((i for i in range(len(counts)) if i != true and counts[i]), key=lambda i: -counts[i])[:3]
    return ", ".join(f"{classes[i]} {counts[i]}" for i in others)
