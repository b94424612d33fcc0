"""Iterative learning with open-set noisy labels (Wang et al. 2018, CVPR), as its paper describes it.

A network with two output layers on one layer of features is trained in rounds, each of which goes on
from the last.  After a round, samples that lie away from their class in the space of features count as
outliers; in the next, these are pushed away from the samples that are left, and weigh less.

Where the description leaves room, this is what is done here:

- A batch is paired with itself: the contrastive loss is the mean over all pairs of two of its samples that
  the description has a target for.  (Were the kinds of pairs to weigh the same, those of one given label,
  among which wrong ones are, would hold all features together.)
- A pair has a clean sample first, of which the first output layer learns, and any sample second, of which
  the second one learns.  So the first has the cross entropy of the clean samples of a batch, and the
  second that of all, weighted.  The first output layer predicts.
- The features are linear, before the ReLU that both output layers see.  They are compared as they are,
  those of unaugmented images by the network as it stands after the round.
- Of a class with few samples, half of them are the neighbours of each: with all of them, the factor tells
  nothing.
- Adam keeps its moments from round to round.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noisybench.batches import Step
from noisybench.config import Pruning
from noisybench.losses import cce
from noisybench.networks import TwoHeads
from noisybench.registry import LOSSES
from noisybench.training.evaluation import batches
from noisybench.training.loop import Sums, Training
from noisybench.training.pruning import describe

PIXEL_MEAN = 0.5
MARGIN = 1.0
FEATURE_L2 = 0.01
SECOND_HEAD = 0.1  # the weight of the second output layer


class IterativeTraining(Training):
    """One run of Wang et al. 2018 in progress.

    clean: (n,) bool, the training samples that count as clean; weight: (n,), what the second output
    layer makes of each; scores: (n,), the sum of 1/LOF over the rounds.
    """

    model: TwoHeads

    def setup(self) -> None:
        self.neighbours: int = LOSSES.bind(self.config.loss).arguments["neighbours"]
        self.clean = torch.ones_like(self.wrong)
        self.weight = torch.ones(len(self.wrong), device=self.device)
        self.scores = np.zeros(len(self.wrong))
        self.rounds = 0

    def own_state(self) -> dict[str, Tensor]:
        return {
            "clean": self.clean,
            "weight": self.weight,
            "scores": torch.from_numpy(self.scores),
            "rounds": torch.tensor(self.rounds),
        }

    def restore_own(self, state: dict[str, Tensor]) -> None:
        self.clean, self.weight = state["clean"], state["weight"]
        self.scores, self.rounds = state["scores"].cpu().numpy(), int(state["rounds"])

    def pixel_mean(self, images: Tensor) -> Tensor:
        return torch.full(images.shape[1:], PIXEL_MEAN)

    @property
    def n_kept(self) -> int:
        return int(self.clean.sum())

    def _step(self, step: Step, sums: Sums) -> None:
        given, clean = self.given[step.rows], self.clean[step.rows]
        with self.autocast():
            features, first, second = self.model.both(self.train_images.augmented(step))
        losses = cce(first, given)
        loss = (
            _mean(losses, clean)
            + SECOND_HEAD * (self.weight[step.rows] * cce(second, given)).mean()
            + contrastive(features.float(), given, clean)
            + FEATURE_L2 * self.model.network.features.weight.square().sum()
        )
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        sums.add(losses.detach(), first.detach(), given, self.wrong[step.rows])

    def _prune(self, number: int) -> Pruning:
        """Detect outliers; they stay in training, with another part to play."""
        features = self._features()
        given = self.given.cpu().numpy()
        self.rounds += 1
        clean = np.ones(len(given), dtype=np.bool_)
        for y in np.unique(given):
            members = np.flatnonzero(given == y)
            self.scores[members] += inverse_lof(features[members], self.neighbours)
            order = members[np.argsort(self.scores[members], kind="stable")]
            clean[order[: len(members) // 2]] = False
        weight = np.where(clean, 1.0, self.scores / self.rounds)
        self.clean = torch.tensor(clean, device=self.device)
        self.weight = torch.tensor(weight, dtype=torch.float32, device=self.device)
        return describe(self.clean, self.wrong, number, number)

    @torch.no_grad()
    def _features(self) -> NDArray[np.float64]:
        """The features (n, units) of the training images, unaugmented."""
        self.model.eval()
        embed = self.model.network.embed
        with self.autocast():
            return torch.cat([embed(batch) for batch in batches(self.train_images)]).cpu().double().numpy()


def contrastive(features: Tensor, given: Tensor, clean: Tensor) -> Tensor:
    """The contrastive loss of a batch of features (b, units) with labels (b,) and marks (b,): a scalar.

    With the Euclidean distance d of a pair: d² for two clean samples of one class, max(1 - d, 0)² for two
    clean samples of two classes and for a clean sample and an outlier of one class; the mean over these.
    """
    distance = torch.cdist(features, features, compute_mode="donot_use_mm_for_euclid_dist")
    pair = torch.ones_like(distance, dtype=torch.bool).triu(1)
    same = given[:, None] == given
    both, one = clean[:, None] & clean, clean[:, None] ^ clean
    together = both & same
    losses = torch.where(together, distance.square(), (MARGIN - distance).clamp(min=0).square())
    return _mean(losses, pair & (both | (one & same)))


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    """The mean of the chosen values, 0 of none."""
    return torch.where(chosen, values, 0).sum() / chosen.sum().clamp(min=1)


def inverse_lof(features: NDArray[np.float64], neighbours: int) -> NDArray[np.float64]:
    """1 / LOF of features (n, units), shape (n,): the local outlier factor (Breunig et al. 2000) by cosine
    distance to `neighbours` others, at most half of the samples.  A sample without others has 1.

    With all the others as neighbours the factor would tell nothing, or the contrary: every distance is then
    shorter than the neighbour's own reach.
    """
    from sklearn.neighbors import LocalOutlierFactor

    if len(features) < 2:
        return np.ones(len(features))
    lof = LocalOutlierFactor(n_neighbors=min(neighbours, len(features) // 2), metric="cosine")
    lof.fit(features)
    return np.asarray(-1 / lof.negative_outlier_factor_)
