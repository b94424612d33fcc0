"""The diagnosis of labels: networks are trained and watched, labels scored, the noise estimated."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from noisybench.config import Config
from noisybench.datasets import Dataset
from noisybench.diagnosis.estimate import Estimate, estimate
from noisybench.diagnosis.injection import Calibration, calibrate, calibrated, inject
from noisybench.diagnosis.observing import (
    Labels,
    Observation,
    Part,
    Weight,
    by_accuracy,
    digest_of,
    in_second_half,
    observe,
    parts,
)
from noisybench.diagnosis.scores import DEFAULT, Evidence, Score, log_odds, score_called
from noisybench.errors import InvalidValue
from noisybench.labels.drawing import labels_sha256
from noisybench.results import Epoch
from noisybench.seeding import generator
from noisybench.training.loop import TOO_FEW

FOLDS = 5
# Networks that are trained without the suspects.
RETRAINED = 2
Watch = Callable[[int, Epoch], None]


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """Which labels are wrong, how many and in what way.

    rows: (n,), of the training images of the data set that are diagnosed; the arrays that follow are in their
    order.  given: their labels.  scores: the lower, the more likely the label is wrong.  suggested: the most
    likely class other than the given one.  probability: (n, classes), the softmax averaged over networks.
    estimate: of the noise.  calibration: what the ranking finds of labels made wrong on purpose.
    val_accuracy: for each network, the share of held-out images predicted as their given label, by epoch.
    """

    rows: Labels
    given: Labels
    scores: NDArray[np.float64]
    suggested: Labels
    probability: NDArray[np.float64]
    estimate: Estimate
    calibration: Calibration
    val_accuracy: Sequence[Sequence[float]]

    @property
    def rate(self) -> float:
        """The estimated fraction of wrong labels."""
        return self.estimate.rate

    @property
    def interval(self) -> tuple[float, float]:
        """Where the fraction of wrong labels lies."""
        return self.estimate.interval

    @property
    def transition(self) -> NDArray[np.float64]:
        """The estimated transition matrix (classes, classes), from true to given classes."""
        return self.estimate.transition

    @property
    def order(self) -> Labels:
        """Places of the labels, the most suspicious first."""
        return np.argsort(self.scores, kind="stable")

    @property
    def n_flagged(self) -> int:
        """The number of labels to distrust: the estimated number of wrong ones."""
        return round(self.rate * len(self.rows))

    @property
    def flagged(self) -> NDArray[np.bool_]:
        """Which labels to distrust: (n,)."""
        flagged = np.zeros(len(self.rows), np.bool_)
        flagged[self.order[: self.n_flagged]] = True
        return flagged


def diagnosed_rows(config: Config, dataset: Dataset) -> Labels:
    """The rows of the training images that are diagnosed: all, or a random subset of `train_size`.

    Raises InvalidValue if there are fewer.
    """
    total = len(dataset.train_labels)
    wanted = config.train_size or total
    if wanted > total:
        raise InvalidValue(f"train_size is {wanted}, but {dataset.name} has {total} training images.")
    if wanted == total:
        return np.arange(total)
    return np.sort(generator(config.seed, "subset").permutation(total)[:wanted])


def check_method(config: Config) -> None:
    """Raise InvalidValue for a loss that cannot be watched here."""
    method = config.method
    if method.has_schedule or method.needs_transition or method.first_stage:
        raise InvalidValue(
            f"loss is {config.loss}, which drops samples or needs a transition matrix. Diagnose with cce, or"
            " another loss without these."
        )


def diagnose(
    config: Config,
    dataset: Dataset,
    given: Labels,
    folder: Path,
    *,
    score: str = DEFAULT,
    networks: int | None = None,
    folds: int = FOLDS,
    device: torch.device | None = None,
    precision: str = "fp32",
    watch: Watch = lambda network, epoch: None,
) -> Diagnosis:
    """Diagnose the labels of a data set's training images.

    config: how the networks are trained; its model, epochs, loss, seed, train_size count.  given: the labels
    of all training images.  folder: where trainings keep their state; a diagnosis that was killed goes on
    from there.  score: a name in `scores.SCORES`.  networks: how many are trained, at least 2, by default as
    many as `folds`; network k holds out fold k.  All but the first have some more labels made wrong.  A score
    that retrains has up to RETRAINED more, trained without the labels that the others flag.  watch:
    called with the number of a network, from 0, and each of its epochs.  Raises InputError or RunFailed.
    """
    chosen = score_called(score)
    check_method(config)
    device = device or torch.device("cpu")
    rows = diagnosed_rows(config, dataset)
    count = n_networks(chosen, networks, folds)
    own = given[rows]
    if len(rows) < 2 * folds:
        raise InvalidValue(f"There are {len(rows)} images, too few to divide into {folds} folds.")
    planned = parts(len(rows), folds, count, own, config.seed)
    observations: list[Observation] = []

    def observed(number: int, part: Part, weight: Weight) -> Observation:
        training = replace(config, seed=config.seed + number)
        with_features = chosen.needs_features and number == 0
        return observe(
            training,
            dataset,
            rows,
            part,
            device,
            precision,
            folder / digest_of(training, labels_sha256(own), part, with_features),
            weight,
            with_features,
            show=lambda epoch: watch(number, epoch),
        )

    for number, part in enumerate(planned):
        if number:
            part = _injected(part, planned[0], observations[0], own, config.seed + number)
            planned[number] = part
        observations.append(observed(number, part, by_accuracy))

    evidence = _evidence(own, planned, observations)
    seen = ~np.isnan(evidence.held_out[:, 0])
    anchors = estimate(evidence.held_out[seen], own[seen])
    evidence = replace(evidence, transition=anchors.smoothed)
    calibration = _calibration(chosen, evidence, planned, observations)
    diagnosis = Diagnosis(
        rows=rows,
        given=own,
        scores=chosen.compute(evidence),
        suggested=log_odds(evidence).argmax(axis=1),
        probability=np.where(
            seen[:, None], (evidence.probability + evidence.held_out) / 2, evidence.probability
        ),
        estimate=calibrated(anchors, calibration, len(rows)),
        calibration=calibration,
        val_accuracy=[observation.val_accuracy for observation in observations],
    )
    flagged = diagnosis.flagged
    # Networks that are wrong about half of the images leave out right labels, and learn less from the fewer.
    weight = max(0.0, 1 - (2 * diagnosis.estimate.error) ** 3)
    if not chosen.retrains or not weight or not flagged.any() or (~flagged).sum() < TOO_FEW:
        return diagnosis
    part = Part(np.flatnonzero(~flagged), np.flatnonzero(flagged), own, injected=np.empty(0, np.int64))
    numbers = range(count, count + RETRAINED)
    later = [observed(number, part, in_second_half(config.epochs)) for number in numbers]
    retrained = _evidence(own, [part] * RETRAINED, later)
    both = (1 - weight) * evidence.log_probability + weight * retrained.log_probability
    evidence = replace(evidence, log_probability=both)
    return replace(diagnosis, scores=chosen.compute(evidence), suggested=log_odds(evidence).argmax(axis=1))


def n_networks(score: Score, networks: int | None, folds: int) -> int:
    """How many networks to train: as many as asked for, else one a fold; one a fold at least for a score that
    needs each image held out.  Raises InvalidValue."""
    networks = folds if networks is None else networks
    if networks < 2 or folds < 2:
        raise InvalidValue("At least 2 networks and 2 folds are needed: one judges what the other held out.")
    return max(networks, folds) if score.needs_held_out else networks


def _injected(part: Part, first: Part, observation: Observation, given: Labels, seed: int) -> Part:
    """The part with labels made wrong in the way that the first network makes out."""
    believed = np.empty(len(given), np.int64)
    believed[first.inside] = observation.probability.argmax(axis=1)
    believed[first.outside] = observation.held_out.argmax(axis=1)
    transition = estimate(observation.held_out, given[first.outside]).transition
    return inject(part, first.inside, believed, transition, seed)


def _calibration(
    score: Score, evidence: Evidence, planned: list[Part], observations: list[Observation]
) -> Calibration:
    """What the ranking by each network alone finds of the labels that were injected for it."""
    scored = []
    for part, observation in zip(planned[1:], observations[1:], strict=True):
        alone = _evidence(part.labels, [replace(part, injected=part.injected[:0])], [observation])
        alone = replace(
            alone, held_out=evidence.held_out, features=evidence.features, transition=evidence.transition
        )
        values = score.compute(alone.at(part.inside))
        scored.append((values, np.isin(part.inside, part.injected)))
    return calibrate(scored)


def _evidence(given: Labels, planned: list[Part], observations: list[Observation]) -> Evidence:
    """What the networks observed, in the order of the images."""
    n, n_classes = len(given), observations[0].probability.shape[1]
    margin = np.full((len(planned), n), np.nan)
    late_loss = np.full((len(planned), n), np.nan)
    sums = {name: np.zeros((n, n_classes)) for name in ("probability", "log_probability", "held_out")}
    counts = {name: np.zeros((n, 1)) for name in sums}
    for k, (part, observation) in enumerate(zip(planned, observations, strict=True)):
        honest = ~np.isin(part.inside, part.injected)
        places = part.inside[honest]
        margin[k, places] = observation.margin[honest]
        late_loss[k, places] = observation.late_loss[honest]
        for name, at, values in (
            ("probability", places, observation.probability[honest]),
            ("log_probability", places, observation.log_probability[honest]),
            ("log_probability", part.outside, observation.held_out_log),
            ("held_out", part.outside, observation.held_out),
        ):
            sums[name][at] += values
            counts[name][at] += 1
    means = {
        name: np.where(counts[name] > 0, sums[name] / np.maximum(counts[name], 1), np.nan) for name in sums
    }
    features = observations[0].features
    if len(features):
        # In the order in which they were computed: images inside, then images held out.
        ordered = np.empty_like(features)
        ordered[np.concatenate([planned[0].inside, planned[0].outside])] = features
        features = ordered
    return Evidence(given, margin, late_loss, **means, features=features, transition=np.eye(n_classes))
