"""How many runs this machine carries out at once, and with how many threads each."""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

# Bytes of memory that a process is reckoned to take: torch, a data set, and the training of a large network.
SHARE = 4 * 2**30

GROUPS, MOUNT = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def jobs_for(runs: int, devices: Sequence[str]) -> int:
    """How many of so many runs to carry out at once on these devices, where nobody says.

    On a CPU, one for each core, as far as memory goes: small networks are trained faster side by side than
    on several cores, one after the other.  Else one for each device.  runs: those of the whole experiment,
    whatever is left or asked for of it: a sweep that was stopped, a part of one and a shard have the same
    threads, and the same bits.
    """
    if devices != ["cpu"]:
        return max(1, min(runs, len(devices)))
    return max(1, min(runs, cores(), _memory() // SHARE))


def threads_of(at_once: int) -> int:
    """The threads of each of so many runs at once on the CPU."""
    return max(1, cores() // at_once)


def cores() -> int:
    """How many cores this process may use, by its affinity and by the quota of its container."""
    from joblib import cpu_count

    return int(cpu_count())


def _memory() -> int:
    """The bytes of memory that this process may use, or SHARE where the system does not say."""
    try:
        return min([os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *_limits()])
    except (AttributeError, ValueError, OSError):
        return SHARE


def _limits() -> Iterator[int]:
    """The limits of memory, in bytes, of the control groups that this process is in, as those of a
    container or of a job of Slurm: only Linux has such, in one of two ways."""
    lines = GROUPS.read_text().splitlines() if GROUPS.exists() else []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root, name = (MOUNT / "memory", "memory.limit_in_bytes") if controllers else (MOUNT, "memory.max")
        inner = root / path.lstrip("/")
        for folder in (inner, *inner.parents):
            # "max" is no limit; a container may not see the groups that it lies in.
            with suppress(OSError, ValueError):
                if folder.is_relative_to(root):
                    yield int((folder / name).read_text())
