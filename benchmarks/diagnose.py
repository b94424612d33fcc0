"""Wrong labels that `noisybench diagnose` misses, and that cleanlab misses, where as many labels are flagged.

`python -m benchmarks diagnose --out FOLDER [--human cifar10-first4000.csv] …`, with `pip install cleanlab`.
For each task and seed: our diagnosis, and a cross-validation of the same network, whose held-out predictions
cleanlab ranks.  "same" are those averaged over the second half of the epochs, as our own estimates take them;
"own" are those of each fold's epoch of highest held-out accuracy, as cleanlab's tutorial on images has it.
Of cleanlab, the defaults of `find_label_issues` count, and the filter and ranking that are best in hindsight,
by the truth.  A killed run goes on: each network, and each result, is kept in FOLDER.
"""

import argparse
import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from noisybench import datasets
from noisybench.config import Config
from noisybench.datasets import Dataset
from noisybench.diagnosis.diagnose import diagnose
from noisybench.diagnosis.observing import Labels, parts, training_of
from noisybench.diagnosis.plan import with_defaults
from noisybench.files import replacing
from noisybench.inputs import corrupt
from noisybench.results import Epoch
from noisybench.seeding import generator
from noisybench.training.device import choose_precision, set_up

FOLDS = 5
CPU = torch.device("cpu")
FILTERS = ("prune_by_noise_rate", "prune_by_class", "both", "confident_learning", "predicted_neq_given")
RANKINGS = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")
DEFAULT = f"{FILTERS[0]}, {RANKINGS[0]}"
PREDICTIONS = ("same", "own")
Softmax = NDArray[np.float64]


@dataclass(frozen=True)
class Task:
    """A data set with wrong labels.  column: of the file of human labels; empty for drawn noise."""

    name: str
    dataset: str
    noise: str = "uniform"
    rate: float = 0.4
    column: str = ""


TASKS = (
    Task("fashion-mnist, uniform 0.2", "fashion-mnist", "uniform", 0.2),
    Task("fashion-mnist, class-dependent 0.3", "fashion-mnist", "class-dependent", 0.3),
    Task("cifar10, uniform 0.2", "cifar10", "uniform", 0.2),
    Task("cifar10, class-dependent 0.3", "cifar10", "class-dependent", 0.3),
    Task("cifar10, human, aggregated", "cifar10", column="aggre_label"),
    Task("cifar10, human, random 1", "cifar10", column="random_label1"),
    Task("cifar10, human, worst", "cifar10", column="worse_label"),
)


@dataclass(frozen=True)
class Data:
    """The images of a task, all of which are diagnosed; `dataset.train_labels` are the true labels."""

    dataset: Dataset
    given: Labels


def data_of(task: Task, config: Config, n: int, human: Path | None) -> Data:
    """At most n images of a task, with the true and the given labels."""
    whole = datasets.load(task.dataset)
    if not task.column:
        given = corrupt(config, whole).given
        rows = np.sort(generator(config.seed, "subset").permutation(len(given))[:n])
        return Data(_only(whole, rows), given[rows])
    assert human is not None
    with human.open(newline="") as file:
        table = list(csv.DictReader(file))[:n]
    row_of = {int(index): row for row, index in enumerate(whole.train_index)}
    rows = np.array([row_of[int(line["original_index"])] for line in table])
    number = {name: position for position, name in enumerate(whole.classes)}
    true, given = (np.array([number[line[name]] for line in table]) for name in ("clean_label", task.column))
    if (whole.train_labels[rows] != true).any():
        raise SystemExit(f"{human} is not in the order of this {task.dataset}: its true labels differ.")
    return Data(_only(whole, rows), given)


def _only(dataset: Dataset, rows: Labels) -> Dataset:
    names = ("train_images", "train_labels", "train_index")
    return replace(dataset, **{name: getattr(dataset, name)[rows] for name in names})


def held_out(config: Config, data: Data, folder: Path, precision: str) -> dict[str, Softmax]:
    """Softmax (n, classes) of networks that did not train on the image, by the names in PREDICTIONS."""
    n, rows = len(data.given), np.arange(len(data.given))
    found = {name: np.empty((n, data.dataset.n_classes)) for name in PREDICTIONS}
    for k, part in enumerate(parts(n, FOLDS, FOLDS, data.given, config.seed)):
        path = folder / f"fold-{k}.npz"
        if not path.exists():
            training = training_of(config, data.dataset, rows, part, CPU, precision)
            by_epoch, accuracies = [], []
            for event in training.run():
                if isinstance(event, Epoch):
                    by_epoch.append(training.validation_logits().float().softmax(dim=1).numpy())
                    accuracies.append(event.val_accuracy)
            same = np.mean(by_epoch[config.epochs // 2 :], axis=0)
            with replacing(path) as file:
                np.savez(file, same=same, own=by_epoch[int(np.argmax(accuracies))])
        with np.load(path) as kept:
            for name, softmax in found.items():
                softmax[part.outside] = kept[name]
    return {name: softmax / softmax.sum(axis=1, keepdims=True) for name, softmax in found.items()}


def missed(order: Labels, wrong: NDArray[np.bool_]) -> int:
    """How many wrong labels are not among the first in an order, as many as there are wrong ones."""
    n_wrong = int(wrong.sum())
    return n_wrong - int(wrong[order[:n_wrong]].sum())


def by_cleanlab(given: Labels, softmax: Softmax, wrong: NDArray[np.bool_]) -> dict[str, Any]:
    """What each of cleanlab's filters with each of its rankings misses, and the rates that it estimates.

    Behind the labels that a filter flags come the others, by the same ranking.
    """
    from cleanlab.count import estimate_joint, num_label_issues
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    n_missed = {}
    for filtered, ranking in product(FILTERS, RANKINGS):
        flagged = find_label_issues(
            given, softmax, filter_by=filtered, return_indices_ranked_by=ranking, n_jobs=1
        )
        quality = get_label_quality_scores(given, softmax, method=ranking)
        others = np.setdiff1d(np.argsort(quality, kind="stable"), flagged, assume_unique=True)
        order = np.concatenate([flagged.astype(np.int64), others])
        n_missed[f"{filtered}, {ranking}"] = missed(order, wrong)
    return {
        "missed": n_missed,
        "rate": 1 - float(np.trace(estimate_joint(given, softmax))),
        "issues": num_label_issues(given, softmax) / len(given),
    }


def cell(task: Task, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """What ours and cleanlab's miss on a task at a seed; read where it was measured before."""
    setting = {name: getattr(options, name) for name in ("model", "epochs", "lr", "augment")}
    size = min(options.images, 4000) if task.column else options.images
    described = {"dataset": task.dataset, "noise": task.noise, "rate": task.rate, "seed": seed}
    filled = with_defaults({**described, **setting, "train_size": size})
    config = Config.create(**{name: value for name, value in filled.items() if name != "train_size"})
    precision = choose_precision(options.precision, CPU)
    set_up(CPU, precision)
    name = f"{task.name} {size} {seed} {config.identity} {precision}".replace(", ", "-").replace(" ", "-")
    folder: Path = options.out / name
    path = folder / "cell.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        data = data_of(task, config, size, options.human)
        wrong = data.given != data.dataset.train_labels
        ours = diagnose(config, data.dataset, data.given, folder / "ours", precision=precision)
        found = {
            "task": task.name,
            "seed": seed,
            "model": config.model,
            "epochs": config.epochs,
            "precision": precision,
            "n": len(wrong),
            "wrong": int(wrong.sum()),
            "ours": {
                "missed": missed(ours.order, wrong),
                "rate": ours.rate,
                "interval": list(ours.interval),
                "networks": len(ours.val_accuracy),
            },
            **{
                predictions: by_cleanlab(data.given, softmax, wrong)
                for predictions, softmax in held_out(config, data, folder, precision).items()
            },
        }
        with replacing(path) as file:
            file.write(json.dumps(found, indent=2).encode())
    result: dict[str, Any] = json.loads(path.read_text())
    return result


def table_of(cells: list[dict[str, Any]]) -> Iterator[str]:
    """The lines of Markdown tables: missed labels, then rates; means over seeds."""
    by_task: dict[str, list[dict[str, Any]]] = {}
    for found in cells:
        by_task.setdefault(found["task"], []).append(found)
    columns = (
        "wrong",
        "ours",
        *(f"cleanlab, {p}: {how}" for p in PREDICTIONS for how in ("default", "best")),
    )
    headings = ("wrong labels missed", "images, network, precision, seeds", *columns, "ours less the best")
    yield f"| {' | '.join(headings)} |"
    yield f"| --- | --- |{' ---: |' * (len(columns) + 1)}"
    for name, of_task in by_task.items():
        ours = fmean(found["ours"]["missed"] for found in of_task)
        cleanlab = [
            fmean(_choose(found[predictions]["missed"], best) for found in of_task)
            for predictions in PREDICTIONS
            for best in (False, True)
        ]
        first = of_task[0]
        network = f"{first['model']} {first['epochs']} epochs"
        told = f"{first['n']:,}, {network}, {first['precision']}, {len(of_task)}"
        numbers = [fmean(found["wrong"] for found in of_task), ours, *cleanlab]
        more = ours / max(1, min(cleanlab)) - 1
        yield f"| {name} | {told} | {' | '.join(f'{value:,.0f}' for value in numbers)} | {more:+.0%} |"
    yield ""
    yield "| rate of wrong labels, in percent | truth | ours | in the interval | cleanlab, same | own |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for name, of_task in by_task.items():
        truth = [found["wrong"] / found["n"] for found in of_task]
        held = sum(
            found["ours"]["interval"][0] <= rate <= found["ours"]["interval"][1]
            for found, rate in zip(of_task, truth, strict=True)
        )
        # Of cleanlab, the number of issues was nearer to the truth than the confident joint, throughout.
        rates = [
            fmean(found[who]["rate" if who == "ours" else "issues"] for found in of_task)
            for who in ("ours", *PREDICTIONS)
        ]
        texts = [f"{100 * value:.1f}" for value in (fmean(truth), *rates)]
        yield f"| {name} | {texts[0]} | {texts[1]} | {held} of {len(truth)} | {texts[2]} | {texts[3]} |"


def _choose(n_missed: dict[str, int], best: bool) -> int:
    return min(n_missed.values()) if best else n_missed[DEFAULT]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks diagnose", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of networks and results")
    parser.add_argument("--human", type=Path, help="CSV of human labels of CIFAR-10, with original_index")
    parser.add_argument("--tasks", nargs="*", default=[], help="only tasks whose names contain one of these")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=12_000)
    parser.add_argument("--model", help="instead of the network of a diagnosis")
    parser.add_argument("--epochs", type=int, help="instead of those of a diagnosis")
    parser.add_argument("--lr", type=float, help="instead of that of a diagnosis")
    parser.add_argument("--augment", help="instead of that of the data set's protocol")
    parser.add_argument("--precision", default="auto", help="auto, fp32 or bf16")
    options = parser.parse_args()
    chosen = [task for task in TASKS if not options.tasks or any(part in task.name for part in options.tasks)]
    if options.human is None:
        chosen = [task for task in chosen if not task.column]
    cells = []
    for seed, task in product(range(options.seeds), chosen):
        cells.append(cell(task, seed, options))
        (options.out / "results.json").write_text(json.dumps(cells, indent=2))
        (options.out / "results.md").write_text("\n".join(table_of(cells)) + "\n")
        print(f"{task.name}, seed {seed}: ours misses {cells[-1]['ours']['missed']}", flush=True)
    print("\n".join(table_of(cells)))


if __name__ == "__main__":
    main()
