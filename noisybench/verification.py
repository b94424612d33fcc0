"""Measuring the labels in a file, and drawing again those that the file claims to hold."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noisybench import datasets
from noisybench.config import Config
from noisybench.datasets.dataset import UNKNOWN
from noisybench.inputs import as_prepared, corrupt, labels_of
from noisybench.labels.drawing import Corruption, Labels, Matrix, realised_transition
from noisybench.labels.manifest import DRAWN_BY, Manifest
from noisybench.labels.open_set import OWN
from noisybench.registry import NOISES, shortened


@dataclass(frozen=True, eq=False)
class Verified:
    """What was measured on the labels in a file.

    given, clean: (n,) int64 in the prepared order; clean is negative where the truth is not known.
    placed: how the order of the file is known, or "".  recipe: the run that is claimed to draw these labels,
    or None; n_other: how many labels it draws otherwise.
    """

    file: str
    dataset: str
    classes: tuple[str, ...]
    given: Labels
    clean: Labels
    sha256: str
    placed: str
    recipe: Config | None
    n_other: int

    @property
    def rate(self) -> float | None:
        """The fraction of wrong labels among those whose truth is known."""
        known = self.clean != UNKNOWN
        return float((self.clean != self.given)[known].mean()) if known.any() else None

    @property
    def matrix(self) -> Matrix:
        """The realised transition matrix (classes, classes); a class without samples keeps its labels."""
        rows = realised_transition(self.clean, self.given, len(self.classes))
        return np.where(rows.sum(axis=1, keepdims=True) > 0, rows, np.eye(len(rows)))

    def matrix_csv(self) -> bytes:
        """`matrix` as the noise `matrix` reads it."""
        return "".join(",".join(f"{value:.6g}" for value in row) + "\n" for row in self.matrix).encode()

    def row(self) -> dict[str, Any]:
        """For machines."""
        recipe = None if self.recipe is None else {name: getattr(self.recipe, name) for name in DRAWN_BY}
        return {
            "file": self.file,
            "dataset": self.dataset,
            "n": len(self.given),
            "realised_rate": self.rate,
            "classes": list(self.classes),
            "realised_transition_matrix": self.matrix.tolist(),
            "sha256": self.sha256,
            "recipe": recipe,
            "other_labels_by_recipe": self.n_other if recipe else None,
        }

    def rate_in_words(self) -> str:
        if self.rate is None:
            return "No true labels are known, so that no rate can be measured."
        known = self.clean != UNKNOWN
        unknown = f" of the {known.sum():,} whose true label is known" if not known.all() else ""
        wrong = (self.clean != self.given)[known].sum()
        return f"Realised rate {self.rate:.4f}: {wrong:,} labels{unknown} are wrong."

    def recipe_in_words(self) -> str:
        if self.recipe is None:
            return "The file claims no noise that drew them; --noise, --rate and --seed can name one."
        c = self.recipe
        recipe = f"{shortened(c.noise)} noise {c.rate:g} ({c.draws} draws), seed {c.seed}, on {c.dataset}"
        if self.n_other:
            return f"{recipe}, does not make these labels: {self.n_other:,} of them are others."
        return f"{recipe}, makes exactly these labels."


def verified(text: str, order: Path | None, options: Mapping[str, Any]) -> Verified:
    """Measure the labels in ``FILE[:KEY]``, and draw those that the file, or `options`, say they are.

    order: as of `labels_of`.  options: fields of Config, None where not given.  Raises InputError.
    """
    labels, placed = labels_of(text, order, options.get("dataset"))
    asked = {name: value for name, value in options.items() if value is not None}
    clean = labels.clean
    if isinstance(labels, Manifest):
        if "noise" not in asked:
            NOISES.bind(labels.noise)  # Config would execute a file of code, which only the user may name
        asked = {**{name: getattr(labels, name) for name in DRAWN_BY}, **asked}
    recipe = as_prepared(Config.from_user(**asked)) if asked.keys() - {"dataset"} else None
    dataset = datasets.load(asked.get("dataset", Config.dataset))
    labels.fit(dataset)
    found = labels.corruption
    drawn = found if recipe is None else corrupt(recipe, dataset)
    return Verified(
        file=text,
        dataset=dataset.name,
        classes=dataset.classes,
        given=found.given,
        clean=np.full(len(found.given), UNKNOWN) if clean is None else clean,
        sha256=found.sha256,
        placed=placed,
        recipe=recipe,
        n_other=int(_differs(drawn, found).sum()),
    )


def _differs(drawn: Corruption, found: Corruption) -> NDArray[np.bool_]:
    """Whether the label of each image, or the image under it, is another one, (n,)."""
    a, b = (OWN if each.open_set is None else each.open_set.origin for each in (drawn, found))
    return np.asarray((drawn.given != found.given) | (a != b))
