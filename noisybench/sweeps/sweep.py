"""A sweep: all runs of an experiment, one after the other."""

from collections.abc import Iterable
from dataclasses import replace

import torch

from noisybench import datasets
from noisybench.config import Config
from noisybench.errors import RunFailed
from noisybench.store import Row, Store
from noisybench.sweeps.run import Display, run


def prepared(configs: Iterable[Config]) -> list[Config]:
    """The configs with the data sets as they are prepared here.  Raises DataError if one is not."""
    configs = list(configs)
    names = {name: datasets.identify(name) for name in {config.dataset for config in configs}}
    return [replace(config, dataset=names[config.dataset]) for config in configs]


def sweep(
    configs: Iterable[Config], store: Store, device: torch.device, display: Display, force: bool = False
) -> list[Row]:
    """Carry out the runs that the store does not have; return the rows of those that failed.

    A run that fails does not stop the others.
    """
    failed = []
    for config in prepared(configs):
        try:
            run(config, store, device, display, force=force)
        except RunFailed:
            failed.append(store.newest(config.identity))
    return failed
