"""Config: everything that defines one run, and its identity.

A field is declared once, here.  The command-line option, the YAML key, the check of its value, the
column in the store and the grouping of the report come from that declaration.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, asdict, dataclass, fields, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from noisybench.datasets.dataset import DatasetName
from noisybench.errors import DataError, InputError, InvalidValue, UnknownName, Unsupported
from noisybench.labels.noise import Draws, Noise, Rate, Seed, noise_of
from noisybench.methods import Method, method_of
from noisybench.options import Option, OptionSpec
from noisybench.registry import (
    DATASETS,
    METHODS,
    MODELS,
    NOISES,
    REGISTRIES,
    Bound,
    DatasetInfo,
    Origin,
    hyper_parameters,
    reserve,
)

IDENTITY_VERSION = 2

# Of these, a data set's protocol gives the number of epochs it was written for; a run of another
# length without its own values scales them, so that a short run is a short form of the protocol.
SCALED_WITH_EPOCHS = ("milestones", "prune_from", "prune_every")

# The fields that name an entry of a registry with hyper-parameters.
NAMED = ("noise", "loss", "model")

PROTOCOL = "default: protocol of the loss, else of the data set"
PROTOCOL_SCALED = f"{PROTOCOL}, scaled to --epochs"


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that defines one run.  Make one with `Config.create`, which fills in the protocol."""

    dataset: Annotated[str, Option("data set", kind="data set")] = "digits"
    noise: Annotated[str, Option("how labels are corrupted", kind="noise")] = "uniform"
    rate: Rate = 0.4
    draws: Draws = "independent"
    labels: Annotated[str, Option("hash of a file of noisy labels, if one was given", cli=False)] = ""
    keep: Annotated[str, Option("hash of a mask of samples to train on, if one was given", cli=False)] = ""
    code: Annotated[
        str, Option("files of the user that define what the run names, with hashes", cli=False)
    ] = ""
    revision: Annotated[
        int, Option("revision of the method; its numbers changed with each", minimum=1, cli=False)
    ] = 1
    loss: Annotated[str, Option("loss", kind="loss")] = "cce"
    seed: Seed = 0
    train_size: Annotated[
        int | None,
        Option("random subset of the training set to use, in images, validation included", minimum=2),
    ] = None
    validation: Annotated[
        float, Option("fraction of the training set held out for validation", minimum=0.001, maximum=0.9)
    ] = 0.1
    trusted: Annotated[
        int, Option("training images whose true label every loss is given, by class in turn", minimum=0)
    ] = 0
    model: Annotated[str, Option(f"network [{PROTOCOL}]", kind="model")]
    pretrained: Annotated[str, Option("hash of a file of initial weights, if one was given", cli=False)] = ""
    epochs: Annotated[int, Option(f"length of training in epochs [{PROTOCOL}]", minimum=1)]
    batch_size: Annotated[int, Option(f"images per step [{PROTOCOL}]", minimum=2)]
    optimiser: Annotated[str, Option("optimiser", choices=("sgd", "nesterov", "adam"))] = "sgd"
    lr: Annotated[float, Option(f"initial learning rate [{PROTOCOL}]", minimum=0)]
    milestones: Annotated[
        tuple[int, ...],
        Option(f"epochs after which the learning rate is divided by 10 [{PROTOCOL_SCALED}]", minimum=1),
    ]
    momentum: Annotated[float, Option("momentum of sgd and nesterov", minimum=0, below=1)] = 0.9
    weight_decay: Annotated[float, Option("weight decay", minimum=0)] = 1e-4
    augment: Annotated[
        str,
        Option(
            f"flip-crop: random flip, and random crop after padding by 4 pixels [{PROTOCOL}]",
            choices=("flip-crop", "none"),
        ),
    ]
    prune_from: Annotated[
        int | None,
        Option(f"epochs before the first pruning, where the loss prunes [{PROTOCOL_SCALED}]", minimum=1),
    ]
    prune_every: Annotated[
        int | None,
        Option(f"epochs between prunings, where the loss prunes [{PROTOCOL_SCALED}]", minimum=1),
    ]
    precision: Annotated[
        str,
        Option("what to compute in; auto: bf16 where the hardware has it", choices=("auto", "fp32", "bf16")),
    ] = "auto"

    @classmethod
    def create(cls, **given: Any) -> "Config":
        """Check `given`, bring names to canonical form and fill in the protocol: that of the loss, where
        it has its own, and that of the data set.

        Keys are fields of Config or, as shorthands, hyper-parameters of the chosen loss, noise or
        model (``q=0.5`` for ``loss="lq(q=0.5)"``).  None means not given.  A file of code is not
        executed, whatever `given` names: see `from_user`.  Raises InputError.
        """
        return cls._created(given, files=False)

    @classmethod
    def from_user(cls, **given: Any) -> "Config":
        """As `create`, for what the user wrote: ``path/to/file.py:name`` executes that file.  Raises
        InputError, also for a file that cannot be read or executed."""
        return cls._created(given, files=True)

    @classmethod
    def _created(cls, given: Mapping[str, Any], files: bool) -> "Config":
        given = {key: value for key, value in given.items() if value is not None}
        shorthand = {key: given.pop(key) for key in list(given) if key not in declared_fields()}
        values = {key: declared_fields()[key].read(key, value) for key, value in given.items()}
        dataset = values.get("dataset", cls.dataset)
        info = DATASETS[DatasetName.read(dataset).stem].metadata
        method = method_of(METHODS.bind(values.get("loss", cls.loss), files=files))
        values = _with_protocol({**method.protocol, **values}, info.protocol)
        values["revision"] = method.revision
        for f in fields(cls):
            if f.default is not MISSING:
                values.setdefault(f.name, f.default)
        values |= _canonical_names(values, shorthand, files)
        values["code"] = _code_of(values) or values["code"]
        if values["optimiser"] == "nesterov" and not values["momentum"]:
            raise InvalidValue("momentum is 0, but must be above 0 for nesterov. Without momentum, take sgd.")
        _check_noise(values, given)
        _check_features(values)
        _check_trusted(values)
        if list(values["milestones"]) != sorted(set(values["milestones"])):
            raise InvalidValue(f"milestones is {values['milestones']}, but must be increasing epochs.")
        return cls(**_without_idle(values, info))

    @property
    def identity(self) -> str:
        """A versioned hash of what changes the run's expected result: 16 hexadecimal digits.

        A field or a hyper-parameter at its default is left out, so that one added later leaves old
        identities alone.
        """
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        for name in NAMED:
            # What is not known here, as of a later noisybench, counts as it is written.
            with suppress(InputError):
                values[name] = self.bound(name).short
        changed = {
            f.name: values[f.name]
            for f in fields(self)
            if f.default is MISSING or values[f.name] != f.default
        }
        text = json.dumps({"version": IDENTITY_VERSION, **changed}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @cached_property
    def method(self) -> Method:
        """The method that the run trains by."""
        return method_of(self.bound("loss"))

    @cached_property
    def label_noise(self) -> Noise:
        """The noise that the given labels are drawn by."""
        return noise_of(self.bound("noise"))

    def bound(self, name: str) -> Bound[Any]:
        """What one of the fields "loss", "noise" and "model" names."""
        return REGISTRIES[declared_fields()[name].option.kind].bind(getattr(self, name))

    def prunes_after(self, epoch: int) -> bool:
        """Whether samples are chosen anew once `epoch` epochs are done, and more are to come."""
        if self.prune_from is None or self.prune_every is None:
            return False
        since = epoch - self.prune_from
        return since >= 0 and since % self.prune_every == 0 and epoch < self.epochs

    def __getstate__(self) -> tuple[dict[str, Any], list[tuple[str, Origin, str]]]:
        """The fields, and the files of the user that define what they name: they are known to the process
        that receives them."""
        origins = []
        for name in NAMED:
            entry = self.bound(name).entry
            if entry.origin is not None and entry.origin.digest:
                origins.append((entry.kind, entry.origin, entry.name.rpartition(":")[2]))
        return {f.name: getattr(self, f.name) for f in fields(self)}, origins

    def __setstate__(self, state: tuple[dict[str, Any], list[tuple[str, Origin, str]]]) -> None:
        values, origins = state
        for kind, origin, attribute in origins:
            REGISTRIES[kind].from_source(origin, attribute)
        self.__dict__.update(values)

    def row(self) -> dict[str, Any]:
        """The fields as plain values for a table: the milestones as text."""
        return {**asdict(self), "milestones": " ".join(map(str, self.milestones))}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "Config":
        """The inverse of `row`; other columns of `row` are ignored.  Raises InvalidValue for a value of
        another type or out of bounds."""
        return cls(**{name: d.read(name, row[name]) for name, d in declared_fields().items()})


def first_stage(config: Config) -> Config | None:
    """The run whose network estimates what the loss of `config` needs, if it needs such a run."""
    stage = config.method.first_stage
    if not stage:
        return None
    bound = METHODS.bind(stage)
    return replace(config, loss=str(bound), revision=method_of(bound).revision)


def load_code(row: Mapping[str, Any], files: Sequence[Path], needed: Sequence[str] = NAMED) -> None:
    """Execute the files of the user that define what a run of a store names.

    row: of the store.  files: those that the user names; nothing else is executed.  needed: the fields
    whose files must be among them.  Raises InvalidValue for a file that is missing or not one of the run's,
    and DataError for one with another content than the run's.
    """
    digests = dict(text.rpartition(":")[::2] for text in str(row["code"] or "").split())
    by_name = {path.name: path for path in files}
    if others := sorted(by_name.keys() - digests.keys()):
        raise InvalidValue(f"--code {by_name[others[0]]} defines nothing of run {row['id']}. Omit it.")
    for field_name in NAMED:
        name, _, attribute = str(row[field_name]).partition("(")[0].rpartition(":")
        if name not in digests:
            continue
        if name in by_name:
            origin = Origin.of(by_name[name])
            if not origin.digest.startswith(digests[name]):
                raise DataError(
                    f"{by_name[name]} has another content than the {name} of run {row['id']}, whose SHA-256"
                    f" begins with {digests[name]}."
                )
            REGISTRIES[declared_fields()[field_name].option.kind].from_source(origin, attribute)
        elif field_name in needed:
            raise InvalidValue(
                f"Run {row['id']} has its {field_name} from a file {name}, which is executed only where you"
                f" name it: give --code PATH/{name}."
            )


def ineffective(config: Config, given: Mapping[str, Any]) -> str:
    """Say which setting that a user gave has no effect on the run; empty if all have.

    given: values of fields, or lists of values; None means not given.  A value that the run has anyway is
    no fault.
    """
    info = DATASETS[DatasetName.read(config.dataset).stem].metadata
    prunes = "" if config.method.has_schedule else f"{config.loss} does not prune"
    reasons = {
        "prune_from": prunes,
        "prune_every": prunes,
        "momentum": f"{config.optimiser} has no such setting" if config.optimiser == "adam" else "",
        "validation": f"{config.dataset} has a validation part of its own" if info.n_validation else "",
    }
    for name, reason in reasons.items():
        value = given.get(name)
        if not reason or value is None:
            continue
        values = value if isinstance(value, list) else [value]
        if any(declared_fields()[name].read(name, each) != getattr(config, name) for each in values):
            return f"{name.replace('_', '-')} has no effect: {reason}. Omit it."
    return ""


@cache
def declared_fields() -> dict[str, OptionSpec]:
    """The declaration of each field of Config, in order."""
    hints = get_type_hints(Config, include_extras=True)
    return {f.name: OptionSpec.of(hints[f.name]) for f in fields(Config)}


reserve(set(Config.__dataclass_fields__))


def _with_protocol(values: dict[str, Any], protocol: Mapping[str, Any]) -> dict[str, Any]:
    """Add the protocol's values to `values`, scaled where the run has another length."""
    scale: float = values.get("epochs", protocol["epochs"]) / protocol["epochs"]

    def scaled(epochs: int) -> int:
        return max(1, round(epochs * scale))

    filled = dict(values)
    for name, value in protocol.items():
        if name in SCALED_WITH_EPOCHS:
            value = tuple(sorted({scaled(m) for m in value})) if name == "milestones" else scaled(value)
        filled.setdefault(name, value)
    return filled


def _without_idle(values: dict[str, Any], info: DatasetInfo) -> dict[str, Any]:
    """Settings without effect brought to one value, so that runs of one result have one identity."""
    idle: dict[str, Any] = {
        "milestones": tuple(m for m in values["milestones"] if m < values["epochs"]),
        "train_size": None if values["train_size"] == info.counts[0] else values["train_size"],
    }
    if info.n_validation:
        idle["validation"] = Config.validation
    if values["optimiser"] == "adam":
        idle["momentum"] = Config.momentum
    if not method_of(METHODS.bind(values["loss"])).has_schedule:
        idle |= {"prune_from": None, "prune_every": None}
    return {**values, **idle}


def _code_of(values: Mapping[str, Any]) -> str:
    """The files of the user that define what the values name: their names and the starts of their hashes."""
    kinds = ((name, REGISTRIES[declared_fields()[name].option.kind]) for name in NAMED)
    origins = {registry.bind(values[name]).entry.origin for name, registry in kinds}
    files = sorted((origin.name, origin.digest[:16]) for origin in origins if origin and origin.digest)
    return " ".join(f"{name}:{digest}" for name, digest in files)


def _check_noise(values: dict[str, Any], given: Mapping[str, Any]) -> None:
    """Set the rate of a noise that has only one.  Raise InvalidValue for another rate or draws that the noise
    does not have, and for a method that needs the true transition matrix where there is none."""
    noise, loss = NOISES.bind(values["noise"]), METHODS.bind(values["loss"])
    contract = noise_of(noise)
    if contract.from_file and not values["labels"]:
        raise InvalidValue(f"noise is {noise}, whose labels are in a file: train with --labels FILE.")
    if contract.own_rate is not None:
        if "rate" in given and values["rate"] != contract.own_rate:
            raise InvalidValue(
                f"rate is {values['rate']:g}, but this noise has the rate {contract.own_rate:g}. Omit --rate."
            )
        values["rate"] = contract.own_rate
    elif "noise" in given and "rate" not in given and not values["rate"] and not contract.from_file:
        raise InvalidValue(
            f"noise is {noise.entry.name}, but without a rate nothing is added to the labels of"
            f" {values['dataset']}, which are taken as they are: give --rate."
        )
    if values["draws"] not in contract.draws:
        raise InvalidValue(
            f"draws is {values['draws']}, but {noise.entry.name} noise has only:"
            f" {', '.join(contract.draws)}. Omit --draws."
        )
    if method_of(loss).needs_transition and not contract.has_transition:
        able = [entry.name for entry in METHODS if getattr(entry.definition, "first_stage", "")]
        raise Unsupported(
            f"loss is {loss}, which needs the true transition matrix, and {noise.entry.name} noise has none."
            f" Take one that estimates it: {', '.join(able)}."
        )


def _check_features(values: Mapping[str, Any]) -> None:
    """Raise InvalidValue for a method that works on features with a model that has no layer of them."""
    model, loss = MODELS.bind(values["model"]).entry, METHODS.bind(values["loss"])
    if method_of(loss).needs_features and not model.metadata.features:
        able = ", ".join(entry.name for entry in MODELS if entry.metadata.features)
        raise Unsupported(f"model is {model.name}, but {loss} needs a layer of features, as in: {able}.")


def _check_trusted(values: Mapping[str, Any]) -> None:
    """Raise InvalidValue for a method that needs true labels, without any."""
    loss = METHODS.bind(values["loss"])
    if method_of(loss).needs_trusted and not values["trusted"]:
        raise Unsupported(
            f"loss is {loss}, which needs training images with true labels: add --trusted N, as in"
            " --trusted 1000."
        )


def _canonical_names(values: Mapping[str, Any], shorthand: dict[str, Any], files: bool) -> dict[str, str]:
    """The canonical forms of the named fields, with each shorthand given to the one it belongs to."""
    named = {name: d.option.kind for name, d in declared_fields().items() if d.option.kind}
    canonical, used = {}, set()
    for name, kind in named.items():
        registry = REGISTRIES[kind]
        # Only a data set has a suffix: the beginning of its fingerprint.
        stem, suffix = values[name], None
        if name == "dataset":
            written = DatasetName.read(values[name])
            stem, suffix = written.stem, written.digits
        entry = registry.bind(stem, files=files).entry
        own = {key: value for key, value in shorthand.items() if key in entry.parameters}
        used |= set(own)
        canonical[name] = str(DatasetName(str(registry.bind(stem, own, files=files)), suffix or None))
    for key in shorthand.keys() - used:
        owners = hyper_parameters().get(key)
        if owners is None:
            raise UnknownName("field of a run", key, [*declared_fields(), *hyper_parameters()])
        choices = ", ".join(f"{registry.kind} {entry.name}" for registry, entry in owners)
        raise InvalidValue(f"{key} was given, but nothing chosen here has it. It belongs to: {choices}.")
    return canonical
