"""Weights of torchvision's ResNets as initial weights of a network, read from a local file."""

import hashlib
import pickle
import re
import warnings
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from noisybench.errors import DataError
from noisybench.models.networks import ResNet

EDGES = {"conv1": "stem.0", "bn1": "stem.1", "fc": "output"}
MAX_BYTES = 2 * 10**9
FITS = (
    "torchvision-resnet18, torchvision-resnet34 and torchvision-resnet50, and resnet18 and resnet34 with"
    " width=64, each for the weights of its own depth"
)
# torchvision's names of the parts of a block, and ours.
PARTS = {
    **{"conv1": "body.0", "bn1": "body.1", "conv2": "body.3", "bn2": "body.4"},
    **{"downsample.0": "shortcut.0", "downsample.1": "shortcut.1"},
}


@dataclass(frozen=True, eq=False)
class Pretrained:
    """Initial weights, by torchvision's names.  digest: the start of the SHA-256 of their file."""

    path: str
    digest: str
    state: dict[str, Tensor] = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> "Pretrained":
        """The weights that `torch.save` wrote of a state_dict; nothing in the file is executed.

        A dictionary that holds the weights as `state_dict` is read too, and so are names that begin with
        `module.`.  Raises DataError.
        """
        try:
            if path.stat().st_size > MAX_BYTES:
                raise DataError(f"{path} has more than {MAX_BYTES:,} bytes, the most that are read.")
            digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of protocols of pickle: what cannot be read is an error
                content = torch.load(path, map_location="cpu", weights_only=True)
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}.") from None
        except (RuntimeError, ValueError, KeyError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile):
            content = None
        if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
            content = content["state_dict"]
        if not isinstance(content, dict) or not content or not all(map(_is_weight, content.items())):
            raise DataError(
                f"{path} holds no weights: it must be a state_dict of plain tensors, as torch.save writes it."
                " Other objects are not loaded."
            )
        return cls(str(path), digest, {name.removeprefix("module."): x for name, x in content.items()})

    def start(self, network: nn.Module) -> str:
        """Put the weights into a network, and say in words what stays as it was drawn: where the file has
        others, the output layer and the stem (the first convolution and its norm).  Raises DataError if more
        differs."""
        own = network.state_dict()
        named = self._of_ours() if isinstance(network, ResNet) else self.state
        fitting = {name: x for name, x in named.items() if name in own and own[name].shape == x.shape}
        if not {"stem.0.weight", "conv1.weight"} & fitting.keys():
            fitting = {name: x for name, x in fitting.items() if not name.startswith(("stem.", "bn1."))}
        new = [name for name in own if name not in fitting and not name.endswith("num_batches_tracked")]
        edges = ("stem.", "conv1.", "bn1.", "output.", "fc.")
        wrong = next((name for name in new if not name.startswith(edges)), None)
        if wrong is not None:
            raise DataError(f"{self.path} does not fit this network ({wrong} differs). Weights fit {FITS}.")
        if not all(x.isfinite().all() for x in fitting.values()):
            raise DataError(f"{self.path} holds weights that are no finite numbers.")
        network.load_state_dict({**own, **fitting})
        if not new:
            return f"All weights are those of {self.path}."
        words = []
        for name in new:
            there = _shape(named[name]) if name in named else "nothing"
            if own[name].ndim > 1:
                words.append(f"{name} ({_shape(own[name])} here, {there} in the file)")
        return f"{len(fitting)} tensors are those of {self.path}. New are {' and '.join(words)}."

    def _of_ours(self) -> dict[str, Tensor]:
        """The weights by the names of our own ResNet, whose blocks are counted through all stages."""
        parsed = [(name, re.fullmatch(r"layer(\d)\.(\d+)\.(.+)\.(\w+)", name)) for name in self.state]
        blocks = sorted({(int(found[1]), int(found[2])) for _, found in parsed if found})
        names = {}
        for name, found in parsed:
            if found:
                number = blocks.index((int(found[1]), int(found[2])))
                names[name] = f"stages.{number}.{PARTS.get(found[3], found[3])}.{found[4]}"
            else:
                first, _, rest = name.partition(".")
                names[name] = f"{EDGES.get(first, first)}.{rest}"
        return {names[name]: x for name, x in self.state.items()}


def _is_weight(item: tuple[object, object]) -> bool:
    name, value = item
    return isinstance(name, str) and isinstance(value, Tensor) and value.layout == torch.strided


def _shape(x: Tensor) -> str:
    return "×".join(map(str, x.shape))
