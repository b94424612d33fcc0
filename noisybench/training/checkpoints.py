"""The network that a finished run leaves behind, in one file that holds no code."""

import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noisybench import datasets
from noisybench.batches import Images
from noisybench.config import Config
from noisybench.datasets import Dataset
from noisybench.errors import DataError
from noisybench.files import replacing
from noisybench.labels.open_set import OpenSetImages
from noisybench.split import Split
from noisybench.training.evaluation import predict
from noisybench.training.loop import build_model

FILE = "best.pt"


def save(content: dict[str, Any], path: Path) -> None:
    """Write tensors to a file that only one run writes, whole or not at all.  Raises OSError.

    Through memory: of a full disk, torch.save itself would raise no more than "unexpected pos".
    """
    memory = io.BytesIO()
    torch.save(content, memory)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, alone=True) as file:
        file.write(memory.getbuffer())


@dataclass(frozen=True)
class Checkpoint:
    """The best-validation network of a run, and all that is needed to use it on the run's own data.

    config: the fields of the run's Config.  state: the network's parameters and buffers.
    mean: (h, w, c), subtracted from images in [0, 1].  train, validation: rows of the data set's
    training images; given: the noisy labels of all of them.  source, source_fingerprint, origin: those
    of the open-set images, under open-set noise.
    """

    config: dict[str, Any]
    epoch: int
    state: dict[str, Tensor]
    mean: Tensor
    train: Tensor
    validation: Tensor
    given: Tensor
    source: str = ""
    source_fingerprint: str = ""
    origin: Tensor | None = None

    @classmethod
    def of(
        cls,
        config: Config,
        epoch: int,
        state: dict[str, Tensor],
        mean: Tensor,
        split: Split,
        open_set: OpenSetImages | None = None,
    ) -> "Checkpoint":
        return cls(
            config=config.row(),
            epoch=epoch,
            state={name: value.cpu() for name, value in state.items()},
            mean=mean.cpu(),
            train=torch.from_numpy(split.train),
            validation=torch.from_numpy(split.validation),
            given=torch.from_numpy(split.given),
            source="" if open_set is None else open_set.source,
            source_fingerprint="" if open_set is None else open_set.fingerprint,
            origin=None if open_set is None else torch.from_numpy(open_set.origin),
        )

    def write(self, folder: Path) -> None:
        """Write FILE into `folder`, whole or not at all.  Raises DataError."""
        try:
            save(vars(self), folder / FILE)
        except OSError as error:
            raise DataError(f"The network cannot be written to {folder}: {error.strerror}.") from None

    @classmethod
    def read(cls, folder: Path) -> "Checkpoint":
        """Read FILE in `folder`.  Raises DataError if it is missing or damaged."""
        path = folder / FILE
        try:
            return cls(**torch.load(path, map_location="cpu", weights_only=True))
        except FileNotFoundError:
            raise DataError(f"The run's network is missing: there is no file {path}.") from None
        except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, TypeError) as error:
            raise DataError(f"{path} is damaged and cannot be read: {error}") from None

    def dataset(self) -> Dataset:
        """The data set of the run, with its open-set images in place.  Raises DataError."""
        dataset = datasets.load(self.config["dataset"])
        if self.origin is None:
            return dataset
        return OpenSetImages(self.source, self.source_fingerprint, self.origin.numpy()).replace(dataset)

    def logits(self, images: NDArray[np.uint8], dataset: Dataset, device: torch.device) -> Tensor:
        """The network's logits (n, classes) for uint8 images (n, h, w, c) of `dataset`, on the device.

        Raises DataError if the network was made by other layers than those of today.
        """
        config = Config.from_row(self.config)
        model = build_model(config, dataset, device)
        try:
            model.load_state_dict(self.state)
        except RuntimeError:
            raise DataError(
                "The run's network does not fit its description: another version of noisybench made it."
            ) from None
        batches = Images(torch.from_numpy(np.array(images)), self.mean, device)
        return predict(model, batches, forward=config.method.predict)
