"""The cores that this process may use, and how many runs to train at the same time."""

from collections.abc import Sequence

from noisybench.training.device import free_gpu_memory, gpu_occupancy, has_mps
from noisybench.training.memory import memory

# Bytes of memory to allow for one training process: torch, a data set and a large network.
MEMORY_PER_RUN = 4 * 2**30

# On a GPU: a step of a large network with batches of 128 images takes 1.1 GB, CUDA itself about as much.
GPU_MEMORY_PER_RUN = 6 * 2**30
RUNS_PER_GPU = 3
# A GPU that computes for a larger part of the time has no gaps that a further run could fill.
FULL = 0.8


def default_jobs(runs: int, devices: Sequence[str]) -> int:
    """How many runs to train at the same time on these devices, if the user does not say.

    On a CPU: one for each core, as far as memory allows, because small networks train faster side by side
    than one after the other on several cores.  runs: those of the whole experiment, so that a part of it, a
    shard and a sweep that is continued use as many threads, and give the same bits.  On GPUs: at most
    RUNS_PER_GPU on each, as far as free memory and cores allow; `next_device` says when to start them.
    """
    if devices != ["cpu"]:
        at_once = sum(_runs_on(device) for device in devices)
        return max(1, len(devices), min(at_once, cores())) if runs > len(devices) else max(1, runs)
    return max(1, min(runs, cores(), (memory() or MEMORY_PER_RUN) // MEMORY_PER_RUN))


def _runs_on(device: str) -> int:
    if not device.startswith("cuda"):
        return 1
    return max(1, min(RUNS_PER_GPU, free_gpu_memory(device) // GPU_MEMORY_PER_RUN))


def next_device(devices: Sequence[str], running: Sequence[tuple[str, bool]], measures: bool) -> str | None:
    """The device for a further run: that of the fewest; None while it is full, or not known to have room.

    running: the device of each run, and whether the run has ended an epoch, before which its occupancy says
    nothing.  measures: whether a GPU with a run gets another only if it has room.
    """
    of_each = {device: [trains for on, trains in running if on == device] for device in devices}
    device = min(devices, key=lambda name: len(of_each[name]))
    if not measures or not of_each[device] or not device.startswith("cuda"):
        return device
    return device if all(of_each[device]) and _has_room(device, len(of_each[device])) else None


def _has_room(device: str, runs: int) -> bool:
    """Whether a GPU on which so many runs train has memory for another, and gaps that it could fill.

    Processes take turns on a GPU, so that one that is never idle gains nothing by another run; under CUDA's
    Multi-Process Service two compute together.  Where the occupancy is not known, it counts as full.
    """
    occupancy = gpu_occupancy(device)
    has_time = (occupancy is not None and occupancy < FULL) or (runs < 2 and has_mps())
    return has_time and free_gpu_memory(device) >= GPU_MEMORY_PER_RUN


def threads_per_job(jobs: int) -> int:
    """The threads of each of so many runs that train at the same time on the CPU."""
    return max(1, cores() // jobs)


def follow_quota() -> None:
    """Limit torch to as many threads as this process may use cores: torch itself ignores quotas."""
    import torch

    torch.set_num_threads(min(torch.get_num_threads(), cores()))


def cores() -> int:
    """How many cores this process may use, by its affinity and the quota of its container."""
    from joblib import cpu_count

    return int(cpu_count())
