"""Generalised Jensen-Shannon divergence of the label and two predictions.

Englesson & Azizpour 2021, *Generalized Jensen-Shannon divergence loss for learning with noisy labels*
(NeurIPS).

The distributions are the given label, with weight π, and the predictions for two augmentations of an image,
with (1 - π) / 2 each. The loss is the weighted mean of their Kullback-Leibler divergences from their
mixture, divided by -(1 - π) log(1 - π). It is small where the predictions are the label's, and where they
agree. With one view it is the loss js.

Compared with the authors' code (ErikEnglesson/GJS, 1a3c9e0): the loss and its scale. Their π for CIFAR-10
is 0.3 at 20 % of uniform noise and for class-dependent noise, 0.9 at 40 %, and 0.1 at 60 and 80 %; the
default is the first. They augment by RandAugment and cutout; here both views are augmented as the run says,
and without augmentation they are the same image.
"""

import math
from typing import TYPE_CHECKING, Annotated, Any

from noisybench.methods.method import Batch, Method, State
from noisybench.options import Option
from noisybench.registry import METHODS

if TYPE_CHECKING:
    from torch import Tensor, nn

Pi = Annotated[float, Option("weight of the label in the mixture", minimum=1e-6, maximum=1 - 1e-6)]


@METHODS.register("gjs", year=2021, passes=2)
class GeneralisedJensenShannon(Method):
    """Generalised Jensen-Shannon divergence of label and two views (Englesson & Azizpour 2021)."""

    pi: Pi = 0.3
    views = 1

    def forward(self, model: "nn.Module", batch: Batch, state: State) -> Any:
        import torch

        return model(torch.cat([batch.images, *batch.views])).chunk(2)

    def loss(self, output: Any, batch: Batch, state: State) -> "Tensor":
        import torch
        from torch.nn.functional import one_hot

        rest = 1 - self.pi
        log_views = torch.stack([logits.float().log_softmax(dim=1) for logits in output])
        label = one_hot(batch.given, log_views.shape[2])
        # Log of the mixture, to which the label adds in its own class alone.
        of_views = log_views.logsumexp(dim=0) + math.log(rest / 2)
        with_label = torch.logaddexp(of_views, torch.full_like(of_views, math.log(self.pi)))
        log_mixture = with_label.where(label.bool(), of_views)
        of_label = -(label * log_mixture).sum(dim=1)
        from_views = (log_views.exp() * (log_views - log_mixture)).sum(dim=2)
        divergence: Tensor = self.pi * of_label + rest * from_views.mean(dim=0)
        return divergence / (-rest * math.log(rest))
