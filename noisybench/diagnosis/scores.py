"""Scores of labels by name: the lower the score of a label, the more likely the label is wrong.

NumPy is imported for its types only: the command line lists the names without it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from noisybench.errors import UnknownName

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

NEIGHBOURS = 20


@dataclass(frozen=True)
class Evidence:
    """What several networks observed of n labels in `classes` classes.

    given: (n,) int64.  margin: (networks, n), the logit of the given label minus the largest other logit,
    averaged over the epochs of a training that includes the image; late_loss: (networks, n), the cross
    entropy averaged over the last third of these epochs; both NaN where the network did not train on the
    image with its given label.  probability: (n, classes), the softmax averaged over epochs and over the
    networks that trained on the image.  held_out: (n, classes), the softmax averaged over the second half of
    the epochs of the network that did not train on the image; NaN where every network did.
    log_probability: (n, classes), the logarithm of the softmax averaged over all networks, where epochs of
    higher held-out accuracy count more; after a retraining, a part of it is of the retrained networks.
    features: (n, units), of one network; (0, 0) where they are not recorded.  transition: (classes, classes),
    an estimate of the probability of each given class for each true class, without zeros.
    """

    given: "NDArray[np.int64]"
    margin: "Values"
    late_loss: "Values"
    probability: "Values"
    log_probability: "Values"
    held_out: "Values"
    features: "NDArray[np.float32]"
    transition: "Values"

    def at(self, places: "NDArray[np.int64]") -> "Evidence":
        """What was observed of some of the labels."""
        return replace(
            self,
            given=self.given[places],
            margin=self.margin[:, places],
            late_loss=self.late_loss[:, places],
            probability=self.probability[places],
            log_probability=self.log_probability[places],
            held_out=self.held_out[places],
            features=self.features[places] if len(self.features) else self.features,
        )


@dataclass(frozen=True)
class Score:
    """A way to score labels.

    needs_held_out: whether each image must be held out once, for which one network is trained per fold.
    needs_features: whether the network's features must be recorded.  retrains: whether it is better with more
    networks, trained without the labels that it flags at first; for scores by log_probability.
    """

    name: str
    help: str
    compute: "Callable[[Evidence], Values]"
    needs_held_out: bool = False
    needs_features: bool = False
    retrains: bool = False


def largest_other(values: "Values", given: "NDArray[np.int64]") -> "Values":
    """The largest value in each row of `values` (n, classes) but for that of the given label: (n,)."""
    import numpy as np

    others = values.copy()
    np.put_along_axis(others, given[:, None], -np.inf, axis=1)
    return np.asarray(others.max(axis=1))


def of_given(values: "Values", given: "NDArray[np.int64]") -> "Values":
    """The value of the given label in each row of `values` (n, classes): (n,)."""
    import numpy as np

    return np.asarray(np.take_along_axis(values, given[:, None], axis=1)[:, 0])


def mean_over_networks(values: "Values") -> "Values":
    """The mean over networks (networks, n) of what is not NaN: (n,); NaN where nothing is."""
    import numpy as np

    there = ~np.isnan(values)
    counts = there.sum(axis=0)
    total = np.where(there, values, 0).sum(axis=0)
    return np.where(counts > 0, total / np.maximum(counts, 1), np.nan)


def log_odds(evidence: Evidence) -> "Values":
    """The logarithm of the odds that an image is of each class rather than of its given one, (n, classes);
    minus infinity at the given class.

    By Bayes' rule: how much more the networks see the class in the image, times how much more often the
    class gets this label.
    """
    import numpy as np

    given = evidence.given
    seen = evidence.log_probability - of_given(evidence.log_probability, given)[:, None]
    labelled = np.log(evidence.transition[:, given].T)
    odds = seen + labelled - of_given(labelled, given)[:, None]
    np.put_along_axis(odds, given[:, None], -np.inf, axis=1)
    return np.asarray(odds)


def _posterior(evidence: Evidence) -> "Values":
    from scipy.special import logsumexp

    return -logsumexp(log_odds(evidence), axis=1)  # type: ignore[no-any-return]


def _margin(evidence: Evidence) -> "Values":
    return mean_over_networks(evidence.margin)


def _late_loss(evidence: Evidence) -> "Values":
    return -mean_over_networks(evidence.late_loss)


def _self_confidence(evidence: Evidence) -> "Values":
    return of_given(evidence.held_out, evidence.given)


def _normalised_margin(evidence: Evidence) -> "Values":
    return _self_confidence(evidence) - largest_other(evidence.held_out, evidence.given)


def _neighbours(evidence: Evidence) -> "Values":
    import numpy as np
    from sklearn.neighbors import NearestNeighbors
    from sklearn.preprocessing import normalize

    features = normalize(evidence.features)
    k = min(NEIGHBOURS, len(features) - 1)
    # On unit vectors Euclidean neighbours are those of the cosine.
    near = NearestNeighbors(n_neighbors=k).fit(features).kneighbors(return_distance=False)
    agreeing = (evidence.given[near] == evidence.given[:, None]).mean(axis=1)
    return np.asarray(agreeing, dtype=np.float64)


def _rank_average(evidence: Evidence) -> "Values":
    import numpy as np
    from scipy.stats import rankdata

    ranks = [rankdata(score(evidence)) for score in (_margin, _late_loss, _self_confidence)]
    return np.asarray(np.mean(ranks, axis=0) / len(evidence.given))


SCORES = {
    score.name: score
    for score in (
        Score(
            "posterior",
            "log odds that the label is right, by the networks and the estimated noise",
            _posterior,
            retrains=True,
        ),
        Score("margin", "logit of the given label minus the largest other, averaged over epochs", _margin),
        Score("late-loss", "minus the cross entropy, averaged over the last third of the epochs", _late_loss),
        Score("self-confidence", "held-out softmax of the given label", _self_confidence, True),
        Score(
            "normalised-margin",
            "held-out softmax of the given label minus the largest other",
            _normalised_margin,
            True,
        ),
        Score(
            "neighbours",
            f"share of the {NEIGHBOURS} nearest images in the network's features with the same given label",
            _neighbours,
            needs_features=True,
        ),
        Score("rank-average", "mean rank by margin, late-loss and self-confidence", _rank_average, True),
    )
}
DEFAULT = "posterior"


def score_called(name: str) -> Score:
    """The score of this name.  Raises UnknownName."""
    if name not in SCORES:
        raise UnknownName("score", name, SCORES)
    return SCORES[name]
