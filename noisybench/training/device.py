"""Where a run is carried out: recorded beside the run, and no part of its identity."""

import torch

from noisybench.errors import InvalidValue

DEVICES = ("auto", "cpu", "cuda", "mps")


def choose_device(name: str) -> torch.device:
    """The device called `name`; "auto" is the best there is.  Raises InvalidValue."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, there in available.items() if there)
    kind, _, index = name.partition(":")
    if kind not in available or (index and not index.isdigit()):
        raise InvalidValue(f"device is '{name}', but must be one of {', '.join(DEVICES)} (or cuda:N).")
    if not available[kind] or (index and kind == "cuda" and int(index) >= torch.cuda.device_count()):
        there = ", ".join(kind for kind, yes in available.items() if yes)
        raise InvalidValue(f"device is '{name}', but this machine offers only: {there}.")
    return torch.device(name)


def several(name: str) -> list[str]:
    """The devices that runs at once can share out: all of a kind, if none of them is named."""
    device = choose_device(name)
    if device.type != "cuda" or device.index is not None:
        return [str(device)]
    return [f"cuda:{index}" for index in range(torch.cuda.device_count())]


def device_label(device: torch.device) -> str:
    """The device in words, such as "cuda (NVIDIA H100)" or "cpu (2 threads)"."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"{device} ({torch.get_num_threads()} threads)"


def precision(device: torch.device) -> str:
    """What float32 means in convolutions: NVIDIA's tensor cores may round it to "tf32"."""
    return "tf32" if device.type == "cuda" and torch.backends.cudnn.allow_tf32 else "fp32"
