"""Rank pruning by confident examples.

Northcutt, Wu & Chuang 2017, *Learning with confident examples: rank pruning for robust classification with
noisy labels* (UAI).

The paper is about two classes; here each class is taken against all others. With g
the prediction for the class, samples of the class with g at or above its mean over them, and others with g
at or above that mean, tell which part ρ₁ of the true members has another label; samples with g at or below
its mean over the others tell which part ρ₀ of the others has the label. From these follows the part π₁ of
the label's samples that are not members: so many of lowest g are pruned, and those that stay weigh 1 / (1 -
ρ₁).

As in the author's code (cgnorthcutt/rankpruning, 40ae17c): the counts and the formulas of ρ and π, ten
samples of a class at least stay.

What is decided here: weights are divided by their mean over the samples that stay, as rates near 1 would
make the loss too large for the learning rate; g is the softmax of the network in training for its own,
unaugmented training images, at each pruning of the run's schedule (the paper predicts by cross-validation,
and then trains anew).
"""

from typing import TYPE_CHECKING, Any

from noisybench.losses.per_sample import cce
from noisybench.methods.method import Batch, Method, Run, Selection, State, TrainingData
from noisybench.registry import METHODS

if TYPE_CHECKING:
    from torch import Tensor

LEAST = 10  # samples of a class


@METHODS.register("rank-pruning", year=2017)
class RankPruning(Method):
    """Rank pruning: the least confident samples of each label are left out (Northcutt et al. 2017).

    State: weights (classes,), of the samples of each label.
    """

    has_schedule = True

    def start(self, data: TrainingData) -> State:
        import torch

        return {"weights": torch.ones(data.n_classes, device=data.device)}

    def loss(self, output: Any, batch: Batch, state: State) -> "Tensor":
        return state["weights"][batch.given] * cce(output, batch.given)

    def after_epoch(self, epoch: int, run: Run, state: State) -> Selection | None:
        if not run.prunes_after(epoch):
            return None
        import torch

        softmax = run.training_logits().double().softmax(dim=1)
        trusted = torch.ones(len(softmax), dtype=torch.bool, device=softmax.device)
        for label in range(softmax.shape[1]):
            own, g = run.given == label, softmax[:, label]
            n_own = int(own.sum())
            if not 0 < n_own < len(own):
                continue
            missed, added = noise_rates(g, own)
            share = n_own / len(own)
            members = (share - added) / (1 - missed - added) if missed + added < 1 else share
            wrong = min(max(added * (1 - members) / share, 0), 0.9999)
            n_pruned = max(min(int(n_own * wrong), n_own - LEAST), 0)
            rows = own.nonzero().squeeze(1)
            trusted[rows[g[rows].argsort(stable=True)[:n_pruned]]] = False
            state["weights"][label] = 1 / (1 - min(missed, 0.9999))
        counts = torch.bincount(run.given[trusted], minlength=softmax.shape[1])
        state["weights"].mul_(counts.sum() / (counts * state["weights"]).sum())
        return Selection(trusted, epoch)


def noise_rates(g: "Tensor", own: "Tensor") -> tuple[float, float]:
    """ρ₁, the part of a class that has another label, and ρ₀, the part of the others that has its label; from
    predictions g (n,) for the class, and which samples have its label, own (n,)."""
    high, low = g >= g[own].mean(), g <= g[~own].mean()

    def part(a: "Tensor", b: "Tensor") -> float:
        n_a, n_b = int(a.sum()), int(b.sum())
        return n_a / (n_a + n_b) if n_a else 0.0

    return part(~own & high, own & high), part(own & low, ~own & low)
