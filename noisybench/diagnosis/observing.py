"""A network trained to be watched: what it made of each label, epoch by epoch, kept across a kill."""

import hashlib
import json
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from noisybench.config import Config
from noisybench.datasets import Dataset
from noisybench.errors import DataError
from noisybench.labels import npz
from noisybench.results import Epoch
from noisybench.split import Split
from noisybench.training.evaluation import predict
from noisybench.training.loop import Training
from noisybench.training.resume import Resume, restore

Labels = NDArray[np.int64]
WHAT = "a record of `noisybench diagnose`"
FINISHED = "finished.npz"

Weight = Callable[[Epoch], float]


def by_accuracy(epoch: Epoch) -> float:
    """The weight of an epoch: where a network learns wrong labels by heart its early epochs are the most
    accurate on held-out images, elsewhere its late ones."""
    return math.exp(10 * epoch.val_accuracy)


def in_second_half(epochs: int) -> Weight:
    """The weights of so many epochs: 1 in the second half, 0 before."""
    return lambda epoch: float(epoch.epoch > epochs // 2)


@dataclass(frozen=True, eq=False)
class Part:
    """What one network is trained on: places are among the images that are diagnosed.

    inside: places of the images it trains on; outside: of those held out.  labels: (n,), those of all images,
    which are the given ones but at `injected`, the places of images that were given another label on purpose.
    """

    inside: Labels
    outside: Labels
    labels: Labels
    injected: Labels


@dataclass(eq=False)
class Observation:
    """What one network made of its images.

    margin, late_loss: (inside,), as of `scores.Evidence`, for the label that the network trained with.
    probability: (inside, classes), the softmax averaged over the epochs.  held_out: (outside, classes),
    averaged over their second half.  log_probability, held_out_log: the logarithm of these softmaxes,
    averaged over all epochs by their weights.  features: (inside + outside, units), of the last epoch, or (0,
    0).  val_accuracy: the share of held-out images that are predicted as their given label, by epoch.
    """

    margin: NDArray[np.float64]
    late_loss: NDArray[np.float64]
    probability: NDArray[np.float64]
    held_out: NDArray[np.float64]
    log_probability: NDArray[np.float64]
    held_out_log: NDArray[np.float64]
    features: NDArray[np.float32]
    val_accuracy: list[float] = field(default_factory=list)


class Watching:
    """Sums over epochs of what the network in training makes of its images."""

    def __init__(self, training: Training, weight: Weight) -> None:
        n, m, c = len(training.given), len(training.val_given), training.data.n_classes
        self.training, self.weight = training, weight
        self.sums = {
            "margin": torch.zeros(n, dtype=torch.float64),
            "late_loss": torch.zeros(n, dtype=torch.float64),
            "probability": torch.zeros(n, c),
            "held_out": torch.zeros(m, c),
            "log_probability": torch.zeros(n, c),
            "held_out_log": torch.zeros(m, c),
        }
        epochs = training.config.epochs
        self.late_from, self.half_from = epochs - max(1, epochs // 3) + 1, epochs // 2 + 1

    def add(self, epoch: int) -> None:
        """Add what the network makes of the images after an epoch, counted from 1."""
        training = self.training
        logits = training.training_logits().float()
        given = training.given[:, None]
        others = logits.scatter(1, given, -torch.inf).amax(dim=1)
        self._add("margin", logits.gather(1, given)[:, 0] - others)
        inside = logits.log_softmax(dim=1)
        outside = training.validation_logits().float().log_softmax(dim=1)
        weight = self.weight(training.epochs[-1])
        self._add("probability", inside.exp())
        self._add("log_probability", weight * inside)
        self._add("held_out_log", weight * outside)
        if epoch >= self.late_from:
            self._add("late_loss", cross_entropy(logits, training.given, reduction="none"))
        if epoch >= self.half_from:
            self._add("held_out", outside.exp())

    def _add(self, name: str, values: Tensor) -> None:
        self.sums[name] += values.cpu().to(self.sums[name].dtype)

    def write(self, path: Path) -> None:
        """Write the sums so far, with the epochs they are of.  Raises DataError."""
        epochs = [asdict(epoch) for epoch in self.training.epochs]
        npz.write(path, npz.encode({"epochs": epochs}, **{k: v.numpy() for k, v in self.sums.items()}))

    def read(self, path: Path) -> list[Epoch]:
        """Go on from what `write` wrote, and return the epochs that it is of.  Raises DataError."""
        metadata, arrays = npz.read(path, WHAT)
        self.sums = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return [Epoch(**epoch) for epoch in metadata["epochs"]]

    def observation(self, features: NDArray[np.float32]) -> Observation:
        """The means, once training has ended."""
        epochs = self.training.config.epochs
        weights = sum(map(self.weight, self.training.epochs))
        counts = {
            "late_loss": epochs - self.late_from + 1,
            "held_out": epochs - self.half_from + 1,
            "log_probability": weights,
            "held_out_log": weights,
        }
        means = {name: (v / counts.get(name, epochs)).double().numpy() for name, v in self.sums.items()}
        accuracies = [epoch.val_accuracy for epoch in self.training.epochs]
        return Observation(**means, features=features, val_accuracy=accuracies)


def observe(
    config: Config,
    dataset: Dataset,
    rows: Labels,
    part: Part,
    device: torch.device,
    precision: str,
    folder: Path,
    weight: Weight,
    with_features: bool,
    show: Callable[[Epoch], None] = lambda epoch: None,
) -> Observation:
    """Train the network of `config` on a part of the images, and return what it made of them.

    rows: (n,), of the training images of `dataset` that are diagnosed.  folder: where its state is kept; a
    killed training goes on from there, and one that has ended is read.  weight: of each epoch in the averages
    of logarithms.  Raises RunFailed or DataError.
    """
    finished = folder / FINISHED
    if finished.exists():
        return _read(finished)
    folder.mkdir(parents=True, exist_ok=True)
    training = training_of(config, dataset, rows, part, device, precision)
    watching = Watching(training, weight)
    state = Resume(folder, config.identity, precision, before=lambda: _write_sums(watching, folder))
    _go_on(training, watching, state, folder)
    for event in training.run(lambda epoch: state.offer(training, epoch)):
        if isinstance(event, Epoch):
            watching.add(event.epoch)
            show(event)
    features = _features(training) if with_features else np.empty((0, 0), np.float32)
    observation = watching.observation(features)
    arrays = {name: value for name, value in vars(observation).items() if name != "val_accuracy"}
    npz.write(finished, npz.encode({"val_accuracy": observation.val_accuracy}, **arrays))
    Resume.remove(folder)
    for path in _all_sums(folder):
        path.unlink()
    return observation


def training_of(
    config: Config,
    dataset: Dataset,
    rows: Labels,
    part: Part,
    device: torch.device,
    precision: str,
) -> Training:
    """The training of one network: on its part, validated on what is held out, without the test images."""
    given = np.array(dataset.train_labels)
    given[rows] = part.labels
    unseen = replace(dataset, test_images=dataset.test_images[:1], test_labels=dataset.test_labels[:1])
    split = Split(rows[part.inside], rows[part.outside], given, given, rows[:0])
    return Training(config, unseen, split, None, device, precision)


def _go_on(training: Training, watching: Watching, state: Resume, folder: Path) -> None:
    """Put a training where its state was last written, if there is one."""
    saved = state.read(training)
    if saved is None:
        return
    epoch, kept = saved
    with suppress(DataError):
        epochs = watching.read(_sums(folder, epoch))
        restore(training, kept, epochs, [])


def _sums(folder: Path, epoch: int) -> Path:
    return folder / f"sums-{epoch}.npz"


def _all_sums(folder: Path) -> list[Path]:
    return sorted(folder.glob("sums-*.npz"), key=lambda path: path.stat().st_mtime)


def _write_sums(watching: Watching, folder: Path) -> None:
    """Write the sums that belong to the state which is about to be written; those of the last one stay."""
    for path in _all_sums(folder)[:-1]:
        path.unlink()
    watching.write(_sums(folder, len(watching.training.epochs)))


def _read(path: Path) -> Observation:
    metadata, arrays = npz.read(path, WHAT)
    return Observation(**arrays, val_accuracy=metadata["val_accuracy"])


def _features(training: Training) -> NDArray[np.float32]:
    """The features (inside + outside, units) of the network in training."""

    def embed(model: torch.nn.Module, batch: Tensor) -> Tensor:
        return model.embed(batch)  # type: ignore[operator,no-any-return]

    parts = (training.train_images, training.val_images)
    features = [predict(training.model, images, None, embed).float().cpu() for images in parts]
    return torch.cat(features).numpy()


def parts(n: int, folds: int, networks: int, given: Labels, seed: int) -> list[Part]:
    """The parts of so many networks: the k-th holds out fold k of the n images, in random order."""
    order = np.random.Generator(np.random.PCG64(seed)).permutation(n)
    fold = np.empty(n, np.int64)
    fold[order] = np.arange(n) % folds
    nothing = np.empty(0, np.int64)
    return [
        Part(np.flatnonzero(fold != k % folds), np.flatnonzero(fold == k % folds), given, nothing)
        for k in range(networks)
    ]


def digest_of(config: Config, labels: str, part: Part, with_features: bool) -> str:
    """A name for the training of a part and what is observed, which no other training has."""
    content = b"".join(array.astype("<i8").tobytes() for array in vars(part).values())
    observed = [field.name for field in fields(Observation)] + ["their values"] * with_features
    described = json.dumps([config.identity, labels, observed]).encode()
    return hashlib.sha256(described + content).hexdigest()[:16]
