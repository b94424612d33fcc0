"""What memory there is, and what a run needs of it, found before any of it is taken."""

import math
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from noisybench.errors import InvalidValue
from noisybench.training.device import choose_precision, free_gpu_memory

if TYPE_CHECKING:
    import torch

    from noisybench.config import Config
    from noisybench.datasets import Dataset
    from noisybench.split import Split

CGROUPS, CGROUP_MOUNT = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def memory() -> int | None:
    """The bytes of memory that this process may use, by the machine and its container; None if unknown."""
    try:
        physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return min([physical, *_cgroup_limits()])
    except (AttributeError, ValueError, OSError):
        return None


def _cgroup_limits() -> Iterator[int]:
    """The memory limits in bytes of the control groups of this process, as containers and Slurm set them.

    Only Linux has control groups, in versions 1 and 2.
    """
    lines = CGROUPS.read_text().splitlines() if CGROUPS.exists() else []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        version1 = CGROUP_MOUNT / "memory", "memory.limit_in_bytes"
        root, name = version1 if controllers else (CGROUP_MOUNT, "memory.max")
        innermost = root / path.lstrip("/")
        for folder in (innermost, *innermost.parents):
            # "max" means no limit; a container may not see the groups that it lies in.
            with suppress(OSError, ValueError):
                if folder.is_relative_to(root):
                    yield int((folder / name).read_text())


def free(device: "torch.device | None" = None) -> float:
    """The bytes of memory that are free on a device, by default in main memory."""
    import psutil

    if device is not None and device.type == "cuda":
        return float(free_gpu_memory(device))
    return float(min(psutil.virtual_memory().available, memory() or math.inf))


def check_network(config: "Config", dataset: "Dataset", device: "torch.device") -> None:
    """Raise InvalidValue where the network of a run does not fit into the free memory of the device."""
    parameters, needed = of_network(config, dataset, device)
    if needed > free(device):
        raise InvalidValue(
            f"{config.model} has {parameters:,} parameters on {config.dataset}. Training it by {config.loss}"
            f" with a batch size of {config.batch_size:,} needs at least {needed / 1e9:.1f} GB of memory,"
            f" and {free(device) / 1e9:.1f} GB are free. Choose a smaller network or --batch-size."
        )


def check_networks(configs: "Iterable[Config]", device: "torch.device") -> None:
    """Raise InvalidValue if the network of one of these runs does not fit: see `check_network`."""
    from noisybench import datasets

    settings = ("dataset", "model", "loss", "batch_size", "optimiser", "momentum", "precision")
    for config in {tuple(getattr(config, name) for name in settings): config for config in configs}.values():
        check_network(config, datasets.load(config.dataset), device)


def of_network(config: "Config", dataset: "Dataset", device: "torch.device") -> tuple[int, float]:
    """The number of parameters, and the bytes that training takes at least for them and for a batch: the
    parameters, their gradients, what the optimiser keeps of each, the best network so far, and what the
    gradients of a batch are computed from.

    Both are 0 for a model whose code needs the values of its weights.
    """
    import torch

    from noisybench.training.loop import build_model

    # Tensors of this device have a shape and no memory.
    meta = torch.device("meta")
    height, width, channels = dataset.shape
    kept: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    try:
        with meta:
            model = build_model(config, dataset, meta)
    except RuntimeError:
        return 0, 0
    # What a step does after a layer that needs values is not counted.
    with meta, suppress(RuntimeError), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        config.method.predict(model, torch.empty(config.batch_size, channels, height, width))
    weights, batch = _sizes([*model.parameters(), *model.buffers()]), _sizes(kept)
    batch = {storage: size for storage, size in batch.items() if storage not in weights}
    copies = 3 + (2 if config.optimiser == "adam" else config.momentum > 0)
    share = 0.5 if choose_precision(config.precision, device) == "bf16" else 1
    needed = copies * sum(weights.values()) + share * sum(batch.values())
    return sum(p.numel() for p in model.parameters()), needed


def _sizes(tensors: "Iterable[torch.Tensor]") -> dict[int, int]:
    """The bytes of the storages of these tensors, each once."""
    storages = (tensor.untyped_storage() for tensor in tensors)
    return {storage._cdata: storage.nbytes() for storage in storages}


def check_pixels(config: "Config", dataset: "Dataset", split: "Split", device: "torch.device") -> None:
    """Raise InvalidValue where the pixels of a run do not fit into the free memory of the device."""
    from noisybench.batches import PADDING

    height, width, channels = dataset.shape
    border = 2 * PADDING if config.augment == "flip-crop" else 0
    needed = len(split.train) * (height + border) * (width + border) * channels
    needed += len(split.validation) * height * width * channels
    if device.type == "cuda":
        needed += dataset.test_images.nbytes
    if needed > free(device):
        raise InvalidValue(
            f"The pixels of this run need {needed / 1e9:.1f} GB of memory, and {free(device) / 1e9:.1f} GB"
            " are free. Train on fewer images with --train-size, without their border with --augment none, or"
            " prepare smaller images: noisybench data add NAME --from PATH --image-size PIXELS."
        )
