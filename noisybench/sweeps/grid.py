"""Experiments: grids of Configs as YAML files.

about: one line on what the experiment is for
table: closed-set        # the table of `report` that it ends with ...
figure: fig1             # ... or the figure that its runs are for
set: {epochs: 30}        # what all blocks share: fields of Config, or lists of their values
grid:                    # blocks; within a block, every combination of the lists
  - {dataset: digits, noise: uniform, rate: [0.4, 0.6], loss: [cce, lq], seed: [0, 1, 2]}
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Any

from noisybench.config import Config, declared_fields
from noisybench.errors import DataError, InputError, InvalidValue, UnknownName
from noisybench.reporting.figures import FIGURES
from noisybench.reporting.tables import TABLES

KEYS = ("about", "table", "figure", "set", "grid")


@dataclass(frozen=True)
class Experiment:
    """A named grid; configs come seed by seed, so that a sweep cut short has whole grids of seeds.

    table, figure: of `report`, what the runs are for; empty where they are for none.
    """

    name: str
    about: str
    table: str
    figure: str
    configs: tuple[Config, ...]


def packaged() -> list[str]:
    """The names of the experiments that come with noisybench."""
    folder = files("noisybench") / "experiments"
    return sorted(Path(f.name).stem for f in folder.iterdir() if f.name.endswith(".yaml"))


def load(name: str) -> Experiment:
    """The packaged experiment called `name`, or the one in the YAML file at that path.

    Raises UnknownName, or DataError that names the file and what is wrong in it.
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        if name not in packaged():
            raise UnknownName("experiment", name, packaged())
        path = Path(str(files("noisybench") / "experiments" / f"{name}.yaml"))
    return read(path)


def read(path: Path) -> Experiment:
    """The experiment in a YAML file.  Raises DataError."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not YAML: {error}") from None
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
        configs = [config for block in blocks for config in _combinations({**shared, **block})]
        figure = FIGURES.bind(str(content["figure"])).entry.name if "figure" in content else ""
        table = content.get("table", "" if figure else "closed-set")
        table = TABLES.bind(str(table)).entry.name if table else ""
    except InputError as error:
        raise DataError(f"{path}: {error}") from None
    if not configs:
        raise DataError(f"{path}: its grid has no run: one of the lists in it is empty.")
    return Experiment(
        name=path.stem,
        about=str(content.get("about", "")),
        table=table,
        figure=figure,
        configs=tuple(sorted(dict.fromkeys(configs), key=lambda config: config.seed)),
    )


def _combinations(block: dict[str, Any]) -> Iterator[Config]:
    """Every combination of the lists in a block.  Milestones are a list already, so one value."""
    for key in block:
        if key in declared_fields() and not declared_fields()[key].option.cli or not isinstance(key, str):
            raise InvalidValue(f"'{key}' is nothing that an experiment can set.")
    axes = [
        [(key, value) for value in (values if isinstance(values, list) and key != "milestones" else [values])]
        for key, values in block.items()
    ]
    for combination in product(*axes):
        yield Config.create(**dict(combination))
