"""From runs and their epochs to curves: mean and sample standard deviation over seeds, epoch by epoch."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from noisybench.errors import InvalidValue
from noisybench.reporting import cells as said
from noisybench.reporting.cells import Record
from noisybench.reporting.statistics import SCHEDULE, SETTINGS, WHOLE, as_records, rank
from noisybench.reporting.wording import listing

if TYPE_CHECKING:
    from pandas import DataFrame

# With one curve there is nothing to compare.
FEWEST = 2


@dataclass(frozen=True)
class Line:
    """One measure of one method against epochs.

    shade: where its colour lies between the darkest (0) and the lightest (1); lines of one shade have one
    colour and one marker.  n: the runs behind it.  points: one row per epoch, with the columns `epoch`,
    `mean`, `std` (sample standard deviation, n - 1; missing for one run) and `n`.
    """

    label: str
    shade: float
    dashed: bool
    n: int
    points: "DataFrame"


class Place(NamedTuple):
    """What the runs of a panel share.  noise: empty where the rate is 0, whatever its kind."""

    dataset: str
    noise: str
    rate: float

    def __str__(self) -> str:
        """As the heading of a panel."""
        noise = f"{self.noise}, η = {said.number(self.rate)}" if self.noise else "clean labels"
        return f"{self.dataset}, {noise}"


@dataclass(frozen=True)
class Setting:
    """The completed runs of one place and one setting.  title: the setting as in the title of a table."""

    place: Place
    title: str
    runs: "DataFrame"


def settings(runs: "DataFrame", figure: str) -> Iterator[Setting]:
    """The runs to compare, place by place in the order of a report.

    A setting that has runs of fewer losses than FEWEST is left out.  Raises InvalidValue for a place
    that has several settings: they are never averaged, and one panel cannot tell them apart.
    """
    ordered = runs.astype(WHOLE).sort_values(["dataset", "noise", "rate", "loss", "seed"], key=rank)
    # The kind of a noise that never strikes is no part of the place, yet tells runs apart.
    places = [ordered["dataset"], ordered["noise"].where(ordered["rate"] > 0, ""), ordered["rate"]]
    for _, of_place in ordered.groupby(places, sort=False):
        first = as_records(of_place.head(1))[0]
        place = Place(first["dataset"], first["noise"] if first["rate"] > 0 else "", first["rate"])
        by = [*SETTINGS, *SCHEDULE, *([] if place.noise else ["noise"])]
        found = [own for _, own in of_place.groupby(by, dropna=False) if own["loss"].nunique() >= FEWEST]
        records = [as_records(own.head(1))[0] for own in found]
        if len(records) > 1:
            raise InvalidValue(_ambiguous(figure, place, records, by))
        for record, own in zip(records, found, strict=True):
            yield Setting(place, said.title(place.dataset, record, ()), own)


def line(
    of: "DataFrame", epochs: "DataFrame", measure: str, label: str, shade: float, dashed: bool = False
) -> Line:
    """The curve of these runs.

    measure: a column of `Store.epochs`; accuracies become percent.
    """
    scale = 100 if measure.endswith("accuracy") else 1
    # Runs are put in order so that the last bit of a mean does not depend on the order of the rows.
    own = epochs[epochs["run"].isin(of["id"])].sort_values(["run", "epoch"])
    values = (scale * own[measure].astype(float)).groupby(own["epoch"])
    points = values.agg(mean="mean", std="std", n="count").reset_index()
    return Line(label, shade, dashed, len(of), points[points["n"] > 0])


def _ambiguous(figure: str, place: Place, records: Sequence[Record], by: Sequence[str]) -> str:
    """The settings that differ, and how to choose one."""
    choices = []
    for name in said.differing(records, by):
        values = dict.fromkeys(said.setting(name, record) for record in records)
        choices.append(f"{name}: {listing(f'--where {shlex.quote(value)}' for value in values)}")
    return (
        f"{figure} would average runs of different settings ({place}), which differ in these."
        f" Choose one value of each. {'; '.join(choices)}."
    )
