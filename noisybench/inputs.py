"""What a run is given: its data sets as they are prepared, its noisy labels, a mask of samples to keep."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noisybench import datasets
from noisybench.config import Config
from noisybench.datasets import Dataset
from noisybench.datasets.dataset import DatasetName
from noisybench.errors import InvalidValue
from noisybench.files import located
from noisybench.labels import readers
from noisybench.labels.drawing import Corruption, Matrix, checked_matrix
from noisybench.labels.label_file import GivenLabels
from noisybench.labels.manifest import DRAWN_BY, Manifest
from noisybench.labels.masks import Mask
from noisybench.labels.noise import CleanData
from noisybench.registry import DATASETS, MODELS, NOISES, Bound, DatasetInfo, Shape
from noisybench.seeding import generator

if TYPE_CHECKING:
    from noisybench.pretrained import Pretrained


def corrupt(config: Config, dataset: Dataset) -> Corruption:
    """The noise that `config` asks for, over the whole training set in its prepared order.

    Raises InputError, for open-set noise also if its source is not prepared or has too few images.
    """
    data = CleanData.of(dataset, _info(config).flips)
    return config.label_noise.draw(data, config.rate, config.draws, lambda name: generator(config.seed, name))


def transition_of(config: Config) -> Matrix | None:
    """The transition matrix (classes, classes) of the noise that `config` asks for, if it has one."""
    info = _info(config)
    rows = config.label_noise.transition(config.rate, info.classes, info.flips)
    return None if rows is None else checked_matrix(rows, len(info.classes))


def _info(config: Config) -> DatasetInfo:
    return DATASETS[DatasetName.read(config.dataset).stem].metadata


def datasets_of(config: Config) -> list[str]:
    """The names of the data sets that a run reads."""
    return [config.dataset, *config.bound("noise").datasets.values()]


def as_prepared(config: Config) -> Config:
    """The config with its data sets as they are prepared here.

    Raises DataError if one is not, and InvalidValue if the data set has fewer images than the run needs, or
    its noise would take images of the data set itself.
    """
    prepared = datasets.prepared(config.dataset)
    if config.train_size is not None and config.train_size > prepared.n_train:
        raise InvalidValue(
            f"train_size is {config.train_size}, but {prepared.name} has {prepared.n_train} training images."
        )
    noise = config.bound("noise")
    sources = {name: datasets.prepared(value) for name, value in noise.datasets.items()}
    for name, source in sources.items():
        if source.fingerprint == prepared.fingerprint:
            raise InvalidValue(
                f"{name} is {source.name}, which has the images of {prepared.name} itself: they have a class."
                f" Choose another data set with --{name}."
            )
    noise = Bound(noise.entry, {**noise.arguments, **{name: s.identity for name, s in sources.items()}})
    return replace(config, dataset=prepared.identity, noise=str(noise))


@dataclass(frozen=True)
class Inputs:
    """What a Config names by hash only."""

    labels: Manifest | GivenLabels | None = None
    keep: Mask | None = None
    pretrained: "Pretrained | None" = None


@dataclass(frozen=True)
class Files:
    """The files that the Configs of an experiment name, by their hashes."""

    labels: dict[str, GivenLabels] = field(default_factory=dict)
    pretrained: "dict[str, Pretrained]" = field(default_factory=dict)

    def of(self, config: Config) -> Inputs:
        """The files that a run needs."""
        return Inputs(
            labels=self.labels.get(config.labels), pretrained=self.pretrained.get(config.pretrained)
        )


def labels_of(text: str, order: Path | None, dataset: str | None) -> tuple[Manifest | GivenLabels, str]:
    """The labels in ``FILE[:KEY]``, brought to the data set, and a sentence on how their order is known.

    order: a .npy file with the row of each label in the source, or None.  Raises InputError.
    """
    path, key = readers.split_key(text)
    if path.suffix.lower() not in readers.ENDINGS:
        if order is not None:
            raise InvalidValue(f"{path} has row numbers of its own, and needs no --label-order. Omit it.")
        return Manifest.read(located(text)), ""
    prepared = datasets.load(dataset or Config.dataset)
    file = readers.read_labels(path, key, prepared)
    file = file if order is None else readers.ordered(file, order)
    return file.fit(prepared), readers.placed_by(file, prepared)


def with_inputs(given: Mapping[str, Any], inputs: Inputs) -> tuple[Config, Inputs]:
    """The Config of a run with these options and files, and the files that it needs: see `_with_files`.

    Raises InputError, also for initial weights that do not fit the network.
    """
    config, inputs = _with_files(given, inputs)
    if inputs.pretrained is not None:
        pretrained_in_words(config, inputs.pretrained)
        config = replace(config, pretrained=inputs.pretrained.digest)
    return config, inputs


def pretrained_in_words(config: Config, weights: "Pretrained") -> str:
    """What a run takes of its initial weights.  Raises DataError if they do not fit its network."""
    info = _info(config)
    return _started(weights, config.model, info.shape, len(info.classes))


@cache
def _started(weights: "Pretrained", model: str, shape: Shape, n_classes: int) -> str:
    return weights.start(MODELS.bind(model)(shape, n_classes))


def _with_files(given: Mapping[str, Any], inputs: Inputs) -> tuple[Config, Inputs]:
    """The Config of a run with these options and files, and the files that it needs.

    A file says which data set, noise, rate, draws and seed it belongs to; options may repeat that,
    and only the seed may differ (it then is that of split, initial weights and order).  Labels that
    the options alone would draw need no file: such a run is the run without it.  Raises InputError.
    """
    given = {name: value for name, value in given.items() if value is not None}
    if isinstance(inputs.labels, GivenLabels):
        return _with_labels(given, inputs, inputs.labels)
    file = inputs.labels or inputs.keep
    said = {} if file is None else {name: getattr(file, name) for name in DRAWN_BY}
    if "noise" in said and "noise" not in given:
        NOISES.bind(said["noise"])  # Config would execute a file of code, which only the user may name
    config = Config.from_user(**{**said, **given})
    config = as_prepared(config)
    for name in said.keys() - {"seed"}:
        if getattr(config, name) != said[name]:
            raise InvalidValue(f"--{name} is {getattr(config, name)}, but the file given says {said[name]}.")
    if inputs.keep is not None:
        config = replace(config, keep=inputs.keep.digest)
    if inputs.labels is None:
        return config, inputs
    if corrupt(config, datasets.load(config.dataset)).same(inputs.labels.corruption):
        return config, replace(inputs, labels=None)
    return replace(config, labels=inputs.labels.digest), inputs


def _with_labels(given: Mapping[str, Any], inputs: Inputs, labels: GivenLabels) -> tuple[Config, Inputs]:
    """The Config of a run on labels that a file gives, which no option may say otherwise."""
    config = as_prepared(Config.from_user(**{**labels.setting, **given}))
    for name, value in labels.setting.items():
        if getattr(config, name) != value:
            raise InvalidValue(f"--{name} has no meaning with these --labels, which are not drawn. Omit it.")
    return config if inputs.keep is None else replace(config, keep=inputs.keep.digest), inputs
