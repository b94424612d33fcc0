"""The training loop: one run, from initial weights to the network of the best validation epoch."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from noisybench.batches import PADDING, Images, Step, epoch_steps, pixel_mean
from noisybench.config import Config, Epoch, Pruning, Result
from noisybench.datasets import Dataset
from noisybench.errors import RunFailed
from noisybench.labels.open_set import NO_CLASS
from noisybench.losses import log_likelihood
from noisybench.networks import TwoHeads
from noisybench.registry import LOSSES, MODELS
from noisybench.seeding import torch_seed
from noisybench.split import Split
from noisybench.training.estimation import estimate_transition
from noisybench.training.evaluation import accuracy, loss_and_accuracy, predict
from noisybench.training.pruning import describe, kept, prunes_after

Loss = Callable[[Tensor, Tensor], Tensor]


class Sums:
    """Sums over an epoch's training samples, kept on the device so that no step waits for the host.

    sums: (2, 3), for the correctly and the wrongly labelled samples: the sum of the loss, the sum of
    the softmax of the given label, and their number.
    """

    def __init__(self, device: torch.device) -> None:
        # MPS has no float64.
        dtype = torch.float32 if device.type == "mps" else torch.float64
        self.sums = torch.zeros(2, 3, dtype=dtype, device=device)

    def add(self, losses: Tensor, logits: Tensor, given: Tensor, wrong: Tensor) -> None:
        softmax = log_likelihood(logits, given).exp()
        values = torch.stack([losses, softmax, torch.ones_like(losses)], dim=1)
        self.sums += torch.stack([~wrong, wrong]).to(self.sums) @ values.to(self.sums)

    def means(self) -> tuple[float, float | None, float | None]:
        """The mean loss, and the mean softmax over correct and over wrong labels, None without any."""
        correct, wrong = self.sums.tolist()
        loss = (correct[0] + wrong[0]) / (correct[2] + wrong[2])
        return loss, *(softmax / n if n else None for _, softmax, n in (correct, wrong))


@dataclass
class Best:
    """The network of the highest noisy-validation accuracy so far, the earliest on ties."""

    epoch: int = 0
    val_accuracy: float = -1.0
    test_accuracy: float = 0.0
    state: dict[str, Tensor] = field(default_factory=dict, repr=False)

    def offer(self, epoch: Epoch, model: nn.Module) -> None:
        if epoch.val_accuracy > self.val_accuracy:
            self.epoch, self.val_accuracy = epoch.epoch, epoch.val_accuracy
            self.test_accuracy = epoch.test_accuracy
            self.state = _copy(model)


@dataclass
class Lowest:
    """The network of the lowest noisy-validation loss so far: the one that estimates T̂."""

    val_loss: float = math.inf
    state: dict[str, Tensor] = field(default_factory=dict, repr=False)

    def offer(self, epoch: Epoch, model: nn.Module) -> None:
        if epoch.val_loss < self.val_loss:
            self.val_loss, self.state = epoch.val_loss, _copy(model)


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


class Training:
    """One run in progress.

    transition: the transition matrix of the noise, (classes, classes), for losses that ask for it.
    precision: what the network computes in, "fp32" or "bf16".
    After `run`, `best.state` holds the network of the best validation epoch and `mean` what was
    subtracted from its images; `lowest`, of a loss that is the first stage of another, that of the
    lowest validation loss.
    """

    def __init__(
        self,
        config: Config,
        dataset: Dataset,
        split: Split,
        transition: NDArray[np.float64],
        device: torch.device,
        precision: str = "fp32",
    ) -> None:
        self.config, self.device, self.precision = config, device, precision
        self.augment = config.augment == "flip-crop"
        train_images = torch.from_numpy(dataset.train_images[split.train])
        self.mean = self.pixel_mean(train_images)
        self.train_images = Images(train_images, self.mean, device, PADDING if self.augment else 0)
        self.val_images = self._images(dataset.train_images[split.validation])
        self.test_images = self._images(dataset.test_images)

        def labels(values: NDArray[np.int64]) -> Tensor:
            return torch.tensor(values, device=device)

        self.given = labels(split.given[split.train])
        self.wrong = self.given != labels(split.true[split.train])
        self.val_given = labels(split.given[split.validation])
        self.val_true = labels(split.true[split.validation])
        self.test_labels = labels(dataset.test_labels)

        bound = LOSSES.bind(config.loss)
        threshold = bound.entry.metadata.prunes_by
        self.threshold: float | None = bound.arguments[threshold] if threshold else None
        self.loss = self._training_loss(torch.tensor(transition, dtype=torch.float32, device=device))
        self.model = build_model(config, dataset, device)
        self.optimiser = _optimiser(config, self.model, device)
        self.kept_rows = np.arange(len(split.train))
        self.best = Best()
        is_stage = any(bound.entry.name == entry.metadata.first_stage for entry in LOSSES)
        self.lowest = Lowest() if is_stage else None
        self.epochs: list[Epoch] = []
        self.prunings: list[Pruning] = []
        self.setup()

    def setup(self) -> None:
        """What a way of training has besides."""

    def own_state(self) -> dict[str, Tensor]:
        """What of that a killed run needs to go on."""
        return {}

    def restore_own(self, state: dict[str, Tensor]) -> None:
        """The inverse of `own_state`."""

    def pixel_mean(self, images: Tensor) -> Tensor:
        """What is subtracted from the images: (h, w, c), float32, for uint8 images (n, h, w, c)."""
        return pixel_mean(images)

    @property
    def n_kept(self) -> int:
        """How many of the training samples are trusted now."""
        return len(self.kept_rows)

    def _images(self, images: NDArray[np.uint8]) -> Images:
        return Images(torch.from_numpy(np.ascontiguousarray(images)), self.mean, self.device)

    def _training_loss(self, transition: Tensor) -> Loss:
        """The loss of a step: of a loss that prunes, the one over the kept samples (Eq. 12)."""
        bound = LOSSES.bind(self.config.loss)
        stands_in = bound.entry.metadata.trains_as
        if stands_in:
            shared = {n: v for n, v in bound.arguments.items() if n in LOSSES[stands_in].parameters}
            bound = LOSSES.bind(stands_in, shared)
        return lambda logits, target: bound(logits, target, transition=transition)

    def run(self, after_epoch: Callable[[int], None] = lambda epoch: None) -> Iterator[Epoch | Pruning]:
        """Train to the last epoch, yielding each epoch and each pruning as it ends.

        A run that is resumed goes on after the last of its `epochs`.  after_epoch: called with the number
        of an epoch once all that belongs to it is done.  Raises RunFailed if the loss turns NaN or no
        sample is kept.
        """
        for number in range(len(self.epochs) + 1, self.config.epochs + 1):
            epoch = self._epoch(number)
            self.best.offer(epoch, self.model)
            if self.lowest is not None:
                self.lowest.offer(epoch, self.model)
            self.epochs.append(epoch)
            yield epoch
            if prunes_after(self.config, number):
                start = time.perf_counter()
                pruning = self._prune(number)
                pruning = replace(pruning, seconds=time.perf_counter() - start)
                self.prunings.append(pruning)
                yield pruning
            after_epoch(number)

    def _epoch(self, number: int) -> Epoch:
        start = time.perf_counter()
        lr = self.config.lr * 0.1 ** sum(milestone < number for milestone in self.config.milestones)
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        sums = Sums(self.device)
        self.model.train()
        config = self.config
        for step in epoch_steps(
            self.kept_rows, config.batch_size, self.augment, config.seed, number, self.device
        ):
            self._step(step, sums)
        train_loss, softmax_correct, softmax_wrong = sums.means()
        val_logits = self._predict(self.val_images)
        val_loss, val_accuracy = loss_and_accuracy(val_logits, self.val_given, self.loss)
        if not (math.isfinite(train_loss) and math.isfinite(val_loss)):
            raise RunFailed(
                f"The loss is no longer a finite number in epoch {number} (training {train_loss},"
                f" validation {val_loss}). Try a learning rate below {lr:g}."
            )
        return Epoch(
            epoch=number,
            train_loss=train_loss,
            val_loss=val_loss,
            val_accuracy=val_accuracy,
            clean_val_accuracy=self._clean_accuracy(val_logits),
            test_accuracy=accuracy(self._predict(self.test_images), self.test_labels),
            lr=lr,
            n_kept=self.n_kept,
            softmax_correct=softmax_correct,
            softmax_wrong=softmax_wrong,
            seconds=time.perf_counter() - start,
        )

    def autocast(self) -> torch.autocast:
        """In this context the network computes in the precision of the run."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def _predict(self, images: Images, state: dict[str, Tensor] | None = None) -> Tensor:
        with self.autocast():
            return predict(self.model, images, state)

    def _clean_accuracy(self, val_logits: Tensor) -> float | None:
        own = self.val_true != NO_CLASS
        return accuracy(val_logits[own], self.val_true[own]) if own.any() else None

    def _step(self, step: Step, sums: Sums) -> None:
        given = self.given[step.rows]
        with self.autocast():
            logits = self.model(self.train_images.augmented(step))
        losses = self.loss(logits, given)
        self.optimiser.zero_grad(set_to_none=True)
        losses.mean().backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        sums.add(losses.detach(), logits.detach(), given, self.wrong[step.rows])

    def _prune(self, number: int) -> Pruning:
        """Choose the samples anew by the best network so far; the one in training is not touched."""
        threshold = self.threshold
        assert threshold is not None, "only a loss with a threshold has a schedule"
        logits = self._predict(self.train_images, self.best.state)
        keep = kept(logits, self.given, threshold)
        self.kept_rows = np.flatnonzero(keep.cpu().numpy())
        if len(self.kept_rows) < 2:
            raise RunFailed(
                f"Pruning after epoch {number} kept {len(self.kept_rows)} samples, too few to train on: no"
                f" others have a softmax above k={threshold:g}. Try a smaller --k or a later --prune-from."
            )
        return describe(keep, self.wrong, number, self.best.epoch)

    def estimated_transition(self) -> NDArray[np.float64] | None:
        """T̂ (classes, classes) by the network of the lowest validation loss, for a loss that is the first
        stage of another; else None."""
        if self.lowest is None:
            return None
        softmax = self._predict(self.train_images, self.lowest.state).double().softmax(dim=1)
        return estimate_transition(softmax.cpu().numpy())

    def result(self) -> Result:
        """What the run measured, once `run` has come to its end."""
        return Result(
            best_epoch=self.best.epoch,
            val_accuracy=self.best.val_accuracy,
            test_accuracy=self.best.test_accuracy,
            last_test_accuracy=self.epochs[-1].test_accuracy,
            n_train=len(self.given),
            n_kept=self.n_kept,
            seconds=sum(e.seconds for e in self.epochs) + sum(p.seconds for p in self.prunings),
        )


def build_model(config: Config, dataset: Dataset, device: torch.device) -> nn.Module:
    """The network with the initial weights of the run's seed, drawn on the CPU on every device."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_seed(config.seed, "initialisation"))
        model: nn.Module = MODELS.bind(config.model)(dataset.shape, dataset.n_classes)
        if LOSSES.bind(config.loss).entry.metadata.needs_features:
            model = TwoHeads(model)  # type: ignore[arg-type]  # Config has seen to that
    # What is fastest on CPUs and on tensor cores alike.
    return model.to(memory_format=torch.channels_last).to(device)


def _optimiser(config: Config, model: nn.Module, device: torch.device) -> torch.optim.Optimizer:
    common: dict[str, Any] = {
        "lr": config.lr,
        "weight_decay": config.weight_decay,
        "fused": device.type in ("cpu", "cuda"),
    }
    if config.optimiser == "adam":
        return torch.optim.Adam(model.parameters(), **common)
    return torch.optim.SGD(model.parameters(), momentum=config.momentum, **common)
