"""DivideMix: samples divided by a mixture of losses, then MixMatch.

Li, Socher & Hoi 2020, *DivideMix: learning with noisy labels as semi-supervised learning* (ICLR).

Two networks begin with cross entropy. Then, before each epoch, the losses of each network over the training
images are fitted by a mixture of two normal distributions; the chance w of the one with the lower mean
tells the other network which samples have a clean label: those with w above `threshold`. In a step, a label
is refined to w y + (1 - w) p, with the mean prediction p for two views, where it counts as clean, and is
otherwise replaced by the mean prediction of both networks; both are sharpened. Images and labels are mixed
in pairs (MixMatch), and the loss is cross entropy over the clean part, + λ_u times the mean square over the
other, + the divergence of the uniform distribution from the mean prediction. The sum of the logits of both
networks predicts.

As in the authors' code (LiJunnan1992/DivideMix, d9d3058): the values of its options, the mixture's
settings, 10 epochs of cross entropy for CIFAR-10 (30 for CIFAR-100), λ_u growing over 16 epochs (its 25 is
for 50 % of uniform noise; the paper takes 0, 25, 50 or 150 by the noise).

What differs: a batch of the run is divided into its clean and its other part, where theirs draws a batch of
each, so that the parts are as large as the division makes them; both networks learn in the same step from
the same batch, by one optimiser, and predict for its labels in training mode; there is no penalty of
confident predictions during cross entropy with class-dependent noise, and losses are not averaged over
epochs at 90 % of noise; network, epochs, learning rate and weight decay (theirs: 300 epochs at 0.02,
divided at 150, and 5e-4) are the run's.
"""

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from noisybench.losses.per_sample import cce
from noisybench.methods.method import Batch, Method, Run, Selection, State, TrainingData, mean_of
from noisybench.options import Option
from noisybench.registry import METHODS

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

RAMP = 16  # epochs over which λ_u grows

WarmUp = Annotated[int, Option("epochs of cross entropy at first", minimum=1)]
LambdaU = Annotated[
    float, Option("factor λ_u of the loss over samples that do not count as clean", minimum=0)
]
Threshold = Annotated[float, Option("chance above which a label counts as clean", minimum=0, maximum=1)]
Temperature = Annotated[float, Option("temperature by which labels are sharpened", minimum=0.01)]
Alpha = Annotated[int, Option("both parameters of the beta distribution that pairs are mixed by", minimum=1)]


@METHODS.register("dividemix", year=2020, passes=10)
class DivideMix(Method):
    """DivideMix: two networks divide the samples for each other, then MixMatch (Li et al. 2020).

    State: clean (2, n), the chance w of each label, for each network; lambda_u, of this epoch.
    """

    warm_up: WarmUp = 10
    lambda_u: LambdaU = 25.0
    threshold: Threshold = 0.5
    temperature: Temperature = 0.5
    alpha: Alpha = 4
    views = 1
    captures = False  # what a step computes depends on the epoch
    mixes = False

    def networks(self, make: "Callable[[str], nn.Module]", n_classes: int) -> "nn.Module":
        from torch import nn

        return nn.ModuleList([make("initialisation"), make("second network")])

    def random_numbers(self, n_classes: int) -> int:
        """For each network: the order of each view, and what its share of a pair is drawn by."""
        return 2 * (2 + 2 * self.alpha)

    def start(self, data: TrainingData) -> State:
        import torch

        return {
            "clean": torch.ones(2, len(data.given), device=data.device),
            "lambda_u": torch.zeros((), device=data.device),
        }

    def before_epoch(self, epoch: int, state: State) -> None:
        self.mixes = epoch > self.warm_up
        state["lambda_u"].fill_(self.lambda_u * min(max((epoch - self.warm_up - 1) / RAMP, 0), 1))

    def forward(self, model: "nn.Module", batch: Batch, state: State) -> Any:
        """Logits of the images by the first network, and for each network: the logits of what it learns from,
        their targets, and which of these count as clean."""
        import torch
        from torch.nn.functional import one_hot

        if not self.mixes:
            both = [network(batch.images) for network in model.children()]
            return both[0], [(logits, None, None) for logits in both]
        shown = torch.cat([batch.images, *batch.views])
        with torch.no_grad():
            views = [network(shown).float().softmax(dim=1).chunk(2) for network in model.children()]
        own = [(first + second) / 2 for first, second in views]
        label = one_hot(batch.given, own[0].shape[1])
        numbers, output = batch.random.chunk(2, dim=1), []
        for network, mean, clean, random in zip(
            model.children(), own, state["clean"][:, batch.rows], numbers, strict=True
        ):
            refined = self.sharpened(clean[:, None] * label + (1 - clean[:, None]) * mean)
            counts = clean > self.threshold
            targets = refined.where(counts[:, None], self.sharpened((own[0] + own[1]) / 2)).repeat(2, 1)
            order = random[:, :2].T.flatten().argsort()
            share = beta(random[0, 2:])
            mixed = share * shown + (1 - share) * shown[order]
            output.append((network(mixed), share * targets + (1 - share) * targets[order], counts.repeat(2)))
        return own[0].log(), output

    def sharpened(self, p: "Tensor") -> "Tensor":
        powers = p ** (1 / self.temperature)
        return powers / powers.sum(dim=1, keepdim=True)

    def predict(self, model: "nn.Module", images: "Tensor") -> "Tensor":
        first, second = model.children()
        return first(images) + second(images)  # type: ignore[no-any-return]

    def loss(self, output: Any, batch: Batch, state: State) -> "Tensor":
        if not self.mixes:
            return cce(output[1][0][0], batch.given) + cce(output[1][1][0], batch.given)
        factor = state["lambda_u"]
        first, second = (semi_supervised(*learnt, factor) for learnt in output[1])  # type: ignore[call-arg]
        return first + second

    def after_epoch(self, epoch: int, run: Run, state: State) -> Selection | None:
        if epoch < self.warm_up:
            return None
        import torch

        for k in range(2):
            losses = cce(run.training_outputs(partial(logits_of, k)), run.given)
            chances = torch.from_numpy(chance_of_clean(losses.double().cpu().numpy()))
            state["clean"][1 - k].copy_(chances)
        return Selection((state["clean"] > self.threshold).all(dim=0), epoch, drop=False)


def logits_of(k: int, model: "nn.Module", images: "Tensor") -> "Tensor":
    """The logits (b, classes) of images by network k of the two."""
    network = list(model.children())[k]
    return network(images)  # type: ignore[no-any-return]


def semi_supervised(logits: "Tensor", targets: "Tensor", clean: "Tensor", factor: "Tensor") -> "Tensor":
    """The loss of mixed samples: logits and targets (b, classes), clean (b,), λ_u; a scalar."""
    log_f = logits.float().log_softmax(dim=1)
    supervised = mean_of(-(targets * log_f).sum(dim=1), clean)
    square = mean_of((log_f.exp() - targets).square().mean(dim=1), ~clean)
    mean = log_f.exp().mean(dim=0)
    return supervised + factor * square - (mean * len(mean)).log().mean()


def beta(uniform: "Tensor") -> "Tensor":
    """The larger part λ or 1 - λ of a number λ of the distribution Beta(α, α), from 2 α uniform numbers: sums
    of logarithms of α numbers are gamma distributed."""
    import torch

    first, second = -torch.log1p(-uniform).view(2, -1).sum(dim=1)
    larger: Tensor = torch.maximum(first, second) / (first + second)
    return larger


def chance_of_clean(losses: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """The chance (n,) of each of the losses (n,) to be of the normal distribution with the lower mean."""
    from sklearn.mixture import GaussianMixture

    scaled = (losses - losses.min()) / (losses.max() - losses.min() or 1)
    mixture = GaussianMixture(n_components=2, max_iter=10, tol=1e-2, reg_covar=5e-4, random_state=0)
    mixture.fit(scaled[:, None])
    chances: NDArray[np.float64] = mixture.predict_proba(scaled[:, None])[:, mixture.means_.argmin()]
    return chances
