"""Experiments: grids of Configs as YAML files.

about: one line on what the experiment is for
table: closed-set        # the table of `report` that it ends with ...
figure: fig1             # ... or the figure that its runs are for
set: {epochs: 30}        # what all blocks share: fields of Config, or lists of their values
grid:                    # blocks; within a block, every combination of the lists
  - {dataset: digits, noise: uniform, rate: [0.4, 0.6], loss: [cce, lq], seed: [0, 1, 2]}
  - {protocol: wang2018, loss: cce}  # under that method's settings, where set and block have no others
  - {dataset: mine, labels: ["human.csv:worst", "human.csv:best"]}  # label files
  - {dataset: mine, model: torchvision-resnet18, pretrained: ["", resnet18.pth]}  # initial weights; "": none
  - {loss: all}  # every loss that the other settings allow, but those with a protocol of their own

Paths in it (of labels, weights, matrices, maps and files of code) start from its own folder.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from itertools import product
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noisybench.config import Config, declared_fields, ineffective
from noisybench.errors import DataError, InputError, InvalidValue, UnknownName, Unsupported
from noisybench.files import located, paths_from
from noisybench.methods import method_of
from noisybench.registry import METHODS
from noisybench.reporting.figures import FIGURES
from noisybench.reporting.tables import TABLES
from noisybench.yaml_files import read_yaml

if TYPE_CHECKING:
    from noisybench.inputs import Files
    from noisybench.labels.label_file import GivenLabels
    from noisybench.pretrained import Pretrained

KEYS = ("about", "table", "figure", "set", "grid")
MAX_RUNS = 10_000
ALL = "all"
# The fields of Config that an experiment gives as files.
FILES = ("labels", "pretrained")


@dataclass(frozen=True)
class Experiment:
    """A named grid; configs come seed by seed, so that a sweep cut short has whole grids of seeds.

    table, figure: of `report`, what the runs are for; empty where they are for none.
    files: the labels and the initial weights that configs name by hash.
    """

    name: str
    about: str
    table: str
    figure: str
    configs: tuple[Config, ...]
    files: "Files"


def packaged() -> list[str]:
    """The names of the experiments that come with noisybench."""
    folder = files("noisybench") / "experiments"
    return sorted(Path(f.name).stem for f in folder.iterdir() if f.name.endswith(".yaml"))


def load(name: str, max_runs: int = MAX_RUNS) -> Experiment:
    """The packaged experiment called `name`, or the one in the YAML file at that path.

    Raises UnknownName, or DataError that names the file and what is wrong in it.
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        if name not in packaged():
            raise UnknownName("experiment", name, packaged())
        path = Path(str(files("noisybench") / "experiments" / f"{name}.yaml"))
    return read(path, max_runs)


def read(path: Path, max_runs: int = MAX_RUNS) -> Experiment:
    """The experiment in a YAML file.  Raises DataError, also for more than `max_runs` combinations."""
    content = read_yaml(path)
    if isinstance(content, dict) and (unknown := sorted(map(str, set(content) - set(KEYS)))):
        raise DataError(f"{path}: {UnknownName('key of an experiment', unknown[0], KEYS)}")
    if not isinstance(content, dict) or not content.get("grid"):
        raise DataError(
            f"{path}: an experiment has the keys {', '.join(KEYS)}, and a grid that is not empty."
        )
    blocks = content["grid"]
    shared = content.get("set") or {}
    if not isinstance(blocks, list) or not all(isinstance(part, dict) for part in [*blocks, shared]):
        raise DataError(f"{path}: grid must be a list of mappings, and set a mapping.")
    try:
        axes = [_axes(_with_protocol({**shared, **block})) for block in blocks]
        check_count(sum(prod(map(len, block)) for block in axes), max_runs)
        given = _Given()
        with paths_from(path.parent):
            by_block = [
                list(given.configs(block, every={**shared, **part}.get("loss") == ALL))
                for part, block in zip(blocks, axes, strict=True)
            ]
        configs = [config for block in by_block for config in block]
        for part, members in [(shared, configs), *zip(blocks, by_block, strict=True)]:
            problems = [ineffective(config, part) for config in members]
            if problems and all(problems):
                raise InvalidValue(problems[0])
        figure = FIGURES.bind(str(content["figure"])).entry.name if "figure" in content else ""
        table = content.get("table", "" if figure else "closed-set")
        table = TABLES.bind(str(table)).entry.name if table else ""
    except InputError as error:
        raise DataError(f"{path}: {error}") from None
    if not configs:
        raise DataError(f"{path}: its grid has no run: one of the lists in it is empty.")
    return Experiment(
        name=path.stem,
        about=str(content.get("about") or ""),
        table=table,
        figure=figure,
        configs=tuple(sorted(dict.fromkeys(configs), key=lambda config: config.seed)),
        files=given.files,
    )


class _Given:
    """The files that the runs of an experiment are given, each read once."""

    def __init__(self) -> None:
        from noisybench.inputs import Files

        self.files = Files()
        self.labels: dict[tuple[str, str], GivenLabels] = {}
        self.weights: dict[str, Pretrained] = {}

    def configs(self, axes: list[list[tuple[str, Any]]], every: bool) -> Iterator[Config]:
        """The runs of a block.  every: of all losses, whether those are left out that its settings do not
        allow."""
        for values in product(*axes):
            try:
                yield self.config(dict(values))
            except Unsupported:
                if not every:
                    raise

    def config(self, values: dict[str, Any]) -> Config:
        """The run with these values; `labels` is a FILE[:KEY], `pretrained` a file.  Raises InputError."""
        labels, weights = (str(values.pop(name, None) or "") for name in FILES)
        if not labels and not weights:
            return Config.from_user(**values)
        from noisybench.inputs import Inputs, with_inputs

        inputs = Inputs(
            labels=self._labels(labels, str(values.get("dataset", Config.dataset))) if labels else None,
            pretrained=self._weights(weights) if weights else None,
        )
        return with_inputs(values, inputs)[0]

    def _labels(self, text: str, dataset: str) -> "GivenLabels":
        from noisybench.inputs import labels_of
        from noisybench.labels.label_file import GivenLabels

        if (text, dataset) not in self.labels:
            given, _ = labels_of(text, None, dataset)
            if not isinstance(given, GivenLabels):
                raise InvalidValue(
                    f"{text} was written by `noisybench corrupt`: in an experiment, set the noise, rate and"
                    f" seed that it was drawn with ({given.noise}, {given.rate:g} and {given.seed})."
                )
            self.labels[text, dataset] = self.files.labels[given.digest] = given
        return self.labels[text, dataset]

    def _weights(self, text: str) -> "Pretrained":
        from noisybench.pretrained import Pretrained

        if text not in self.weights:
            given = Pretrained.read(located(text))
            self.weights[text] = self.files.pretrained[given.digest] = given
        return self.weights[text]


def check_count(runs: int, max_runs: int) -> None:
    """Raise InvalidValue for more runs than `max_runs`; counting them first takes no time."""
    if runs > max_runs:
        raise InvalidValue(f"the grid has {runs:,} runs, and at most {max_runs:,} are allowed (--max-runs).")


def _with_protocol(block: dict[Any, Any]) -> dict[Any, Any]:
    """The block with the settings of the method that its key `protocol` names, where it has no others."""
    if "protocol" not in block:
        return block
    name = str(block["protocol"])
    own = method_of(METHODS.bind(name)).protocol
    if not own:
        raise InvalidValue(f"protocol is {name}, but that method has no protocol of its own.")
    return {**own, **{key: value for key, value in block.items() if key != "protocol"}}


def _axes(block: dict[Any, Any]) -> list[list[tuple[str, Any]]]:
    """The values of each key in a block.  Milestones are a list already, so one value."""
    fields = declared_fields()
    for key, values in block.items():
        if not isinstance(key, str) or (key in fields and not fields[key].option.cli and key not in FILES):
            raise InvalidValue(f"An experiment cannot set '{key}'.")
        optional = key in fields and fields[key].optional
        if not optional and (values is None or (isinstance(values, list) and None in values)):
            raise InvalidValue(f"{key} has no value (null): give one, or omit the key.")
    if block.get("loss") == ALL:
        losses = [
            e.name for e in METHODS if not method_of(METHODS.bind(e.name)).protocol and e.origin is None
        ]
        block = {**block, "loss": losses}
    return [
        [(key, value) for value in (values if isinstance(values, list) and key != "milestones" else [values])]
        for key, values in block.items()
    ]
