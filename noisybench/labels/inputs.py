"""The files that a run may be given: noisy labels, and a mask of samples to keep."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from noisybench import datasets
from noisybench.config import Config
from noisybench.errors import InvalidValue
from noisybench.labels.drawing import as_prepared, corrupt
from noisybench.labels.manifest import DRAWN_BY, Manifest
from noisybench.labels.masks import Mask
from noisybench.registry import NOISES


@dataclass(frozen=True)
class Inputs:
    """What a Config names by hash only."""

    labels: Manifest | None = None
    keep: Mask | None = None


def with_inputs(given: Mapping[str, Any], inputs: Inputs) -> tuple[Config, Inputs]:
    """The Config of a run with these options and files, and the files that it needs.

    A file says which data set, noise, rate, draws and seed it belongs to; options may repeat that,
    and only the seed may differ (it then is that of split, initial weights and order).  Labels that
    the options alone would draw need no file: such a run is the run without it.  Raises InputError.
    """
    given = {name: value for name, value in given.items() if value is not None}
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
    if corrupt(config, datasets.load(config.dataset).train_labels).same(inputs.labels.corruption):
        return config, replace(inputs, labels=None)
    return replace(config, labels=inputs.labels.digest), inputs
