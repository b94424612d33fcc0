"""One way to register and to look up a loss, a noise, a data set, a model.

An entry is one decorated function.  Its keyword-only parameters with defaults are its
hyper-parameters, declared as ``Annotated[type, Option(...)]``; the first line of its docstring is
its help text.  `Registry.bind` reads the text a user writes, such as ``lq(q=0.5)``, into a `Bound`
entry whose `str` is the canonical form with the hyper-parameters spelled out, so that ``lq`` and
``lq(q=0.7)`` are the same.  Only a text that is empty by default is left out while it is empty.
"""

import ast
import importlib
import inspect
import keyword
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from noisybench.errors import InvalidValue, UnknownName
from noisybench.options import Declared

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Entry:
    """A registered function: its name, help, hyper-parameters and what else was said of it."""

    name: str
    function: Callable[..., Any]
    help: str
    parameters: Mapping[str, Declared]
    defaults: Mapping[str, Any]
    needs: tuple[str, ...]
    about: Mapping[str, Any]


@dataclass(frozen=True)
class Bound:
    """An entry with a value for each of its hyper-parameters; `str` of it is the canonical form."""

    entry: Entry
    arguments: Mapping[str, Any] = field(hash=False)

    def __str__(self) -> str:
        defaults = self.entry.defaults
        shown = ", ".join(
            f"{name}={_show(value)}"
            for name, value in self.arguments.items()
            if (value, defaults[name]) != ("", "")
        )
        return f"{self.entry.name}({shown})" if shown else self.entry.name

    def __call__(self, *args: Any, **context: Any) -> Any:
        """Call the entry's function; of `context`, only what its signature asks for is handed on."""
        wanted = {name: context[name] for name in self.entry.needs}
        return self.entry.function(*args, **wanted, **self.arguments)


def _show(value: Any) -> str:
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    if isinstance(value, str):
        # Bare only where `_arguments` reads the same text back: not "1e3", "a-b", "None" or "ﬁ".
        bare = value.isascii() and value.isidentifier() and not keyword.iskeyword(value)
        return value if bare else repr(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


class Registry:
    """The known entries of one kind; the module that defines them is imported on first use."""

    def __init__(self, kind: str, module: str) -> None:
        self.kind = kind
        self.module = module
        self._entries: dict[str, Entry] = {}

    def register(self, name: str, **about: Any) -> Callable[[F], F]:
        """Decorate a function as the entry `name`; `about` is kept for those who use the entry."""

        def decorate(function: F) -> F:
            assert name not in self._entries, f"two {self.kind} entries are called {name}"
            keywords = [
                p for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY
            ]
            bound = {p.name: p for p in keywords if p.default is not p.empty}
            self._entries[name] = Entry(
                name=name,
                function=function,
                help=(inspect.getdoc(function) or "").partition("\n")[0],
                parameters={n: Declared.of(p.annotation) for n, p in bound.items()},
                defaults={n: p.default for n, p in bound.items()},
                needs=tuple(p.name for p in keywords if p.default is p.empty),
                about=about,
            )
            return function

        return decorate

    def _loaded(self) -> dict[str, Entry]:
        importlib.import_module(self.module)
        return self._entries

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._loaded().values())

    def __getitem__(self, name: str) -> Entry:
        entries = self._loaded()
        if name not in entries:
            raise UnknownName(self.kind, name, entries)
        return entries[name]

    def bind(self, text: str, shorthand: Mapping[str, Any] | None = None) -> Bound:
        """Read ``name`` or ``name(parameter=value, ...)``; `shorthand` holds further values.

        Raises UnknownName or InvalidValue.
        """
        match = re.fullmatch(r"\s*([\w.-]+)\s*(?:\((.*)\))?\s*", text, re.DOTALL)
        if match is None:
            raise InvalidValue(f"'{text}' is not a {self.kind}: write it as name or name(parameter=value).")
        entry = self[match[1]]
        written = _arguments(text, match[2] or "")
        if twice := written.keys() & (shorthand or {}).keys():
            raise InvalidValue(f"{', '.join(sorted(twice))} is given twice: in '{text}' and by itself.")
        given = {**written, **(shorthand or {})}
        for name in given:
            if name not in entry.parameters:
                raise UnknownName(f"parameter of {self.kind} {entry.name}", name, entry.parameters)
        arguments = {
            name: declared.read(f"{name} of {self.kind} {entry.name}", given.get(name, entry.defaults[name]))
            for name, declared in entry.parameters.items()
        }
        return Bound(entry, arguments)


def _arguments(text: str, inside: str) -> dict[str, Any]:
    """Read ``q=0.5, k=0.3``; a bare word is a string."""
    problem = InvalidValue(f"'{text}' cannot be read: write parameters as name=value, separated by commas.")
    unreadable = (SyntaxError, ValueError, TypeError, RecursionError, MemoryError)  # as `ast` documents
    try:
        call = ast.parse(f"f({inside})", mode="eval").body
    except unreadable:
        raise problem from None
    # "q=1)(q=2" is a call too, of what f(q=1) returns.
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
        raise problem
    values: dict[str, Any] = {}
    for given in call.keywords:
        if given.arg is None or given.arg in values:
            raise problem
        if isinstance(given.value, ast.Name):
            values[given.arg] = given.value.id
            continue
        try:
            values[given.arg] = ast.literal_eval(given.value)
        except unreadable:
            raise problem from None
    return values


LOSSES = Registry("loss", "noisybench.losses")
NOISES = Registry("noise", "noisybench.labels.noises")
DATASETS = Registry("data set", "noisybench.datasets")
MODELS = Registry("model", "noisybench.models")
KINDS = {registry.kind: registry for registry in (LOSSES, NOISES, DATASETS, MODELS)}


def hyper_parameters() -> dict[str, list[tuple[Registry, Entry]]]:
    """Every hyper-parameter by name, with the entries that have it: the shorthands such as --q."""
    found: dict[str, list[tuple[Registry, Entry]]] = {}
    for registry in KINDS.values():
        for entry in registry:
            for name in entry.parameters:
                found.setdefault(name, []).append((registry, entry))
    return found
