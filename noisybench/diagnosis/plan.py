"""How long the networks of a diagnosis train, and what that takes on this machine."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from noisybench.config import Config
from noisybench.datasets import Dataset
from noisybench.datasets.dataset import DatasetName
from noisybench.diagnosis.diagnose import diagnosed_rows
from noisybench.diagnosis.observing import Labels, parts, training_of
from noisybench.errors import InvalidValue
from noisybench.files import replacing
from noisybench.registry import DATASETS

FILE = "plan.json"
STEPS = 3000
FEWEST_EPOCHS, MOST_EPOCHS = 20, 100
# Fewer epochs than this rank no better than a look at the images.
LEAST = 5
TRIED_BATCHES = 6
# Of the budget, what is left for reading data, estimates and the page.
IN_TRAINING = 0.9


def with_defaults(values: dict[str, Any]) -> dict[str, Any]:
    """The options of a diagnosis, filled in where it differs from the data set's protocol.

    Unless the protocol's network is a perceptron: a small network at a high learning rate, and as many epochs
    as make some 3,000 steps, but from 20 to 100.
    """
    info = DATASETS[DatasetName.read(values["dataset"]).stem].metadata
    filled = dict(values)
    if str(info.protocol["model"]).startswith("mlp"):
        return filled
    if filled.get("model") is None:
        filled["model"] = "resnet8"
        filled["lr"] = 0.1 if filled.get("lr") is None else filled["lr"]
    if filled.get("epochs") is None:
        batch = int(filled.get("batch_size") or info.protocol["batch_size"])
        n = int(filled.get("train_size") or info.counts[0])
        filled["epochs"] = min(MOST_EPOCHS, max(FEWEST_EPOCHS, round(STEPS * batch / n)))
    return filled


def seconds_per_epoch(
    config: Config, dataset: Dataset, given: Labels, folds: int, device: torch.device, precision: str
) -> float:
    """What an epoch of one network takes here, measured on a few batches."""
    rows = diagnosed_rows(config, dataset)
    tried = rows[: max(4 * folds, TRIED_BATCHES * config.batch_size)]
    (part,) = parts(len(tried), folds, 1, given[tried], config.seed)
    training = training_of(replace(config, epochs=2), dataset, tried, part, device, precision)
    epochs = list(training.run())
    # Each epoch ends with predictions of all images: as much again as a third of the training.
    return 4 / 3 * epochs[-1].seconds * len(rows) / len(tried)


def fitted(config: Config, seconds: float, trainings: float, budget: float | None) -> Config:
    """The config with as many epochs as fit into a budget of minutes, if any.

    seconds: an epoch's; trainings: how many there are, one after the other.  Raises InvalidValue.
    """
    if budget is None:
        return config
    most = int(60 * budget * IN_TRAINING / max(trainings * seconds, 1e-9))
    if most < LEAST:
        raise InvalidValue(
            f"--budget {budget:g} allows {most} epochs, but at least {LEAST} are needed, which take about"
            f" {LEAST * trainings * seconds / 60 / IN_TRAINING:.1f} minutes. Allow more, take a smaller"
            " --model, diagnose a part with --train-size, or compare no losses with --no-compare."
        )
    return fitted_to(config, min(most, config.epochs))


def fitted_to(config: Config, epochs: int) -> Config:
    """The config with so many epochs, its milestones scaled."""
    if epochs == config.epochs:
        return config
    milestones = tuple(sorted({max(1, round(m * epochs / config.epochs)) for m in config.milestones}))
    return replace(config, epochs=epochs, milestones=tuple(m for m in milestones if m < epochs))


def read(folder: Path, request: dict[str, Any]) -> dict[str, Any] | None:
    """What was planned for the same request in this folder, or None.

    A diagnosis goes on as it began, although the machine may be faster or slower now.
    """
    try:
        plan: dict[str, Any] = json.loads((folder / FILE).read_text())
    except (OSError, ValueError):
        return None
    return plan if isinstance(plan, dict) and plan.get("request") == request else None


def write(folder: Path, plan: dict[str, Any]) -> None:
    """Keep a plan, with the request that it is for.  Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / FILE) as file:
        file.write(json.dumps(plan, indent=2).encode())
