"""The processes that train runs: whether they are alive."""

import os
from collections.abc import Mapping
from typing import Any

from noisybench.errors import RunBusy


def busy(row: Mapping[str, Any]) -> RunBusy:
    return RunBusy(f"Run {row['id']} is being trained now by process {row['pid']}.")


def is_alive(row: Mapping[str, Any], host: str) -> bool:
    """Whether the process of a running run still exists; only this machine's can be asked."""
    return (
        row["status"] == "running"
        and row["host"] == host
        and row["pid"] != os.getpid()
        and is_running(row["pid"])
    )


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
