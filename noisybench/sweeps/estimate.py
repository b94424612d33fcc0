"""How long runs will take, from the epochs that were measured on this machine."""

import socket
from contextlib import suppress
from statistics import fmean
from typing import Any

from noisybench.config import Config
from noisybench.errors import UnknownName
from noisybench.methods import Method, method_of
from noisybench.registry import METHODS, Bound
from noisybench.store import Store

# What the time of an epoch depends on, beside the method.
KIND = ("dataset", "model", "train_size", "validation", "batch_size", "augment", "precision")
Kind = tuple[object, ...]


class Forecast:
    """The mean seconds of an epoch and its pruning, by kind of run, of what the store has from this host
    and `device` (in the words of `training.device.device_label`)."""

    def __init__(self, store: Store, device: str) -> None:
        seconds: dict[Kind, list[float]] = {}
        for row in store.epoch_seconds((*KIND, "loss"), socket.gethostname(), device):
            with suppress(UnknownName):  # a loss of a noisybench that knows more
                kind = (*(row[name] for name in KIND), _networks(METHODS.bind(row["loss"])))
                seconds.setdefault(kind, []).append(row["seconds"])
        self.seconds = {kind: fmean(values) for kind, values in seconds.items()}

    def of(self, config: Config) -> float | None:
        """The seconds that a run will take, None where no epoch of its kind has been measured."""
        epoch = self.seconds.get(kind_of(config))
        return None if epoch is None else epoch * config.epochs


def kind_of(config: Config) -> Kind:
    """What the time of the run's epochs depends on."""
    return (*(getattr(config, name) for name in KIND), _networks(config.bound("loss")))


def _networks(loss: Bound[Any]) -> str:
    """The name of a method that has other networks than the usual one, else ""."""
    is_usual = type(method_of(loss)).networks is Method.networks
    return "" if is_usual else loss.entry.name


def in_words(seconds: float) -> str:
    """A time as two units at most: 41 s, 12 min, 3 h 20 min, 4 d 6 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 36:
        return f"{hours} h {minutes} min"
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days} d {hours} h"
