"""The cores that this process may use, and how many runs to train at the same time."""

from collections.abc import Sequence

from noisybench.training.memory import memory

# Bytes of memory to allow for one training process: torch, a data set and a large network.
MEMORY_PER_RUN = 4 * 2**30

# On a GPU: a step of a large network with batches of 128 images takes 1.1 GB, CUDA itself about as much.
GPU_MEMORY_PER_RUN = 6 * 2**30
RUNS_PER_GPU = 2


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
    """Limit torch to as many threads as this process may use cores: torch itself ignores quotas."""
    import torch

    torch.set_num_threads(min(torch.get_num_threads(), cores()))


def cores() -> int:
    """How many cores this process may use, by its affinity and the quota of its container."""
    from joblib import cpu_count

    return int(cpu_count())
