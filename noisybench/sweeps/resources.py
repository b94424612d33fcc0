"""The cores and the memory that this process may use, and how many runs to train at the same time."""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

# Bytes of memory to allow for one training process: torch, a data set and a large network.
MEMORY_PER_RUN = 4 * 2**30

# On a GPU: of a large network with batches of 128 images, its step takes 1.1 GB, CUDA itself about as much.
GPU_MEMORY_PER_RUN = 6 * 2**30
RUNS_PER_GPU = 2

CGROUPS, CGROUP_MOUNT = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def default_jobs(runs: int, devices: Sequence[str]) -> int:
    """How many runs to train at the same time on these devices, if the user does not say.

    On a CPU: one for each core, as far as memory allows, because small networks train faster side by side
    than one after the other on several cores.  Otherwise one for each device.  runs: those of the whole
    experiment, so that a part of it, a shard and a sweep that is continued use as many threads, and give the
    same bits.  On a GPU: up to RUNS_PER_GPU as far as its memory and the cores allow, because a GPU would be
    idle while a run draws batches and writes.
    """
    if devices != ["cpu"]:
        at_once = sum(_runs_on(device) for device in devices)
        return max(1, len(devices), min(at_once, cores())) if runs > len(devices) else max(1, runs)
    return max(1, min(runs, cores(), (memory() or MEMORY_PER_RUN) // MEMORY_PER_RUN))


def _runs_on(device: str) -> int:
    from noisybench.training.device import gpu_memory

    if not device.startswith("cuda"):
        return 1
    return max(1, min(RUNS_PER_GPU, gpu_memory(device) // GPU_MEMORY_PER_RUN))


def threads_per_job(jobs: int) -> int:
    """The threads of each of so many runs that train at the same time on the CPU."""
    return max(1, cores() // jobs)


def follow_quota() -> None:
    """Have torch compute in no more threads than this process may use cores: by itself it knows no quota."""
    import torch

    torch.set_num_threads(min(torch.get_num_threads(), cores()))


def cores() -> int:
    """How many cores this process may use, by its affinity and the quota of its container."""
    from joblib import cpu_count

    return int(cpu_count())


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
