"""The network that a finished run leaves behind, in one file that holds no code."""

import io
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noisybench import datasets
from noisybench.batches import Images
from noisybench.config import NAMED, Config, declared_fields
from noisybench.datasets import Dataset
from noisybench.errors import DataError
from noisybench.files import replacing
from noisybench.labels.drawing import Corruption
from noisybench.labels.open_set import OpenSetImages
from noisybench.split import Split
from noisybench.training.device import set_up
from noisybench.training.evaluation import predict
from noisybench.training.loop import build_model
from noisybench.training.memory import free

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


def read_tensors(path: Path) -> Any:
    """What `save` wrote into a file, on the CPU; no code in it is executed.

    Raises DataError for a file that is larger than the free memory, FileNotFoundError, and errors of any kind
    for a damaged one.
    """
    if not path.is_file():
        raise FileNotFoundError
    # Torch would unpack a compressed file, whatever its size, and read an older format that claims any size.
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > path.stat().st_size:
        raise ValueError
    if size > free():
        raise DataError(
            f"{path} needs {size / 1e9:.1f} GB of memory, and {free() / 1e9:.1f} GB are free here."
        )
    return torch.load(path, map_location="cpu", weights_only=True)


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
    def read(cls, folder: Path, row: Mapping[str, Any]) -> "Checkpoint":
        """Read FILE in `folder`, the network of the run that `row` of the store describes.

        Raises DataError if it is missing or damaged, the network of another run, or one of another revision
        of its method.
        """
        config = Config.from_row(row)
        if config.revision != config.method.revision:
            raise DataError(
                f"Run {row['id']} was trained by revision {config.revision} of {config.loss}, whose networks"
                f" revision {config.method.revision} cannot use. Train the run again."
            )
        path = folder / FILE
        try:
            content = read_tensors(path)
        except DataError:
            raise
        except FileNotFoundError:
            raise DataError(f"The run's network is missing: there is no file {path}.") from None
        except Exception:  # damage can make torch raise anything, and its texts advise to execute the file
            raise DataError(
                f"{path} is damaged and cannot be read. Train the run again with --force."
            ) from None
        problem = _problem(content)
        if problem:
            raise DataError(
                f"{path} is not the network of a run: {problem}. Train the run again with --force."
            )
        checkpoint = cls(**content)
        if any(checkpoint.config[name] != row[name] for name in checkpoint.config if name in row.keys()):
            raise DataError(f"{path} is the network of another run than {row['id']}.")
        if row["labels_sha256"] and checkpoint._labels_sha256() != row["labels_sha256"]:
            raise DataError(f"{path} has other noisy labels than run {row['id']} was trained on.")
        return replace(checkpoint, config=config.row())

    def _labels_sha256(self) -> str:
        return Corruption(self.given.numpy(), None, self._open_set()).sha256

    def _open_set(self) -> OpenSetImages | None:
        if self.origin is None:
            return None
        return OpenSetImages(self.source, self.source_fingerprint, self.origin.numpy())

    def dataset(self) -> Dataset:
        """The data set of the run, with its open-set images in place.  Raises DataError."""
        dataset = datasets.load(self.config["dataset"])
        if len(self.given) != len(dataset.train_labels):
            raise DataError(
                f"The run's network has {len(self.given):,} labels, but {dataset.name} has"
                f" {len(dataset.train_labels):,} training images here."
            )
        if not 0 <= int(self.given.min()) <= int(self.given.max()) < dataset.n_classes:
            raise DataError(
                f"The run's network has labels beyond the {dataset.n_classes} classes of {dataset.name}."
            )
        open_set = self._open_set()
        return dataset if open_set is None else open_set.replace(dataset)

    def logits(self, images: NDArray[np.uint8], dataset: Dataset, device: torch.device) -> Tensor:
        """The network's logits (n, classes) for uint8 images (n, h, w, c) of `dataset`, on the device.

        Raises DataError if the network was made by other layers than those of today.
        """
        config = Config.from_row(self.config)
        # Compared without memory first: a file may claim any width.
        with torch.device("meta"):
            described = build_model(config, dataset, torch.device("meta")).state_dict()
        shapes = {name: value.shape for name, value in described.items()}
        if shapes != {name: value.shape for name, value in self.state.items()}:
            raise DataError(
                "The run's network does not fit its description: another version of noisybench made it."
            )
        if self.mean.shape != dataset.shape:
            raise DataError(f"The run's network is for images of another shape than those of {dataset.name}.")
        set_up(device, "fp32")
        model = build_model(config, dataset, device)
        model.load_state_dict(self.state)
        batches = Images(torch.from_numpy(np.asarray(images)), self.mean, device)
        return predict(model, batches, forward=config.method.predict)


def _problem(content: Any) -> str:
    """What is wrong with the content of a file of a network, or ""."""
    known = {f.name for f in fields(Checkpoint)}
    required = known - {"source", "source_fingerprint", "origin"}
    if not isinstance(content, dict) or not required <= content.keys() <= known:
        return "its parts are others"
    state, config = content["state"], content["config"]
    rows = {name: content[name] for name in ("train", "validation", "given")}
    if content.get("origin") is not None:
        rows["origin"] = content["origin"]
    # A file of an earlier noisybench lacks the fields that were declared since.
    if (
        not isinstance(config, dict)
        or not {"dataset", "seed", *NAMED} <= config.keys() <= declared_fields().keys()
    ):
        return "its configuration is not that of a run"
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        return "its parameters have no names"
    texts = (content.get("source", ""), content.get("source_fingerprint", ""))
    if not isinstance(content["epoch"], int) or not all(isinstance(text, str) for text in texts):
        return "its epoch or its source is of another type"
    for name, value in [*state.items(), *rows.items(), ("mean", content["mean"])]:
        if not isinstance(value, Tensor) or value.layout != torch.strided:
            return f"{name} is not a tensor"
        if value.untyped_storage().nbytes() < value.numel() * value.element_size():
            return f"{name} claims more numbers than it has"
        if value.is_floating_point() and not value.isfinite().all():
            return f"{name} has numbers that are not finite"
    return next(_wrong_rows(rows), "")


def _wrong_rows(rows: Mapping[str, Tensor]) -> Iterator[str]:
    """What is wrong with the rows of images and with their labels."""
    n = len(rows["given"]) if rows["given"].dim() == 1 else 0
    for name, value in rows.items():
        if value.dim() != 1 or value.dtype != torch.int64:
            yield f"{name} must be one row of int64"
        elif name in ("train", "validation") and ((value < 0) | (value >= n)).any():
            yield f"{name} has rows that are not there"
        elif name == "origin" and len(value) != n:
            yield "origin is not as long as the labels"
