"""Method: how a run trains, and what a loss function becomes by being lifted to one.

The training loop owns batches, optimiser, learning rate, resuming, selection and measurement.  A method says
what a step minimises and, where it has any, what it remembers of each sample and what happens between epochs.

No torch at module level: `noisybench --help` reads this module and every method.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from noisybench.errors import InvalidValue
from noisybench.registry import Bound

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    State = dict[str, Tensor]
else:
    State = dict


@dataclass(frozen=True)
class TrainingData:
    """What a method may know of the samples that the run trains on.

    given: their labels (n,) int64, on the device: the true ones of trusted samples.  trusted: (n,) bool, the
    samples whose true label is given.  noisy: (n,) int64, the labels as the noise made them.  n_classes.
    transition: T or T̂, (classes, classes) float32, on the device; None where the noise has no matrix.  rate:
    the noise rate that the run is told.  epochs: the length of the run.
    """

    given: "Tensor"
    trusted: "Tensor"
    noisy: "Tensor"
    n_classes: int
    transition: "Tensor | None"
    rate: float
    epochs: int

    @property
    def device(self) -> "torch.device":
        return self.given.device


@dataclass(frozen=True)
class Batch:
    """The samples of a step.

    rows: (b,) int64, their places among the samples of `TrainingData`.  given: (b,) int64, their labels.
    noisy: (b,) int64, as the noise made them.
    images: (b, c, h, w) float32, augmented.  views: the same images under further augmentations, as many as
    the method's `views` asks for.  random: (b, k) float32, uniform in [0, 1), k as `random_numbers` says;
    they derive from (seed, epoch), so that a resumed run draws them again.  trusted: a batch of as many
    trusted samples, drawn with replacement, where the method has `trusted_batches`.
    """

    rows: "Tensor"
    given: "Tensor"
    noisy: "Tensor"
    images: "Tensor"
    views: "tuple[Tensor, ...]"
    random: "Tensor"
    trusted: "Batch | None"


@dataclass(frozen=True)
class Selection:
    """Which samples a method trusts.

    trusted: (n,) bool.  model_epoch: the epoch whose network chose them.  drop: whether training goes on
    with the trusted samples alone.
    """

    trusted: "Tensor"
    model_epoch: int
    drop: bool = True


class Run(Protocol):
    """What a method may ask of its run between epochs.

    given: the labels (n,) of the training samples.  data: what the method began with.  model: what `networks`
    made, whose parameters may be changed in place.  best_epoch: the epoch of the highest noisy-validation
    accuracy so far.
    """

    given: "Tensor"
    data: TrainingData
    model: "nn.Module"

    @property
    def best_epoch(self) -> int: ...

    def prunes_after(self, epoch: int) -> bool:
        """Whether `prune_from` and `prune_every` say that it is time, and epochs are to come."""

    def training_logits(self, best: bool = False) -> "Tensor":
        """Logits (n, classes) of the unaugmented training images, by the network in training or the best."""

    def training_outputs(self, forward: "Callable[[nn.Module, Tensor], Tensor]") -> "Tensor":
        """What `forward` makes of the model in training and each batch of the unaugmented training images,
        joined along the first dimension: (n, ...)."""


class Method:
    """A way of training.  Hyper-parameters are annotated fields with defaults; the first line of the
    docstring is the help text.

    protocol: settings of Config that this method uses in place of those of the data set.
    views: how many further augmentations of its images a batch has.
    has_schedule: whether `prune_from` and `prune_every` have a meaning.
    needs_features: whether the network must have a layer of features.
    needs_transition: whether `TrainingData.transition` must be there.
    needs_trusted: whether there must be trusted samples.  trusted_batches: whether each batch comes with one
    of these.
    first_stage: the method of a run, at the same seed and noise, whose network estimates the transition
    matrix for this one.
    revision: to be increased when a change of the method changes its numbers: runs of each revision are
    runs of their own.
    captures: whether a step can be recorded on a GPU and replayed.  It can where `forward` and `loss` compute
    with tensors alone, keep in `State` what lasts, change that in place, and ask no tensor for its value.
    """

    protocol: ClassVar[Mapping[str, Any]] = {}
    views: ClassVar[int] = 0
    has_schedule: ClassVar[bool] = False
    needs_features: ClassVar[bool] = False
    needs_transition: ClassVar[bool] = False
    needs_trusted: ClassVar[bool] = False
    trusted_batches: ClassVar[bool] = False
    first_stage: ClassVar[str] = ""
    revision: ClassVar[int] = 1
    captures: ClassVar[bool] = True

    def __init__(self, **hyper_parameters: Any) -> None:
        for name, value in hyper_parameters.items():
            setattr(self, name, value)

    def uses_rate(self) -> bool:
        """Whether the method is told the noise rate, which is not known of real labels."""
        return False

    def networks(self, make: "Callable[[str], nn.Module]", n_classes: int) -> "nn.Module":
        """The network, or a module of several, with layers of the method's own.  ``make(stream)`` makes a
        network with the initial weights that the seed gives the stream: "initialisation", which all methods
        share, or "second network".  What the method adds must not draw from torch's generator before that."""
        return make("initialisation")

    def random_numbers(self, n_classes: int) -> int:
        """How many random numbers each sample of a batch comes with: see `Batch.random`."""
        return 0

    def pixel_mean(self, images: "Tensor") -> "Tensor | None":
        """What is subtracted from the images, (h, w, c) float32 for uint8 images (n, h, w, c); None: the
        per-pixel mean of the training images."""
        return None

    def start(self, data: TrainingData) -> State:
        """Tensors that last from step to step, such as one value a sample.

        They are part of the state that a killed run goes on from.  Change them in place.
        """
        return {}

    def before_epoch(self, epoch: int, state: State) -> None:
        """Prepare the state for an epoch, counted from 1."""

    def forward(self, model: "nn.Module", batch: Batch, state: State) -> Any:
        """What `loss` needs of the networks for a batch, in the precision of the run; by default the logits
        (b, classes) of its images."""
        return model(batch.images)

    def loss(self, output: Any, batch: Batch, state: State) -> "Tensor":
        """What a step minimises, of `forward`'s output and in float32: per-sample losses (b,), of which the
        mean is taken, or a scalar."""
        raise NotImplementedError

    def logits(self, output: Any) -> "Tensor":
        """The logits (b, classes) in `forward`'s output, for measurement: by default all of it, or
        the first of a tuple."""
        return output[0] if isinstance(output, tuple) else output  # type: ignore[no-any-return]

    def validation_loss(self, logits: "Tensor", given: "Tensor", state: State) -> "Tensor":
        """The losses (n,) of validation images with logits (n, classes): by default cross entropy."""
        from noisybench.losses.per_sample import cce

        return cce(logits, given)

    def predict(self, model: "nn.Module", images: "Tensor") -> "Tensor":
        """The logits (b, classes) by which the run is validated and tested: by default of the network, or of
        the first of a list."""
        from torch import nn

        network = model[0] if isinstance(model, nn.ModuleList) else model
        return network(images)  # type: ignore[no-any-return]

    def after_epoch(self, epoch: int, run: Run, state: State) -> Selection | None:
        """What happens once `epoch` epochs are done: a choice of the samples, or None for no new one."""
        return None

    def advice(self, state: State) -> str:
        """What to say, in sentences, of a run by this method whose loss is no longer finite."""
        return ""

    def estimate(self, run: Run) -> "Tensor | None":
        """The transition matrix (classes, classes) that a completed run estimates as the first stage of
        another; None: by the most likely samples of each class (Patrini et al. 2017)."""
        return None


def n_features(network: "nn.Module") -> int:
    """How many features (b, units) a network has, by ``network.embed(images).relu()``, for its output layer.

    Raises InvalidValue for a network without `embed` and `output`.
    """
    output = getattr(network, "output", None)
    if not hasattr(network, "embed") or not hasattr(output, "in_features"):
        raise InvalidValue(
            "This loss works on the features of a network, and the model has none: it needs a method"
            " embed(images) and a linear layer `output`. Choose another --model, as resnet18 or cnn6."
        )
    return int(output.in_features)  # type: ignore[union-attr]


def mean_of(losses: "Tensor", chosen: "Tensor") -> "Tensor":
    """The mean of the chosen losses, 0 of none."""
    return losses.where(chosen, 0).sum() / chosen.sum().clamp(min=1)


def condition(matrix: "Tensor") -> float:
    """The condition number of a matrix: by how much its inverse may enlarge an error."""
    import torch

    return float(torch.linalg.cond(matrix.double().cpu()))


class LossMethod(Method):
    """The method of a loss function: each step minimises its mean over the batch."""

    def __init__(self, bound: Bound[Any]) -> None:
        super().__init__()
        self.bound = bound

    @property
    def _takes_transition(self) -> bool:
        return "transition" in self.bound.entry.context

    def start(self, data: TrainingData) -> State:
        if not self._takes_transition:
            return {}
        assert data.transition is not None, "Config has seen to that"
        return {"transition": data.transition}

    def loss(self, output: Any, batch: Batch, state: State) -> "Tensor":
        return self.bound(output, batch.given, **state)  # type: ignore[no-any-return]

    def advice(self, state: State) -> str:
        if not self._takes_transition:
            return ""
        number = condition(state["transition"])
        return f"The transition matrix of the noise has the condition number {number:.3g}."

    def validation_loss(self, logits: "Tensor", given: "Tensor", state: State) -> "Tensor":
        return self.bound(logits, given, **state)  # type: ignore[no-any-return]


def needs(bound: Bound[Any]) -> list[str]:
    """What a loss needs that cross entropy does not, in words."""
    method, passes = method_of(bound), bound.entry.metadata.passes
    words = {
        f"{passes} passes": passes > 1,
        "a first run": method.first_stage,
        "the true transition matrix": method.needs_transition,
        "the noise rate": method.uses_rate(),
        "true labels": method.needs_trusted,
    }
    return [word for word, is_needed in words.items() if is_needed]


def method_of(bound: Bound[Any]) -> Method:
    """The method that a registered class or loss function is, with its hyper-parameters."""
    if isinstance(bound.entry.definition, type):
        method: Method = bound()
        return method
    lifted = LossMethod(bound)
    lifted.needs_transition = lifted._takes_transition  # type: ignore[misc]
    return lifted
