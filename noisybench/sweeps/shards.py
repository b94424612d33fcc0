"""Shards: parts of a grid for several machines, each of which trains its part into its own store."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from noisybench.config import Config, first_stage
from noisybench.errors import InvalidValue
from noisybench.sweeps.estimate import kind_of


@dataclass(frozen=True)
class Shard:
    """The `number`-th of `count` parts, counted from 1."""

    number: int
    count: int

    @classmethod
    def read(cls, text: str) -> "Shard":
        """The shard written as "3/16".  Raises InvalidValue."""
        match = re.fullmatch(r"([0-9]+)/([0-9]+)", text.strip())
        shard = cls(*map(int, match.groups())) if match else None
        if shard is None or not 1 <= shard.number <= shard.count:
            raise InvalidValue(f"shard is '{text}', but must be K/N with K from 1 to N, such as 3/16.")
        return shard

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def of(self, configs: Sequence[Config]) -> list[Config]:
        """The part of the configs that belongs to this shard, in their order.

        The parts 1 to `count` are disjoint, and together they are all configs.  They depend only on which
        configs there are: not on their order, nor on a store.  Units are dealt out kind by kind, each kind
        from where the last one ended, so that the parts differ by at most one unit of each kind, and by at
        most one unit in all.
        """
        units = _units(configs)
        mine = {config for key in sorted(units)[self.number - 1 :: self.count] for config in units[key]}
        return [config for config in configs if config in mine]


Key = tuple[str, str]


def _units(configs: Sequence[Config]) -> dict[Key, list[Config]]:
    """The configs that must stay together, under the kind and the name of their unit.

    A unit is a run with all runs that it is the first stage of: two machines would train it twice.
    """
    members: dict[Config, list[Config]] = {}
    for config in dict.fromkeys(configs):
        members.setdefault(first_stage(config) or config, []).append(config)
    return {(_kind(stage, [stage, *found]), stage.identity): found for stage, found in members.items()}


def _kind(stage: Config, found: Sequence[Config]) -> str:
    """What the cost of a unit depends on: the length, the kind and the number of its runs.

    A first stage counts even if the experiment does not name it, since it is trained all the same.
    """
    trainings = sorted({config.identity: str(kind_of(config)) for config in found}.values())
    return f"{stage.epochs} epochs of {trainings}"
