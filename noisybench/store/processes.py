"""Whether the process that a row of the store names still exists."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BOOT = Path("/proc/sys/kernel/random/boot_id")


def is_alive(row: Mapping[str, Any], host: str) -> bool:
    """Whether another process of this machine, called `host`, is training the run of this row."""
    return (
        row["status"] == "running"
        and row["host"] == host
        and row["pid"] != os.getpid()
        and is_running(row["pid"], row["began"])
    )


def is_running(pid: int, since: str | None = None) -> bool:
    """Whether a process of this number lives on this machine.

    since: what `began` returned for the process.  A process of that number that began at another time is
    another process: numbers are given again after a restart, and in containers often the same ones.
    """
    import psutil

    try:
        # A dead process whose parent did not ask how it ended stays as a zombie.
        dead = psutil.Process(pid).status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except (psutil.NoSuchProcess, ValueError):
        return False
    except psutil.AccessDenied:
        dead = False
    return not dead and (not since or began(pid) in ("", since))


def began(pid: int) -> str:
    """The boot of the machine and the clock tick at which a process began; "" except on Linux.

    Changes of the time of day do not affect them."""
    try:
        boot, stat = BOOT.read_text().strip(), Path(f"/proc/{pid}/stat").read_text(errors="replace")
        # Field 22; the name of the process, which may hold spaces and brackets, ends field 2.
        return f"{boot} {stat.rpartition(')')[2].split()[19]}"
    except (OSError, IndexError):
        return ""
