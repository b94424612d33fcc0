"""The files that a diagnosis leaves behind: suspects as CSV, a mask to train with, a summary."""

import csv
import io
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noisybench.config import Config
from noisybench.datasets import Dataset
from noisybench.diagnosis.diagnose import Diagnosis
from noisybench.diagnosis.findings import Correctness, confused_pairs, notes
from noisybench.diagnosis.marks import Marks
from noisybench.diagnosis.observing import Labels
from noisybench.labels.drawing import Corruption, labels_sha256
from noisybench.labels.masks import Mask

FILES = {"page": "page.html", "suspects": "suspects.csv", "mask": "mask.npz", "summary": "summary.json"}
# Where there are marks.
LABELS = "labels.csv"
COLUMNS = (
    "rank",
    "row",
    "source_index",
    "path",
    "given",
    "suggested",
    "probability",
    "score",
    "flagged",
    "conflict",
)


def path_of(dataset: Dataset, row: int) -> str:
    """The path of a training image in its source, or "" where it has none."""
    return "" if dataset.train_paths is None else dataset.train_paths[row].decode("utf-8", "replace")


def suspects(
    diagnosis: Diagnosis, dataset: Dataset, conflicting: NDArray[np.bool_], most: int | None = None
) -> list[dict[str, Any]]:
    """The labels, the most suspicious first, by COLUMNS.

    row: of the training images in their prepared order; source_index: in the source they came from.
    probability: the network's for the suggested class.
    """
    flagged = diagnosis.flagged
    return [
        {
            "rank": rank,
            "row": int(diagnosis.rows[place]),
            "source_index": int(dataset.train_index[diagnosis.rows[place]]),
            "path": path_of(dataset, diagnosis.rows[place]),
            "given": dataset.classes[diagnosis.given[place]],
            "suggested": dataset.classes[diagnosis.suggested[place]],
            "probability": round(float(diagnosis.probability[place, diagnosis.suggested[place]]), 4),
            "score": round(float(diagnosis.scores[place]), 4),
            "flagged": bool(flagged[place]),
            "conflict": bool(conflicting[place]),
        }
        for rank, place in enumerate(diagnosis.order[:most], 1)
    ]


def as_csv(rows: list[dict[str, Any]]) -> bytes:
    """Suspects as CSV with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def mask(
    diagnosis: Diagnosis, dataset: Dataset, config: Config, corruption: Corruption, marks: Marks | None = None
) -> Mask:
    """The mask that leaves out the labels to distrust, for `train --keep`; images not diagnosed are kept.

    With marks it is for the labels corrected by them.
    """
    keep = np.ones(len(dataset.train_labels), np.bool_)
    keep[diagnosis.rows[diagnosis.flagged]] = False
    sha256 = corruption.sha256
    if marks is not None:
        keep, sha256 = marks.kept(keep), labels_sha256(marks.corrected(corruption.given))
    cut = diagnosis.scores[diagnosis.order[min(diagnosis.n_flagged, len(diagnosis.rows) - 1)]]
    return Mask(
        keep=keep,
        source_index=np.asarray(dataset.train_index),
        dataset=dataset.name,
        fingerprint=dataset.fingerprint,
        noise=config.noise,
        rate=config.rate,
        draws=config.draws,
        seed=config.seed,
        labels_sha256=sha256,
        run="diagnose",
        threshold=float(cut),
    )


def truth(dataset: Dataset, config: Config, corruption: Corruption) -> Labels | None:
    """The true labels of all training images, as of `Dataset.train_truth`; None where none are known: noise
    was neither drawn nor do the data set or the label file tell them."""
    if dataset.train_truth is not None:
        return dataset.train_truth
    return np.asarray(dataset.train_labels) if config.rate > 0 else None


def summary(
    diagnosis: Diagnosis,
    dataset: Dataset,
    config: Config,
    score: str,
    correct: Correctness | None,
    conflicting: NDArray[np.bool_],
    worst: list[dict[str, Any]],
) -> dict[str, Any]:
    """The diagnosis for machines.  Rates are fractions; `suspects` are the worst; nothing is suggested."""
    estimate, calibration = diagnosis.estimate, diagnosis.calibration
    classes = dataset.classes
    return {
        "dataset": config.dataset,
        "classes": list(classes),
        "n": len(diagnosis.rows),
        "score": score,
        "model": config.model,
        "epochs": config.epochs,
        "loss": config.loss,
        "networks": len(diagnosis.val_accuracy),
        "rate": estimate.rate,
        "interval": list(estimate.interval),
        "network_error": estimate.error,
        "n_flagged": diagnosis.n_flagged,
        "transition": estimate.transition.tolist(),
        "pairs": [
            {"true": classes[pair.true], "given": classes[pair.given], "count": pair.count}
            for pair in confused_pairs(diagnosis)
        ],
        "calibration": {
            "injected": calibration.n,
            "recall": calibration.recall_at(diagnosis.rate),
            "rate": calibration.rate,
        },
        "notes": notes(diagnosis, dataset, int(conflicting.sum())),
        "suggestion": None,
        "correctness": None if correct is None else {**asdict(correct), "rate": correct.rate},
        "suspects": worst,
    }
