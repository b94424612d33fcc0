"""Which runs a report is about: conditions such as ``loss=lq``."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from noisybench.config import declared_fields
from noisybench.errors import InvalidValue, UnknownName, join_limited
from noisybench.registry import REGISTRIES, shortened

if TYPE_CHECKING:
    from pandas import DataFrame, Series


def select(runs: "DataFrame", where: Sequence[str]) -> tuple["DataFrame", list[str]]:
    """Return the runs that meet the conditions, and a sentence for each value that no run has.

    The runs have the names of noises as people read them: see `registry.shortened`.

    A condition is ``column=value``.  Several for one column are alternatives; all columns named must
    match.  A value has the type of its column, and ``none`` stands for a setting that was not given.
    A loss, noise, data set or model without parentheses matches all its hyper-parameters.
    Raises UnknownName for a column, InvalidValue for a value of the wrong type.
    """
    unmatched = []
    matches: dict[str, Series[bool]] = {}
    for condition in where:
        column, equals, value = condition.partition("=")
        if not equals:
            raise InvalidValue(f"'{condition}' is not a filter: write KEY=VALUE, such as loss=lq.")
        if column not in runs.columns:
            raise UnknownName("column of a run", column, runs.columns)
        match = _match(runs[column], value)
        if not match.any():
            known = join_limited(sorted(runs[column].dropna().unique())) or "none"
            unmatched.append(f"No run has {condition}. Known values of {column}: {known}.")
        matches[column] = matches[column] | match if column in matches else match
    for match in matches.values():
        runs = runs[match.loc[runs.index]]
    return runs.assign(noise=runs["noise"].map(shortened)), unmatched


def stem(name: str) -> str:
    """The bare name of a loss, noise, data set or model: ``lq`` of ``lq(q=0.7)``."""
    return re.split(r"[(@]", name, maxsplit=1)[0]


def _match(values: "Series[Any]", text: str) -> "Series[bool]":
    """Whether each of a column's values is the one that `text` stands for."""
    declared = declared_fields().get(str(values.name))
    if declared is None:
        is_number = values.dtype.kind in "iuf"
        return values.isin([_number(str(values.name), text)]) if is_number else values.astype(str).eq(text)
    if declared.option.kind:
        if "(" in text:
            return values.eq(str(REGISTRIES[declared.option.kind].bind(text)))
        return values.eq(text) | values.map(stem).eq(text)
    wanted = declared.read(str(values.name), None if text == "none" and declared.optional else text)
    if wanted is None:
        return values.isna()
    return values.isin([" ".join(map(str, wanted)) if declared.is_list else wanted])


def _number(name: str, text: str) -> float:
    """The number that is wanted of a column.  Raises InvalidValue."""
    try:
        return float(text)
    except ValueError:
        raise InvalidValue(f"{name} is '{text}', but must be a number.") from None
