"""The training loop: one run, from initial weights to the network of the best validation epoch."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from noisybench.batches import PADDING, Images, Step, epoch_steps, pixel_mean
from noisybench.config import Config
from noisybench.datasets import Dataset
from noisybench.errors import RunFailed
from noisybench.labels.open_set import NO_CLASS
from noisybench.losses.per_sample import log_likelihood
from noisybench.methods import Batch, Selection, TrainingData
from noisybench.pretrained import Pretrained
from noisybench.registry import MODELS
from noisybench.results import Epoch, Pruning, Result
from noisybench.seeding import torch_seed
from noisybench.split import Split
from noisybench.training.captured import Captured, captures
from noisybench.training.compiled import Compiled, compiles, mark_of
from noisybench.training.estimation import estimate_transition
from noisybench.training.evaluation import accuracy, predict
from noisybench.training.gpu_options import GpuOptions

# Fewer samples than this cannot be trained on: batch norm needs two.
TOO_FEW = 2
# Steps that are measured together on a CPU, with one call of each operation.
MEASURED_AT_ONCE = 32


class Sums:
    """Sums over an epoch's training samples, kept on the device so that no step waits for the host.

    wrong: (n,) bool, the samples whose given label is wrong.
    sums: (2, 3), for the correctly and the wrongly labelled samples: the sum of the loss, the sum of
    the softmax of the given label, and their number.
    """

    def __init__(self, wrong: Tensor) -> None:
        # MPS has no float64.
        dtype = torch.float32 if wrong.device.type == "mps" else torch.float64
        self.sums = torch.zeros(2, 3, dtype=dtype, device=wrong.device)
        # In which row each sample counts: looked up in each step, not computed.
        self.counts_in = torch.stack([~wrong, wrong]).to(dtype)
        # A recorded step on a GPU measures itself.
        self.at_once = MEASURED_AT_ONCE if wrong.device.type == "cpu" else 1
        self.waiting: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []

    def zero(self) -> None:
        self.waiting.clear()
        self.sums.zero_()

    def add(self, losses: Tensor, logits: Tensor, given: Tensor, rows: Tensor) -> None:
        self.waiting.append((losses, logits, given, rows))
        if len(self.waiting) >= self.at_once:
            self._add_waiting()

    def _add_waiting(self) -> None:
        if not self.waiting:
            return
        losses, logits, given, rows = map(torch.cat, zip(*self.waiting, strict=True))
        self.waiting.clear()
        softmax = log_likelihood(logits, given).exp()
        values = torch.stack([losses, softmax, torch.ones_like(losses)], dim=1)
        self.sums += self.counts_in.index_select(1, rows) @ values.to(self.sums.dtype)

    def means(self) -> tuple[float, float | None, float | None]:
        """The mean loss, and the mean softmax over correct and over wrong labels, None without any."""
        self._add_waiting()
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

    transition: the transition matrix of the noise, or its estimate, (classes, classes).  precision: what the
    network computes in, "fp32" or "bf16".  for_estimate: whether the run is to estimate the transition matrix
    for another, for which `lowest` keeps the network of the lowest validation loss.  gpu: whether steps are
    recorded and networks compiled, by default neither; tell: is told if that fails.  pretrained: initial
    weights from a file.
    After `run`, `best.state` holds the network of the best validation epoch and `mean` what was
    subtracted from its images.  ended_early: why training ended before its last epoch, or "".
    """

    def __init__(
        self,
        config: Config,
        dataset: Dataset,
        split: Split,
        transition: NDArray[np.float64] | None,
        device: torch.device,
        precision: str = "fp32",
        for_estimate: bool = False,
        gpu: GpuOptions | None = None,
        tell: Callable[[str], None] = lambda message: None,
        pretrained: Pretrained | None = None,
    ) -> None:
        self.config, self.device, self.precision = config, device, precision
        self.method = config.method
        self.augment = config.augment == "flip-crop"
        images = torch.from_numpy(dataset.train_images)
        padding = PADDING if self.augment else 0
        self.train_images = Images(images, self._mean_of, device, padding, split.train)
        self.mean = self.train_images.mean.cpu()
        self.val_images = Images(images, self.mean, device, rows=split.validation)
        self.test_images = Images(torch.from_numpy(dataset.test_images), self.mean, device)

        def labels(values: NDArray[np.int64]) -> Tensor:
            return torch.tensor(values, device=device)

        noisy, is_trusted = labels(split.given[split.train]), np.isin(split.train, split.trusted)
        self.trusted_rows = np.flatnonzero(is_trusted)
        trusted = torch.from_numpy(is_trusted).to(device)
        self.given = labels(split.true[split.train]).where(trusted, noisy) if is_trusted.any() else noisy
        self.wrong = self.given != labels(split.true[split.train])
        self.val_given = labels(split.given[split.validation])
        self.val_true = labels(split.true[split.validation])
        self.test_labels = labels(dataset.test_labels)

        self.model = build_model(config, dataset, device, pretrained)
        self.optimiser = _optimiser(config, self.model, device)
        matrix = None if transition is None else torch.tensor(transition, dtype=torch.float32, device=device)
        self.data = TrainingData(
            self.given, trusted, noisy, dataset.n_classes, matrix, config.rate, config.epochs
        )
        self.state = self.method.start(self.data)
        self.sums = Sums(self.wrong)
        # A recorded step would keep a number for ever, so that on a GPU the rate is read from the device.
        self.rate = torch.zeros((), device=device) if device.type == "cuda" else None
        self.captured: Captured | None = None
        self.forward: Callable[..., Any] = self.method.forward
        self.predict: Callable[..., Tensor] = self.method.predict
        if gpu is not None and captures(gpu, device, self.method):
            self.captured = Captured(self._step, config.batch_size, device, gpu.capture == "on", tell)
        if gpu is not None and gpu.compile != "off":
            steps = config.epochs * (len(split.train) // config.batch_size)
            kind = (type(self.method).__name__, config.model, dataset.shape, dataset.n_classes)
            mark = mark_of(device, *kind, config.batch_size, precision)
            if compiles(gpu.compile, device, steps, mark):
                self.forward = Compiled(self.forward, gpu.compile == "on", tell, mark)
                self.predict = Compiled(self.predict, gpu.compile == "on", tell, mark)
        self.kept_rows = np.arange(len(split.train))
        self.n_kept = len(self.kept_rows)
        self.best = Best()
        self.lowest = Lowest() if for_estimate else None
        self.epochs: list[Epoch] = []
        self.prunings: list[Pruning] = []
        self.ended_early = ""

    @property
    def best_epoch(self) -> int:
        """The epoch of the highest noisy-validation accuracy so far, the earliest on ties."""
        return self.best.epoch

    def prunes_after(self, epoch: int) -> bool:
        """Whether `prune_from` and `prune_every` say that it is time, and epochs are to come."""
        return self.config.prunes_after(epoch)

    def training_logits(self, best: bool = False) -> Tensor:
        """Logits (n, classes) of the unaugmented training images, by the network in training or by the best
        so far; the one in training is not touched."""
        return self._predict(self.train_images, self.best.state if best else None)

    def validation_logits(self) -> Tensor:
        """Logits (n, classes) of the validation images, by the network in training."""
        return self._predict(self.val_images)

    def training_outputs(self, forward: Callable[[nn.Module, Tensor], Tensor]) -> Tensor:
        """What `forward` makes of the model in training and each batch of the unaugmented training images,
        joined along the first dimension: (n, ...)."""
        with self.autocast():
            return predict(self.model, self.train_images, None, forward)

    def _mean_of(self, images: Tensor) -> Tensor:
        mean = self.method.pixel_mean(images)
        return pixel_mean(images) if mean is None else mean

    def run(self, after_epoch: Callable[[int], None] = lambda epoch: None) -> Iterator[Epoch | Pruning]:
        """Train to the last epoch, yielding each epoch and each pruning as it ends.

        A run that is resumed goes on after the last of its `epochs`.  after_epoch: called with the number
        of an epoch once all that belongs to it is done.  A pruning that keeps too few samples to train on
        ends the training.  Raises RunFailed if the loss is no longer finite.
        """
        for number in range(len(self.epochs) + 1, self.config.epochs + 1):
            if self.ended_early:
                return
            epoch = self._epoch(number)
            self.epochs.append(epoch)
            self.offer(epoch)
            yield epoch
            start = time.perf_counter()
            selection = self.method.after_epoch(number, self, self.state)
            if selection is not None:
                self.n_kept = int(selection.trusted.sum())
                if selection.drop:
                    self.keep(np.flatnonzero(selection.trusted.cpu().numpy()))
                pruning = describe(selection, self.wrong, number)
                pruning = replace(pruning, seconds=time.perf_counter() - start)
                self.prunings.append(pruning)
                yield pruning
            after_epoch(number)

    def offer(self, epoch: Epoch) -> None:
        """Keep the network in training, after this epoch, if it is the best so far."""
        self.best.offer(epoch, self.model)
        if self.lowest is not None:
            self.lowest.offer(epoch, self.model)

    def keep(self, rows: NDArray[np.int64]) -> None:
        """Train on the samples of these rows from now on; where they are too few, training ends."""
        self.kept_rows = rows
        if len(rows) < TOO_FEW:
            self.ended_early = (
                f"training ended after epoch {len(self.epochs)} of {self.config.epochs}:"
                f" pruning kept {len(rows)} samples"
            )

    def begin(self, epoch: int) -> None:
        """Prepare for the steps of an epoch: learning rate, sums, and what the method has."""
        lr = self.lr(epoch)
        rate = lr if self.rate is None else self.rate.fill_(lr)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.sums.zero()
        self.method.before_epoch(epoch, self.state)
        self.model.train()

    def lr(self, epoch: int) -> float:
        """The learning rate in an epoch."""
        return self.config.lr * 0.1 ** sum(milestone < epoch for milestone in self.config.milestones)

    def steps(self, epoch: int) -> Iterator[Step]:
        """The steps of an epoch over the samples that are kept."""
        return epoch_steps(
            self.kept_rows,
            self.config.batch_size,
            self.augment,
            self.config.seed,
            epoch,
            self.device,
            self.method.views,
            self.method.random_numbers(self.data.n_classes),
            self.trusted_rows if self.method.trusted_batches else None,
        )

    def take(self, steps: Iterable[Step]) -> None:
        """Carry out steps, recorded ones where that is possible."""
        if self.captured is not None:
            self.captured.take(steps)
        else:
            for step in steps:
                self._step(step)

    def _epoch(self, number: int) -> Epoch:
        start = time.perf_counter()
        self.begin(number)
        self.take(self.steps(number))
        train_loss, softmax_correct, softmax_wrong = self.sums.means()
        val_logits = self._predict(self.val_images)
        val_losses = self.method.validation_loss(val_logits, self.val_given, self.state)
        val_loss = val_losses.mean().item()
        if not (math.isfinite(train_loss) and math.isfinite(val_loss)):
            sentences = (
                f"The loss is no longer a finite number in epoch {number} (training {train_loss}, validation"
                f" {val_loss}).",
                self.method.advice(self.state),
                f"Try a lower learning rate (it was {self.lr(number):g}) or weight decay (it was"
                f" {self.config.weight_decay:g}).",
            )
            raise RunFailed(" ".join(filter(None, sentences)))
        return Epoch(
            epoch=number,
            train_loss=train_loss,
            val_loss=val_loss,
            val_accuracy=accuracy(val_logits, self.val_given),
            clean_val_accuracy=self._clean_accuracy(val_logits),
            test_accuracy=accuracy(self._predict(self.test_images), self.test_labels),
            lr=self.lr(number),
            n_kept=self.n_kept,
            softmax_correct=softmax_correct,
            softmax_wrong=softmax_wrong,
            seconds=time.perf_counter() - start,
        )

    def autocast(self) -> AbstractContextManager[object]:
        """In this context the network computes in the precision of the run."""
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def _predict(self, images: Images, state: dict[str, Tensor] | None = None) -> Tensor:
        with self.autocast():
            # Compiled code is bound to the parameters of the network in training.
            return predict(self.model, images, state, self.predict if state is None else self.method.predict)

    def _clean_accuracy(self, val_logits: Tensor) -> float | None:
        own = self.val_true != NO_CLASS
        return accuracy(val_logits[own], self.val_true[own]) if own.any() else None

    def batch(self, step: Step) -> Batch:
        """What the method sees of a step."""
        images, *views = (self.train_images.augmented(view) for view in (step, *step.views))
        random = images.new_empty(len(images), 0) if step.random is None else step.random
        trusted = None if step.trusted is None else self.batch(step.trusted)
        noisy = self.data.noisy.index_select(0, step.rows)
        given = noisy if self.given is self.data.noisy else self.given.index_select(0, step.rows)
        return Batch(step.rows, given, noisy, images, tuple(views), random, trusted)

    def _step(self, step: Step) -> None:
        batch = self.batch(step)
        self.optimiser.zero_grad(set_to_none=True)
        with self.autocast():
            output = self.forward(self.model, batch, self.state)
        losses = self.method.loss(output, batch, self.state)
        loss = losses.mean() if losses.ndim else losses
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        logits = self.method.logits(output).detach()
        losses = losses.detach() if losses.ndim else losses.detach().expand(len(logits))
        self.sums.add(losses, logits, batch.given, step.rows)

    def estimated_transition(self) -> NDArray[np.float64] | None:
        """T̂ (classes, classes) by the network of the lowest validation loss, from all training images, those
        of the validation part too; None for a run that is not to estimate it."""
        if self.lowest is None:
            return None
        own = self.method.estimate(self)
        if own is not None:
            return own.double().cpu().numpy()
        parts = (self.train_images, self.val_images)
        logits = torch.cat([self._predict(images, self.lowest.state) for images in parts])
        return estimate_transition(logits.double().softmax(dim=1).cpu().numpy())

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


def build_model(
    config: Config, dataset: Dataset, device: torch.device, pretrained: Pretrained | None = None
) -> nn.Module:
    """The network, or networks, with the initial weights of the seed, drawn on the CPU on every device, and
    those of a file in their place."""

    def make(stream: str) -> nn.Module:
        torch.manual_seed(torch_seed(config.seed, stream))
        network: nn.Module = MODELS.bind(config.model)(dataset.shape, dataset.n_classes)
        if pretrained is not None:
            pretrained.start(network)
        return network

    with torch.random.fork_rng(devices=[]):
        model = config.method.networks(make, dataset.n_classes)
    # What is fastest on CPUs and on tensor cores alike.
    return model.to(memory_format=torch.channels_last).to(device)


def describe(selection: Selection, wrong: Tensor, epoch: int) -> Pruning:
    """What a choice of samples after an epoch did, against the truth: wrong is a bool tensor (n,)."""
    keep = selection.trusted
    dropped, n_wrong = int((~keep).sum()), int(wrong.sum())
    hits = int((~keep & wrong).sum())
    return Pruning(
        epoch=epoch,
        model_epoch=selection.model_epoch,
        n_kept=len(keep) - dropped,
        n_dropped=dropped,
        precision=hits / dropped if dropped else None,
        recall=hits / n_wrong if n_wrong else None,
    )


def _optimiser(config: Config, model: nn.Module, device: torch.device) -> torch.optim.Optimizer:
    common: dict[str, Any] = {
        "lr": config.lr,
        "weight_decay": config.weight_decay,
        "fused": device.type in ("cpu", "cuda"),
    }
    if config.optimiser == "adam":
        # Its steps are counted on the GPU, so that one can be recorded.
        return torch.optim.Adam(model.parameters(), **common, capturable=device.type == "cuda")
    nesterov = config.optimiser == "nesterov"
    return torch.optim.SGD(model.parameters(), momentum=config.momentum, nesterov=nesterov, **common)
