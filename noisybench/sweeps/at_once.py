"""How many runs this machine carries out at once, and with how many threads each."""

import os
from collections.abc import Sequence

# Bytes of memory that a process is reckoned to take: torch, a data set, and the training of a large network.
SHARE = 4 * 2**30


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
    """How many cores this process may use; where the system cannot tell (macOS), how many there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory() -> int:
    """The bytes of memory that this machine has, or SHARE where it does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return SHARE
