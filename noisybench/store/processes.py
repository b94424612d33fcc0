"""Whether the process that a row of the store names still exists."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BOOT = Path("/proc/sys/kernel/random/boot_id")


def is_alive(row: Mapping[str, Any], host: str) -> bool:
    """Whether another process is training the run of this row; only this machine's can be asked."""
    return (
        row["status"] == "running"
        and row["host"] == host
        and row["pid"] != os.getpid()
        and is_running(row["pid"], row["began"])
    )


def is_running(pid: int, since: str | None = None) -> bool:
    """Whether there is a process of this number on this machine, and it is not dead.

    since: as `began` had it.  A process of that number that began later is another one: numbers come
    again after a restart, in containers the very same.
    """
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    state = _state(pid)
    if not state:
        return True
    # A zombie is dead, and whoever started it has not asked how it ended; in a container that may be
    # nobody, ever.
    return state[0] not in ("Z", "X") and (not since or began(pid) in ("", since))


def began(pid: int) -> str:
    """The start of the machine and the tick of its clock at which a process began, both as Linux has
    them; "" where the system does not tell.  No change of the time of day changes them."""
    try:
        return f"{BOOT.read_text().strip()} {_state(pid)[19]}"
    except (OSError, IndexError):
        return ""


def _state(pid: int) -> list[str]:
    """What Linux tells of a process, from its state on; else nothing."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return []
    # It follows the name in brackets, which may have brackets in it.
    return stat.rpartition(")")[2].split()
