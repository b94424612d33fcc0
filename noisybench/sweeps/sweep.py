"""A sweep: all runs of an experiment, one after the other."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from noisybench import datasets
from noisybench.config import Config
from noisybench.errors import InputError, InvalidValue, RunBusy, RunFailed
from noisybench.reporting.selection import select
from noisybench.store import Row, Store
from noisybench.sweeps.display import Display
from noisybench.sweeps.run import run

if TYPE_CHECKING:
    import torch


def prepared(configs: Iterable[Config]) -> list[Config]:
    """The configs with the data sets as they are prepared here.  Raises DataError if one is not."""
    configs = list(configs)
    names = {name: datasets.identify(name) for name in {config.dataset for config in configs}}
    return [replace(config, dataset=names[config.dataset]) for config in configs]


def matching(configs: Sequence[Config], where: Sequence[str]) -> list[Config]:
    """The configs that meet the conditions, as `report` reads them.  Raises InputError if none does."""
    import pandas as pd

    table = pd.DataFrame([config.row() for config in configs])
    selected, unmatched = select(table, where)
    if selected.empty:
        raise InvalidValue(" ".join(unmatched) or f"No run meets all of {', '.join(where)}.")
    return [configs[number] for number in selected.index]


def sweep(
    configs: Iterable[Config], store: Store, device: "torch.device", display: Display, force: bool = False
) -> list[Row]:
    """Carry out the runs that the store does not have; return the rows of those that failed.

    A run that fails does not stop the others, and one that another process is training is left to it.
    """
    failed = []
    for config in configs:
        try:
            run(config, store, device, display, force=force)
        except RunFailed:
            failed.append(store.newest(config.identity))
        except RunBusy:
            continue
        except InputError as error:
            raise InvalidValue(f"{config.loss} on {config.dataset}, seed {config.seed}: {error}") from None
    return failed
