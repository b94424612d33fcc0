"""What a benchmark was measured on."""

import platform
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from noisybench.sweeps.resources import cores

if TYPE_CHECKING:
    import torch


def hardware() -> str:
    """Processor, cores, accelerator, versions and date, in a line."""
    import torch

    parts = [f"{processor()}, {cores()} cores"]
    if torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    return "; ".join(
        [*parts, f"Python {platform.python_version()}, torch {version('torch')}", date.today().isoformat()]
    )


def processor() -> str:
    """The processor's name, with what it can calculate in that matters here."""
    import torch

    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text().splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    return f"{name} ({torch.backends.cpu.get_cpu_capability()})"


def synchronise(device: "torch.device") -> None:
    """Wait until the device has done what it was given."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
