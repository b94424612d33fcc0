"""The declaration of an option: its help, type, bounds and unit, attached to an annotation.

A field of `Config` and a hyper-parameter of a loss are both declared as
``Annotated[type, Option(...)]``.  The command-line option, the key in YAML, the check of the value
and the message when it is wrong all come from that one declaration.
"""

import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

from noisybench.errors import InvalidValue


@dataclass(frozen=True)
class Option:
    """What is allowed and what it means.

    minimum, maximum: inclusive bounds of a number; `below` is an exclusive upper bound.
    choices: the only values allowed.
    kind: the registry whose names are allowed ("loss", "noise", "data set", "model").
    cli: whether the command line offers it under its own name.
    parse: brings a value of the right type to its canonical form, which it must leave as it is; raises
    InputError.
    """

    help: str
    minimum: float | None = None
    maximum: float | None = None
    below: float | None = None
    choices: tuple[str, ...] = ()
    kind: str = ""
    cli: bool = True
    parse: Callable[[Any], Any] | None = None

    @property
    def allowed(self) -> str:
        """The bounds in words, or an empty string."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if self.minimum is not None and self.maximum is not None:
            return f"from {self.minimum:.15g} to {self.maximum:.15g}"
        if self.minimum is not None and self.below is not None:
            return f"at least {self.minimum:.15g} and below {self.below:.15g}"
        if self.minimum is not None:
            return f"at least {self.minimum:.15g}"
        return ""


WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


@dataclass(frozen=True)
class OptionSpec:
    """An annotation taken apart: the plain type, whether None is allowed, and the `Option`."""

    type: Any
    optional: bool
    option: Option

    @classmethod
    def of(cls, annotation: Any) -> "OptionSpec":
        """The declaration in ``Annotated[type, Option(...)]``, or in a plain type, which allows any value.

        Raises InvalidValue for a type that cannot be read from a command line.
        """
        plain, option = annotation, Option("")
        if get_origin(annotation) is Annotated:
            plain, *extras = get_args(annotation)
            option = next((extra for extra in extras if isinstance(extra, Option)), option)
        members = get_args(plain) if get_origin(plain) in (Union, types.UnionType) else (plain,)
        inner, *others = [m for m in members if m is not type(None)]
        if others or inner not in WORDS and get_origin(inner) is not tuple:
            raise InvalidValue(f"{annotation} is not a type of an option: take int, float, bool or str.")
        return cls(inner, type(None) in members, option)

    @property
    def is_list(self) -> bool:
        return get_origin(self.type) is tuple

    def read(self, name: str, value: Any) -> Any:
        """The value with the declared type: texts are read, a list from words between commas or spaces.

        name: what a message calls the value.  Raises InvalidValue for another type or out of bounds.
        """
        if value is None and self.optional:
            return None
        if self.is_list:
            return self._read_list(name, value)
        return self._read_one(name, value, self.type)

    def _read_list(self, name: str, value: Any) -> tuple[Any, ...]:
        if isinstance(value, str):
            value = [part for part in value.replace(",", " ").split() if part]
        if not isinstance(value, list | tuple):
            value = [value]
        return tuple(self._read_one(name, item, get_args(self.type)[0]) for item in value)

    def _read_one(self, name: str, value: Any, wanted: type) -> Any:
        words = WORDS[wanted]
        allowed = self.option.allowed
        wrong = InvalidValue(
            f"{name} is {value!r}, but must be {words}{', ' + allowed if allowed else ''}."
            + (f" It is: {self.option.help}" if self.option.help else "")
        )
        if isinstance(value, str) and wanted is bool and value.lower() in ("true", "false"):
            value = value.lower() == "true"
        if isinstance(value, str) and wanted in (int, float):
            try:
                value = float(value)
            except ValueError:
                raise wrong from None
        if isinstance(value, bool) != (wanted is bool):
            raise wrong
        if wanted in (int, float):
            value = self._read_number(value, wanted, wrong)
        elif not isinstance(value, wanted):
            raise wrong
        if self.option.choices and value not in self.option.choices:
            raise wrong
        return value if self.option.parse is None else self.option.parse(value)

    def _read_number(self, value: Any, wanted: type, wrong: InvalidValue) -> Any:
        if not isinstance(value, int | float):
            raise wrong
        try:
            number = wanted(value) + 0  # -0.0 becomes 0.0: one value, one identity
        except (OverflowError, ValueError):  # infinity and NaN as int, an int beyond all floats
            raise wrong from None
        # Beyond 2**53 a text, which is read as a float, no longer says which whole number it is.
        if wanted is int and (number != value or abs(number) > 2**53):
            raise wrong
        self._check_bounds(number, wrong)
        return number

    def _check_bounds(self, value: float, wrong: InvalidValue) -> None:
        o = self.option
        inside = (
            (o.minimum is None or value >= o.minimum)
            and (o.maximum is None or value <= o.maximum)
            and (o.below is None or value < o.below)
            and abs(value) != float("inf")
        )
        if not inside or value != value:
            raise wrong
