"""Iterative learning with open-set noisy labels (Wang et al. 2018, CVPR), as its paper describes it.

A network with two output layers on one linear layer of features, without a ReLU between, is trained in
rounds, each of which goes on from the last.  After a round, samples that lie away from their class in the
space of features count as outliers; in the next, these are pushed away from the samples that are left, and
weigh less.

Where the description leaves room, this is what is done here:

- A batch is paired with itself: the contrastive loss is the mean over all pairs of two of its samples that
  the description has a target for.  (Were the kinds of pairs to weigh the same, those of one given label,
  among which wrong ones are, would hold all features together.)
- A pair has a clean sample first, of which the first output layer learns, and any sample second, of which
  the second one learns.  So the first has the cross entropy of the clean samples of a batch, and the
  second that of all, weighted.  The first output layer predicts.
- In the first round, where all samples count as clean, the second output layer weighs 1, then 0.1.
- The features are those of unaugmented images by the network as it stands after the round.  Training does
  not augment, so these are the images that the network has seen.
- Of a class with few samples, half of them are the neighbours of each: with all of them, the factor tells
  nothing.
- Adam keeps its moments from round to round: the rounds are one training, in which only the roles of the
  samples change.  The public code begins Adam anew in each.
- The L2 penalty is on the weights of the feature layer and not on its bias, as is usual: the bias does not
  make a function less smooth.  The public code has it on both.
- The initial weights are those of the other methods at the seed, so that comparisons are paired.  The public
  code has Glorot's initialisation.
- All pairs of a batch count alike.  The public code draws a third of its pairs of each kind; to weigh the
  kinds alike was less accurate here.
- The number of steps is that of 95 epochs in batches of 100 samples, about as many passes over the images as
  the other methods make.  The public code takes some 71,600 steps of 100 pairs.
"""

from typing import TYPE_CHECKING, Annotated, Any, cast

from noisybench.losses.per_sample import cce
from noisybench.methods.method import Batch, Method, Run, Selection, State, TrainingData
from noisybench.options import Option
from noisybench.registry import METHODS

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from noisybench.models.networks import TwoHeads

PIXEL_MEAN = 0.5
MARGIN = 1.0
FEATURE_L2 = 0.01
SECOND_HEAD = 0.1  # the weight of the second output layer after the first round, in which it is 1

Neighbours = Annotated[
    int, Option("neighbours of the local outlier factor, at most half of a class", minimum=1, maximum=10**6)
]


@METHODS.register("wang2018", year=2018)
class IterativeLearning(Method):
    """Iterative learning with open-set noisy labels (Wang et al. 2018): outliers pushed away, and weighted.

    State: clean (n,) bool, the samples that count as clean; weight (n,), that of each in the loss of the
    second output layer; scores (n,) float64, the sum of 1/LOF over the rounds; rounds, their number.
    """

    neighbours: Neighbours = 2000
    # 1: both output layers had a ReLU before them, and the second one weighed 0.1 in the first round.
    revision = 2
    has_schedule = True
    needs_features = True
    protocol = {
        "model": "cnn6",
        "epochs": 95,
        "batch_size": 100,
        "optimiser": "adam",
        "lr": 0.001,
        "milestones": (),
        "weight_decay": 0.0,
        "augment": "none",
        "prune_from": 5,
        "prune_every": 10,
    }

    def networks(self, make: "Callable[[str], nn.Module]", n_classes: int) -> "nn.Module":
        from noisybench.models.networks import TwoHeads

        return TwoHeads(make("initialisation"))  # type: ignore[arg-type]  # Config has seen to that

    def pixel_mean(self, images: "Tensor") -> "Tensor":
        import torch

        return torch.full(images.shape[1:], PIXEL_MEAN)

    def start(self, data: TrainingData) -> State:
        import torch

        n = len(data.given)
        return {
            "clean": torch.ones(n, dtype=torch.bool, device=data.device),
            "weight": torch.ones(n, device=data.device),
            "scores": torch.zeros(n, dtype=torch.float64),
            "rounds": torch.tensor(0),
        }

    def forward(self, model: "nn.Module", batch: Batch, state: State) -> Any:
        network = cast("TwoHeads", model)
        return *network.both(batch.images), network.network.features.weight

    def logits(self, output: Any) -> "Tensor":
        return output[1]  # type: ignore[no-any-return]

    def loss(self, output: Any, batch: Batch, state: State) -> "Tensor":
        features, first, second, feature_weight = output
        given, clean = batch.given, state["clean"][batch.rows]
        loss: Tensor = (
            _mean(cce(first, given), clean)
            + (state["weight"][batch.rows] * cce(second, given)).mean()
            + contrastive(features.float(), given, clean)
            + FEATURE_L2 * feature_weight.square().sum()
        )
        return loss

    def after_epoch(self, epoch: int, run: Run, state: State) -> Selection | None:
        """Detect outliers; they stay in training, with another part to play."""
        if not run.prunes_after(epoch):
            return None
        import numpy as np
        import torch

        features = (
            run.training_outputs(lambda model, images: cast("TwoHeads", model).embed(images))
            .cpu()
            .double()
            .numpy()
        )
        given = run.given.cpu().numpy()
        scores = state["scores"].cpu().numpy()  # the tensor's own memory, or a copy
        clean = np.ones(len(given), dtype=np.bool_)
        for y in np.unique(given):
            members = np.flatnonzero(given == y)
            scores[members] += inverse_lof(features[members], self.neighbours)
            order = members[np.argsort(scores[members], kind="stable")]
            clean[order[: len(members) // 2]] = False
        state["rounds"] += 1
        state["scores"].copy_(torch.from_numpy(scores))
        state["clean"].copy_(torch.from_numpy(clean))
        weight = SECOND_HEAD * np.where(clean, 1.0, scores / int(state["rounds"]))
        state["weight"].copy_(torch.from_numpy(weight))
        return Selection(state["clean"].clone(), epoch, drop=False)


def contrastive(features: "Tensor", given: "Tensor", clean: "Tensor") -> "Tensor":
    """The contrastive loss of a batch of features (b, units) with labels (b,) and marks (b,): a scalar.

    With the Euclidean distance d of a pair: d² for two clean samples of one class, max(1 - d, 0)² for two
    clean samples of two classes and for a clean sample and an outlier of one class; the mean over these.
    """
    import torch

    distance = torch.cdist(features, features, compute_mode="donot_use_mm_for_euclid_dist")
    pair = torch.ones_like(distance, dtype=torch.bool).triu(1)
    same = given[:, None] == given
    both, one = clean[:, None] & clean, clean[:, None] ^ clean
    together = both & same
    losses = torch.where(together, distance.square(), (MARGIN - distance).clamp(min=0).square())
    return _mean(losses, pair & (both | (one & same)))


def _mean(values: "Tensor", chosen: "Tensor") -> "Tensor":
    """The mean of the chosen values, 0 of none."""
    return values.where(chosen, 0).sum() / chosen.sum().clamp(min=1)


def inverse_lof(features: "NDArray[np.float64]", neighbours: int) -> "NDArray[np.float64]":
    """1 / LOF of features (n, units), shape (n,): the local outlier factor (Breunig et al. 2000) by cosine
    distance to `neighbours` others, at most half of the samples.  A sample without others has 1.

    With all the others as neighbours the factor would tell nothing, or the contrary: every distance is then
    shorter than the neighbour's own reach.
    """
    import numpy as np
    from sklearn.neighbors import LocalOutlierFactor

    if len(features) < 2:
        return np.ones(len(features))
    lof = LocalOutlierFactor(n_neighbors=min(neighbours, len(features) // 2), metric="cosine")
    lof.fit(features)
    return np.asarray(-1 / lof.negative_outlier_factor_)
