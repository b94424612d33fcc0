"""Where a run is carried out: recorded beside the run, and no part of its identity.

Torch is imported only where a device is used: names are checked without.
"""

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from noisybench.errors import InvalidValue
from noisybench.files import check_temporary_folder

if TYPE_CHECKING:
    import torch

DEVICES = ("auto", "cpu", "cuda", "mps")


def check_device(name: str) -> None:
    """Raise InvalidValue for a device that no machine of this system has."""
    kind, colon, index = name.partition(":")
    if kind not in DEVICES or (colon and (kind != "cuda" or not re.fullmatch("0|[1-9][0-9]?", index))):
        raise InvalidValue(f"device is '{name}', but must be one of {', '.join(DEVICES)} (or cuda:N).")
    if kind == "mps" and sys.platform != "darwin":
        raise InvalidValue(f"device is '{name}', but only macOS has mps.")


def choose_device(name: str) -> "torch.device":
    """The device called `name`; "auto" is the best there is.  Raises InvalidValue."""
    check_device(name)
    check_temporary_folder()
    import torch

    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, there in available.items() if there)
    kind, _, index = name.partition(":")
    if not available[kind] or (index and kind == "cuda" and int(index) >= torch.cuda.device_count()):
        there = ", ".join(kind for kind, yes in available.items() if yes)
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        if available["cuda"]:
            there += f"; CUDA has {torch.cuda.device_count()}, counted from cuda:0"
        if visible is not None:
            there += f", of CUDA_VISIBLE_DEVICES={visible}"
        raise InvalidValue(f"device is '{name}', but this machine offers only: {there}.")
    return torch.device(name)


def several(name: str) -> list[str]:
    """The devices that runs at once can share out: all of a kind, if none of them is named."""
    import torch

    device = choose_device(name)
    if device.type != "cuda" or device.index is not None:
        return [str(device)]
    return [f"cuda:{index}" for index in range(torch.cuda.device_count())]


def device_label(device: "torch.device", threads: int | None = None) -> str:
    """The device in words, such as "cuda (NVIDIA H100)" or "cpu (2 threads)", by default torch's."""
    import torch

    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)}{', MPS' if has_mps() else ''})"
    return f"{device} ({threads or torch.get_num_threads()} threads)"


def choose_precision(name: str, device: "torch.device") -> str:
    """What networks compute in on a device, "fp32" or "bf16", by the `precision` of a Config.

    "auto" is bf16 where the hardware has it natively.  Parameters, batch norm's statistics, logits and
    losses are float32 in any case.
    """
    if name == "auto":
        return "bf16" if _has_bfloat16(device) else "fp32"
    return name


def _has_bfloat16(device: "torch.device") -> bool:
    import torch

    if device.type == "cuda":
        # Tensor cores have it from this generation on; torch's own function asks the current device.
        return torch.cuda.get_device_capability(device) >= (8, 0) or torch.version.hip is not None
    if device.type == "cpu":
        able = torch.cpu.get_capabilities()
        return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    return False


def set_up(device: "torch.device", precision: str, deterministic: bool = False) -> None:
    """Have torch compute on a device as the precision says: fp32 is not rounded to TF32 by tensor cores.

    deterministic: whether the same run, or one that is resumed, must give the same bits on a GPU.
    """
    import torch

    if device.type == "cuda":
        if deterministic:
            # cuBLAS reads it when it is first used.
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        if device.index is not None:
            torch.cuda.set_device(device)
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision != "fp32"
        # Shapes stay the same through a run, so that a search for the fastest convolution pays; but which one
        # is fastest can differ from time to time, and their roundings do.
        torch.backends.cudnn.benchmark = not deterministic
        torch.backends.cudnn.deterministic = deterministic


def free_gpu_memory(device: "torch.device | str") -> int:
    """The free bytes of memory of a GPU, or of the instance (MIG) that this process sees of one."""
    import torch

    gpu = torch.cuda.get_device_properties(device)
    try:
        # Unlike CUDA itself, NVML takes no memory of the GPU for this process, and no turn on a GPU that
        # serves one process at a time.
        if _is_whole(device):
            return int(gpu.total_memory - torch.cuda.device_memory_used(device))
    except Exception:  # of many kinds: the library, its Python module or the right to ask may be missing
        pass
    return int(torch.cuda.mem_get_info(device)[0])


def gpu_occupancy(device: "torch.device | str") -> float | None:
    """The share of the last second in which a GPU computed, from 0 to 1; None if NVML cannot say."""
    import torch

    try:
        return torch.cuda.utilization(device) / 100 if _is_whole(device) else None
    except Exception:  # as above
        return None


def _is_whole(device: "torch.device | str") -> bool:
    """Whether a GPU is no instance (MIG), which has memory of its own that NVML counts for the whole."""
    import torch

    return " MIG " not in torch.cuda.get_device_properties(device).name


def has_mps() -> bool:
    """Whether CUDA's Multi-Process Service runs, by which several processes compute on a GPU at the same time
    instead of in turns.  Processes use it by themselves; noisybench never starts it."""
    return Path(os.environ.get("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps"), "control").exists()
