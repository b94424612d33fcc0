"""One way to register and to look up a method, a noise, a data set, a model.

An entry is one decorated function or class.  Its hyper-parameters are keyword-only parameters with
defaults (of a function) or annotated fields with defaults (of a class), declared as ``Annotated[type,
Option(...)]``; the first line of its docstring is its help text.  What else is known of it is typed
metadata: a misspelt key is an error at registration.

`Registry.bind` reads the text a user writes, such as ``lq(q=0.5)``, into a `Bound` entry whose `str` is the
canonical form with the hyper-parameters spelled out, so that ``lq`` and ``lq(q=0.7)`` are the same.  Only
what is empty or None by default is left out while it is that.

Entries come from noisybench itself, from entry points of installed packages (the group of each registry),
and from files of the user: ``path/to/file.py:name``.
"""

import ast
import functools
import hashlib
import importlib
import inspect
import keyword
import linecache
import re
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from noisybench.errors import DataError, InputError, InvalidValue, UnknownName
from noisybench.files import located
from noisybench.options import OptionSpec

F = TypeVar("F", bound=Callable[..., Any])
M = TypeVar("M")

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class NoMetadata:
    """Of entries of which nothing else is known."""


@dataclass(frozen=True)
class MethodInfo:
    """year: of the paper, None without one.  passes: how often an epoch's images go through a network, with a
    first stage if there is one; cross entropy has 1.  aliases: other names, with which a message answers.
    compared: the hyper-parameters, as a user writes them, with which `diagnose` compares it with others on
    data whose noise is unknown; "" for its defaults, and nothing for a loss that is not compared."""

    year: int | None = None
    passes: int = 1
    aliases: tuple[str, ...] = ()
    compared: tuple[str, ...] = ()


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of a data set.

    classes: names, in the order of the labels.  flips: which class is mistaken for which, under
    class-dependent noise; empty: each class for the next, circular.  shape: height, width and channels of
    an image.  counts: images for training and for testing.  fingerprint: of the canonical content.
    protocol: how to train on it, by the fields of Config.  embedded: whether it is there without a download.
    n_validation: of the training images, those of a validation part of its own.
    """

    classes: tuple[str, ...]
    flips: Mapping[str, str]
    shape: Shape
    counts: tuple[int, int]
    fingerprint: str
    protocol: Mapping[str, Any]
    embedded: bool = False
    n_validation: int = 0


@dataclass(frozen=True)
class ModelInfo:
    """features: whether the model has a layer of features, which some methods work on."""

    features: bool = False


class Origin(NamedTuple):
    """Where an entry that is not noisybench's own comes from: the file's name, or the package and version;
    digest and source of a file."""

    name: str
    digest: str = ""
    source: bytes = b""

    @classmethod
    def of(cls, path: Path) -> "Origin":
        """A file of the user, which is read and not executed.  Raises DataError."""
        try:
            source = path.expanduser().read_bytes()
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}.") from None
        return cls(path.name, hashlib.sha256(source).hexdigest(), source)


@dataclass(frozen=True)
class Entry(Generic[M]):
    """A registered function or class: its name, help, hyper-parameters and metadata.

    context: the keyword-only parameters without a default, which the caller supplies.  origin: None for
    an entry of noisybench itself.
    """

    name: str
    definition: Callable[..., Any]
    help: str
    parameters: Mapping[str, OptionSpec]
    defaults: Mapping[str, Any]
    context: tuple[str, ...]
    metadata: M
    kind: str
    origin: Origin | None = None


@dataclass(frozen=True)
class Bound(Generic[M]):
    """An entry with a value for each of its hyper-parameters; `str` of it is the canonical form.

    arguments: the values, by hyper-parameter, in the order of the entry's.
    """

    entry: Entry[M]
    arguments: Mapping[str, Any] = field(hash=False)

    def __str__(self) -> str:
        defaults = self.entry.defaults
        return self._written(lambda name, value: value not in ("", None) or value != defaults[name])

    def __hash__(self) -> int:
        return hash(str(self))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Bound) and str(self) == str(other) and self.entry.kind == other.entry.kind

    @property
    def short(self) -> str:
        """The canonical form without the hyper-parameters at their defaults: what the identity is made of."""
        return self._written(lambda name, value: value != self.entry.defaults[name])

    @property
    def datasets(self) -> dict[str, str]:
        """The data sets that its hyper-parameters name, by hyper-parameter."""
        kinds = {name: spec.option.kind for name, spec in self.entry.parameters.items()}
        return {name: value for name, value in self.arguments.items() if kinds[name] == "data set"}

    def _written(self, is_shown: Callable[[str, Any], bool]) -> str:
        shown = [f"{name}={_show(value)}" for name, value in self.arguments.items() if is_shown(name, value)]
        return f"{self.entry.name}({', '.join(shown)})" if shown else self.entry.name

    def __call__(self, *args: Any, **context: Any) -> Any:
        """Call the entry's function, or make an object of its class; of `context`, only what its signature
        asks for is handed on."""
        wanted = {name: context[name] for name in self.entry.context}
        return self.entry.definition(*args, **wanted, **self.arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        # A process that receives it looks the entry up again; one from a file travels with its source.
        origin = self.entry.origin
        if origin is not None and origin.digest:
            return _bind_source, (self.entry.kind, origin, self.entry.name, dict(self.arguments))
        return _bind, (self.entry.kind, str(self))


def _bind(kind: str, text: str) -> Bound[Any]:
    return REGISTRIES[kind].bind(text)


def _bind_source(kind: str, origin: Origin, name: str, arguments: dict[str, Any]) -> Bound[Any]:
    return Bound(REGISTRIES[kind].from_source(origin, name.rpartition(":")[2]), arguments)


@functools.cache
def shortened(name: str) -> str:
    """A canonical form for people: of a long text in it, such as a matrix, the beginning and a hash."""
    return re.sub(
        r"'([^']{80,})'",
        lambda match: f"'{match[1][:12].strip()}… {hashlib.sha256(match[1].encode()).hexdigest()[:8]}'",
        name,
    )


def _show(value: Any) -> str:
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    if isinstance(value, str):
        # Bare only where `_arguments` reads the same text back: not "1e3", "a-b", "None" or "ﬁ".
        bare = value.isascii() and value.isidentifier() and not keyword.iskeyword(value)
        return value if bare else repr(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


class Registry(Generic[M]):
    """The known entries of one kind; the module that defines them is imported on first use.

    group: the entry points of installed packages that add to it.
    """

    def __init__(self, kind: str, module: str, metadata: type[M], group: str = "") -> None:
        self.kind, self.module, self.metadata, self.group = kind, module, metadata, group
        self._entries: dict[str, Entry[M]] = {}
        self._find_more: Callable[[], Mapping[str, Entry[M]]] = dict
        # Entry points of packages that could not be imported, with what to say of them.
        self._broken: dict[str, InputError] | None = None
        # What canonical texts were read as: a Config reads the same ones many times.
        self._read: dict[str, Bound[M]] = {}

    def register(self, name: str, **metadata: Any) -> Callable[[F], F]:
        """Decorate a function or a class as the entry `name`.  Raises TypeError for metadata of another name,
        InvalidValue for a hyper-parameter that cannot be told from a field of a run."""

        def decorate(definition: F) -> F:
            assert name not in self._entries, f"two {self.kind} entries are called {name}"
            self._entries[name] = self.entry(name, definition, metadata)
            return definition

        return decorate

    def entry(
        self,
        name: str,
        definition: Callable[..., Any],
        metadata: Mapping[str, Any],
        origin: Origin | None = None,
    ) -> Entry[M]:
        """The entry that a function or a class makes; nothing is registered."""
        parameters, defaults, context = _hyper_parameters(definition)
        check_names(self.kind, name, parameters)
        return Entry(
            name=name,
            definition=definition,
            help=(inspect.getdoc(definition) or "").partition("\n")[0],
            parameters=parameters,
            defaults=defaults,
            context=context,
            metadata=self.metadata(**metadata),
            kind=self.kind,
            origin=origin,
        )

    def _loaded(self) -> dict[str, Entry[M]]:
        importlib.import_module(self.module)
        if self._broken is None:
            self._broken = {}
            for point in entry_points(group=self.group) if self.group else ():
                try:
                    self._entries.setdefault(point.name, self._from_package(point))
                except InputError as error:
                    self._broken[point.name] = error
        return self._entries

    def _from_package(self, point: EntryPoint) -> Entry[M]:
        package = f"{point.dist.name} {point.dist.version}" if point.dist else point.value
        try:
            definition = point.load()
        except Exception as error:  # a package of somebody else may raise anything
            raise DataError(
                f"The {self.kind} '{point.name}' of the installed package {package} cannot be imported"
                f" ({type(error).__name__}: {error}). Repair or uninstall the package."
            ) from None
        # What the package registered by itself, with metadata, is known by the name of the entry point.
        own = next((entry for entry in self._entries.values() if entry.definition is definition), None)
        if own is not None and own.origin is None:
            del self._entries[own.name]
            return replace(own, name=point.name, origin=Origin(package))
        try:
            return self.entry(point.name, definition, {}, Origin(package))
        except TypeError as error:
            raise DataError(
                f"The {self.kind} '{point.name}' of the installed package {package} must register itself"
                f" with what must be known of it ({error})."
            ) from None

    def add_finder(self, find_more: Callable[[], Mapping[str, Entry[M]]]) -> None:
        """Know the entries that `find_more` returns, too: it is called at each use, as they may change."""
        self._find_more = find_more

    def _all(self) -> dict[str, Entry[M]]:
        registered = self._loaded()
        return {**self._find_more(), **registered} if self._find_more is not dict else registered

    def is_registered(self, name: str) -> bool:
        """Whether `name` is an entry from code."""
        return name in self._loaded()

    def __iter__(self) -> Iterator[Entry[M]]:
        entries = self._all()
        return iter(sorted(entries.values(), key=lambda entry: not self.is_registered(entry.name)))

    def __getitem__(self, name: str) -> Entry[M]:
        if self.is_registered(name):
            return self._entries[name]
        entries = self._all()
        if name in entries:
            return entries[name]
        raise (self._broken or {}).get(name) or UnknownName(self.kind, name, entries, self._aliases())

    def _aliases(self) -> dict[str, str]:
        """The name of the entry that each of the field's other names means."""
        return {
            alias: entry.name
            for entry in self._all().values()
            for alias in getattr(entry.metadata, "aliases", ())
        }

    def from_source(self, origin: Origin, attribute: str) -> Entry[M]:
        """The entry that a file of the user defines under the name `attribute`: the file is executed.

        It is known as ``file.py:attribute`` from then on in this process.  Raises DataError or UnknownName.
        """
        name = f"{origin.name}:{attribute}"
        known = self._loaded().get(name)
        if known is not None and known.origin == origin:
            return known
        module = _executed(origin)
        if attribute not in vars(module):
            defined = [key for key, value in vars(module).items() if _is_definition(value, module)]
            raise UnknownName(f"{self.kind} in {origin.name}", attribute, defined)
        definition = vars(module)[attribute]
        if not callable(definition):
            raise DataError(f"{name} is not a function or a class, and so not a {self.kind}.")
        self._entries[name] = self.entry(name, definition, {}, origin)
        return self._entries[name]

    def bind(self, text: str, shorthand: Mapping[str, Any] | None = None, files: bool = False) -> Bound[M]:
        """Read ``name`` or ``name(parameter=value, ...)``; `shorthand` holds further values.

        files: whether ``path/to/file.py:name`` executes that file, as it may where the user wrote the text,
        and must not where it comes from a store or a file of somebody else.  Raises UnknownName,
        InvalidValue, or DataError for a file that cannot be used.
        """
        known = None if shorthand else self._read.get(text)
        if known is not None and self._entries.get(known.entry.name) is known.entry:
            return known
        match = re.fullmatch(r"\s*((?:[^()]*\.py:)?[\w.-]+)\s*(?:\((.*)\))?\s*", text, re.DOTALL)
        if match is None:
            raise InvalidValue(f"'{text}' is not a {self.kind}: write it as name or name(parameter=value).")
        path, _, attribute = match[1].rpartition(":")
        # What was executed already, under its short name, is not looked for again.
        from_file = files and path.endswith(".py") and match[1] not in self._loaded()
        entry = self.from_source(Origin.of(located(path)), attribute) if from_file else self[match[1]]
        written = _arguments(text, match[2] or "")
        if twice := written.keys() & (shorthand or {}).keys():
            raise InvalidValue(f"{', '.join(sorted(twice))} is given twice: in '{text}' and by itself.")
        given = {**written, **(shorthand or {})}
        for name in given:
            if name not in entry.parameters:
                raise UnknownName(f"parameter of {self.kind} {entry.name}", name, entry.parameters)
        arguments = {
            name: spec.read(f"{name} of {self.kind} {entry.name}", given.get(name, entry.defaults[name]))
            for name, spec in entry.parameters.items()
        }
        bound = Bound(entry, arguments)
        if str(bound) == text:
            self._read[text] = bound
        return bound


def _is_definition(value: Any, module: types.ModuleType) -> bool:
    return callable(value) and getattr(value, "__module__", None) == module.__name__


def _executed(origin: Origin) -> types.ModuleType:
    """The module that a file of the user makes, executed once in this process."""
    name = f"noisybench_plugin_{origin.digest[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    module = types.ModuleType(name)
    sys.modules[name] = module  # dataclasses and pickle look a class's module up here
    try:
        exec(compile(origin.source, origin.name, "exec"), vars(module))
    except Exception as error:  # the user's code may raise anything
        del sys.modules[name]
        raise DataError(f"{origin.name} cannot be executed ({type(error).__name__}: {error}).") from None
    text = origin.source.decode(errors="replace")
    linecache.cache[origin.name] = (len(text), None, text.splitlines(True), origin.name)
    return module


def _hyper_parameters(
    definition: Callable[..., Any],
) -> tuple[dict[str, OptionSpec], dict[str, Any], tuple[str, ...]]:
    """The hyper-parameters of a function or a class, their defaults, and what the caller supplies."""
    if isinstance(definition, type):
        scopes = [(vars(sys.modules[base.__module__]), vars(base)) for base in reversed(definition.__mro__)]
        hints = {
            name: eval(hint, scope) if isinstance(hint, str) else hint
            for scope, members in scopes
            for name, hint in members.get("__annotations__", {}).items()
            if "ClassVar" not in str(hint)
        }
        defaults = {name: getattr(definition, name) for name in hints}
        return {name: OptionSpec.of(hint) for name, hint in hints.items()}, defaults, ()
    keywords = [p for p in inspect.signature(definition).parameters.values() if p.kind is p.KEYWORD_ONLY]
    defaults = {p.name: p.default for p in keywords if p.default is not p.empty}
    scope = getattr(definition, "__globals__", {})
    hints = {p.name: p.annotation for p in keywords if p.name in defaults}
    parameters = {
        name: OptionSpec.of(eval(hint, scope) if isinstance(hint, str) else hint)
        for name, hint in hints.items()
    }
    return parameters, defaults, tuple(p.name for p in keywords if p.default is p.empty)


# The fields of a run, which no hyper-parameter may be called like: `--momentum` would be two things.
_fields: set[str] = set()


def reserve(names: set[str]) -> None:
    """Keep these names, the fields of a run, from being names of hyper-parameters."""
    _fields.update(names)
    for registry in REGISTRIES.values():
        for entry in registry._entries.values():
            check_names(registry.kind, entry.name, entry.parameters)


def check_names(kind: str, name: str, parameters: Mapping[str, Any]) -> None:
    """Raise InvalidValue for a hyper-parameter that has the name of a field of a run."""
    for parameter in parameters:
        if parameter in _fields:
            raise InvalidValue(
                f"The hyper-parameter '{parameter}' of {kind} '{name}' is also a setting of a run, and"
                f" `--{parameter.replace('_', '-')}` would be both. Give it another name."
            )


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


METHODS = Registry("loss", "noisybench.methods", MethodInfo, "noisybench.methods")
NOISES = Registry("noise", "noisybench.labels", NoMetadata, "noisybench.noises")
DATASETS = Registry("data set", "noisybench.datasets", DatasetInfo, "noisybench.datasets")
MODELS = Registry("model", "noisybench.models", ModelInfo, "noisybench.models")
REGISTRIES: dict[str, Registry[Any]] = {r.kind: r for r in (METHODS, NOISES, DATASETS, MODELS)}


def hyper_parameters() -> dict[str, list[tuple[Registry[Any], Entry[Any]]]]:
    """Every hyper-parameter by name, with the entries that have it: the shorthands such as --q."""
    found: dict[str, list[tuple[Registry[Any], Entry[Any]]]] = {}
    for registry in REGISTRIES.values():
        for entry in registry:
            for name in entry.parameters:
                found.setdefault(name, []).append((registry, entry))
    return found
