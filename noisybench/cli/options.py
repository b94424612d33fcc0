"""Command-line options from the declarations of Config and of the registries."""

import inspect
import shlex
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from itertools import chain
from types import MappingProxyType
from typing import Annotated, Any

import typer

from noisybench.config import Config, declared_fields
from noisybench.options import OptionSpec
from noisybench.registry import REGISTRIES, Entry, hyper_parameters

METAVARS = {int: "INTEGER", float: "NUMBER", str: "TEXT", bool: "true|false"}


def config_options(
    *names: str, defaults: Mapping[str, str] = MappingProxyType({})
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add an option to a command for each of these fields of Config; without names, for all.

    defaults: in words, where a field's own default is not that of the command.
    The hyper-parameters of what these fields name are added as shorthands (--q for --loss "lq(q=...)").  The
    command takes the options as ``**values`` for `Config.create`, None if not given.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        added = [_parameter(name, *described) for name, described in _described(names, defaults).items()]
        # Typer reads the signature; the command itself is left alone.
        command.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[*added, *(p.replace(kind=p.KEYWORD_ONLY) for p in own)]
        )
        command.__annotations__ = {p.name: p.annotation for p in [*added, *own]}
        return command

    return decorate


def _described(names: tuple[str, ...], others: Mapping[str, str]) -> dict[str, tuple[OptionSpec, str]]:
    """The declaration and the help text of each option, the hyper-parameters after the fields."""
    defaults = {f.name: f.default for f in fields(Config) if f.default not in (MISSING, None)}
    described: dict[str, tuple[OptionSpec, str]] = {}
    kinds = set()
    for name, declared in declared_fields().items():
        if declared.option.cli and (not names or name in names):
            default = others.get(name, defaults.get(name))
            text = _help(declared)
            if name in others:
                text = text.partition(" [default:")[0]
            described[name] = declared, text + ("" if default is None else f" [default: {default}]")
            kinds.add(declared.option.kind)
    for name, owners in hyper_parameters().items():
        chosen = [(registry, entry) for registry, entry in owners if registry.kind in kinds]
        if chosen and chosen[0][1].parameters[name].option.cli:
            declared = chosen[0][1].parameters[name]
            default = ", ".join(_default_of(entry, name) for _, entry in chosen)
            described[name] = declared, f"{_help(declared)} [{default}]"
    return described


def option_name(field: str) -> str:
    """The option of a field of Config."""
    return f"--{field.replace('_', '-')}"


def train_command(options: Mapping[str, Any]) -> str:
    """The command that trains a run with these options, in their order, None if not given."""
    given = {option_name(name): as_typed(value) for name, value in options.items() if value is not None}
    return shlex.join(["noisybench", "train", *chain.from_iterable(given.items())])


def as_typed(value: Any) -> str:
    """A value as it is written on the command line."""
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _known(declared: OptionSpec) -> list[tuple[str, str]]:
    """The values that a shell offers for an option, with their help."""
    if declared.option.kind:
        return [(entry.name, entry.help) for entry in REGISTRIES[declared.option.kind]]
    return [(choice, "") for choice in declared.option.choices]


def _help(declared: OptionSpec) -> str:
    option = declared.option
    known = ", ".join(entry.name for entry in REGISTRIES[option.kind]) if option.kind else option.allowed
    # What is allowed goes before a remark on the default.
    text, bracket, remark = option.help.partition(" [")
    return f"{text}: {known}{bracket}{remark}" if known else option.help


def _default_of(entry: Entry[Any], name: str) -> str:
    """The name of an entry, with the default of its hyper-parameter where there is one."""
    default = entry.defaults[name]
    return entry.name if default in (None, "") else f"{entry.name}: {default}"


def _parameter(name: str, declared: OptionSpec, text: str) -> inspect.Parameter:
    metavar = "INTEGERS" if declared.is_list else METAVARS[declared.type]
    # Values stay text here: Config reads them, so that a wrong one gets the same message everywhere.
    option = typer.Option(
        option_name(name),
        help=text,
        metavar=metavar,
        autocompletion=lambda incomplete: [
            known for known in _known(declared) if known[0].startswith(incomplete)
        ],
    )
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, option]
    )
