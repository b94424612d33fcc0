"""Whether the process that a row of the store names still exists."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def is_alive(row: Mapping[str, Any], host: str) -> bool:
    """Whether another process is training the run of this row; only this machine's can be asked."""
    return (
        row["status"] == "running"
        and row["host"] == host
        and row["pid"] != os.getpid()
        and is_running(row["pid"])
    )


def is_running(pid: int) -> bool:
    """Whether there is a process of this number on this machine, and it is not dead."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """Whether a process is dead, and whoever started it has not asked how it ended; in a container that
    may be nobody, ever.  Only Linux tells."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    # The state follows the name in brackets, which may have brackets in it.
    return stat.rpartition(b")")[2].split()[:1] in ([b"Z"], [b"X"])
