"""Published numbers to compare runs with.

A source is one line of SOURCES, and each of its tables a CSV file beside this one: data set, loss, noise
and rate as the columns of a run; mean and std in percent; n, the runs that were averaged; origin, who
measured.  std and n are empty where they were not published.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from noisybench.config import Config
from noisybench.errors import UnknownName
from noisybench.methods import method_of
from noisybench.registry import DATASETS, METHODS, NOISES, Registry

Place = tuple[str, str, str, float]


class PublishedValue(NamedTuple):
    """A published mean in percent, its standard deviation and number of runs if known, and who says so."""

    mean: float
    std: float | None
    n: int | None
    origin: str


@dataclass(frozen=True)
class Source:
    """A table that was published.

    protocol: how its runs differ from the protocol of their data set, by fields of Config.
    notes: what must be known to read it.
    """

    title: str
    file: str
    protocol: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def config(self, dataset: str, loss: str) -> Config:
        """How the published runs of a loss were set up; a loss's own protocol stays, but for the length."""
        own = method_of(METHODS.bind(loss)).protocol.keys() - {"epochs"}
        usual = {name: value for name, value in self.protocol.items() if name not in own}
        return Config.create(dataset=dataset, loss=loss, **usual)

    def numbers(self) -> dict[Place, PublishedValue]:
        """The numbers by data set, loss, noise and rate, names in canonical form."""
        with (Path(__file__).parent / self.file).open(encoding="utf-8", newline="") as lines:
            return {
                (
                    _canonical(DATASETS, row["dataset"]),
                    _canonical(METHODS, row["loss"]),
                    _canonical(NOISES, row["noise"]),
                    float(row["rate"]),
                ): PublishedValue(
                    mean=float(row["mean"]),
                    std=float(row["std"]) if row["std"] else None,
                    n=int(row["n"]) if row["n"] else None,
                    origin=row["origin"],
                )
                for row in csv.DictReader(lines)
            }


def _canonical(registry: Registry[Any], name: str) -> str:
    """The name as runs have it; one that is not known here stays as it is."""
    try:
        return str(registry.bind(name))
    except UnknownName:
        return name


UNIFORM = (
    "The published uniform noise is read as uniform, as section 3.1 of the paper defines it; section 4.2"
    " can also be read as uniform-inclusive, which is compared with nothing here."
)

# By the name of --against, then by that of --table.
SOURCES: dict[str, dict[str, Source]] = {
    "paper": {
        "closed-set": Source("Table 1 of Zhang & Sabuncu 2018", "table1.csv", notes=(UNIFORM,)),
        "open-set": Source(
            "Table 2 of Zhang & Sabuncu 2018",
            "table2.csv",
            protocol={
                "model": "cnn6(width=64)",
                "epochs": 100,
                "milestones": (40, 80),
                "augment": "none",
                "draws": "exact",
                "prune_from": 10,
                "prune_every": 10,
            },
            notes=(
                UNIFORM,
                "The published row Forward is read as forward-that; it, cce and wang2018 are quoted there"
                " from Wang et al. 2018.",
                "What the paper does not say of this table, such as the optimiser and its learning rate, it"
                " took from Wang et al. 2018; runs are held against the protocol of the data set there.",
            ),
        ),
    },
}


def find_source(name: str, table: str) -> Source:
    """The published table to compare with.  Raises UnknownName."""
    if name not in SOURCES:
        raise UnknownName("published source", name, SOURCES)
    if table not in SOURCES[name]:
        raise UnknownName(f"table published by {name}", table, SOURCES[name])
    return SOURCES[name][table]
