"""The space of a search: the options of a run that are searched, with their values."""

import math
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from noisybench.config import NAMED, Config, declared_fields
from noisybench.errors import InputError, InvalidValue
from noisybench.inputs import Inputs, with_inputs
from noisybench.registry import REGISTRIES, hyper_parameters

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Value = int | float | str | bool | None
Setting = dict[str, Value]

# The options that define the task: validation accuracies of different tasks do not compare.
TASK = ("dataset", "noise", "rate", "draws", "seed", "train_size", "validation")

RANGE = re.compile(r"(?P<low>[^,]*?)\.\.(?P<high>[^,]*?)(?P<log>:log)?")
HOW = "write NAME=LOW..HIGH, NAME=LOW..HIGH:log or NAME=A,B,C, such as q=0.3..1.0, lr=0.001..0.1:log"


@dataclass(frozen=True)
class Axis:
    """A setting that is searched: a list of choices, or the numbers from `low` to `high`.

    log: whether a range is searched evenly in the logarithm.
    """

    name: str
    choices: tuple[Value, ...] = ()
    low: float = 0
    high: float = 0
    log: bool = False

    def holds(self, value: Value) -> bool:
        """Whether the value lies on the axis."""
        if self.choices:
            return value in self.choices
        return isinstance(value, int | float) and self.low <= value <= self.high

    def distribution(self) -> "BaseDistribution":
        """The axis as Optuna has it."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.choices:
            return CategoricalDistribution(self.choices)
        if isinstance(self.low, int) and isinstance(self.high, int):
            return IntDistribution(self.low, self.high, log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)

    def rounded(self, value: Value) -> Value:
        """A value rounded to about three digits, as a user would write it."""
        if self.choices or not isinstance(value, float):
            return value
        scale = value if self.log else self.high - self.low
        return min(max(round(value, 2 - math.floor(math.log10(scale))), self.low), self.high)


@dataclass(frozen=True)
class Space:
    """What a search may choose.  given, files: the options and files that all runs share."""

    given: Mapping[str, Any]
    axes: tuple[Axis, ...]
    files: Inputs = Inputs()

    @classmethod
    def read(
        cls,
        given: Mapping[str, Any],
        over: Sequence[str],
        files: Inputs = Inputs(),  # noqa: B008  (frozen)
    ) -> "Space":
        """The space of what the user wrote: NAME=LOW..HIGH[:log] or NAME=A,B,C.

        The declarations of Config and of the registries say what is allowed.  Raises InputError.
        """
        given = {name: value for name, value in given.items() if value is not None}
        written: dict[str, list[str]] = {}
        log = {}
        for text in over:
            name, _, values = text.partition("=")
            name = name.strip().replace("-", "_")
            found = RANGE.fullmatch(values.strip())
            ends = [found["low"], found["high"]] if found else _listed(values)
            if not name or not all(end.strip() for end in ends):
                raise InvalidValue(f"--over '{text}' cannot be read: {HOW}.")
            if name in written or name in given:
                raise InvalidValue(
                    f"{name} is given twice: either search it with --over, or give it one value."
                )
            _refuse_task(name)
            written[name], log[name] = ends, None if found is None else bool(found["log"])
        if not written:
            raise InvalidValue(f"There is nothing to search: give --over; {HOW}.")
        first = {name: ends[0] for name, ends in written.items()}
        axes = []
        for name, ends in written.items():
            configs = [_config({**given, **first, name: end}, first.keys()) for end in ends]
            axes.append(_axis(name, [value_of(config, name) for config in configs], log[name]))
        return cls(given, tuple(axes), files)

    @property
    def first(self) -> Setting:
        """A setting in the space: the first choices and the lower ends."""
        return {axis.name: axis.choices[0] if axis.choices else axis.low for axis in self.axes}

    def distributions(self) -> "dict[str, BaseDistribution]":
        """The axes as Optuna has them, by name."""
        return {axis.name: axis.distribution() for axis in self.axes}

    def run(self, setting: Setting, seed: int) -> tuple[Config, Inputs]:
        """The run of a setting at a seed, and the files that it needs.  Raises InputError where its values do
        not go together."""
        return with_inputs({**self.given, **setting, "seed": seed}, self.files)

    def config(self, setting: Setting, seed: int) -> Config:
        """The run of a setting at a seed."""
        return self.run(setting, seed)[0]

    def setting(self, config: Config) -> Setting | None:
        """The setting that `config` is a run of, at some seed; None for a run outside the space."""
        setting = {axis.name: value_of(config, axis.name) for axis in self.axes}
        if not all(axis.holds(setting[axis.name]) for axis in self.axes):
            return None
        with suppress(InputError):
            return setting if self.config(setting, config.seed).identity == config.identity else None
        return None


def value_of(config: Config, name: str) -> Value:
    """The value of a field of a run, or of a hyper-parameter of what it names; None if there is none."""
    if name in declared_fields():
        value: Value = getattr(config, name)
        return value
    for field in NAMED:
        with suppress(InputError):
            arguments = config.bound(field).arguments
            if name in arguments:
                return arguments[name]  # type: ignore[no-any-return]
    return None


def _config(values: Mapping[str, Any], searched: Collection[str]) -> Config:
    """The run of these values.  Raises InvalidValue, with those that are searched, where they do not go
    together."""
    try:
        return Config.from_user(**values)
    except InputError as error:
        if len(searched) == 1:
            raise
        setting = ", ".join(f"{name}={values[name]}" for name in searched)
        raise InvalidValue(f"{error} (Setting: {setting}. Any searched values must fit together.)") from None


def _listed(text: str) -> list[str]:
    """The parts between commas; commas in brackets, as in lq(q=0.5, k=0.3), do not count."""
    return [part.strip() for part in re.split(r",(?![^()]*\))", text)]


def _refuse_task(name: str) -> None:
    """Raise InvalidValue for an option that defines the task."""
    of_noise = any(registry is REGISTRIES["noise"] for registry, _ in hyper_parameters().get(name, ()))
    if name in TASK or of_noise:
        raise InvalidValue(
            f"{name} belongs to the task and cannot be searched: validation accuracies of different tasks do"
            f" not compare. Give it one value, with --{name.replace('_', '-')}."
        )


def _axis(name: str, values: list[Value], log: bool | None) -> Axis:
    """The axis of these values as Config has read them.  log: None for a list."""
    if any(isinstance(value, tuple) for value in values):
        raise InvalidValue(f"{name} is itself a list of numbers and cannot be searched. Give it one value.")
    if log is None:
        return Axis(name, tuple(dict.fromkeys(values)))
    low, high = values
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    if not numbers or low is None or high is None:
        raise InvalidValue(f"{name} is not a number, so it has no range. Give a list, as in {name}=A,B,C.")
    assert isinstance(low, int | float) and isinstance(high, int | float)
    if low >= high:
        raise InvalidValue(f"{name}={low:g}..{high:g} is empty: a range goes from a number to a greater one.")
    if log and low <= 0:
        raise InvalidValue(f"{name} begins at {low:g}, but a range with :log must begin above 0.")
    return Axis(name, (), low, high, log)
