"""The machine that a store lies on: the processes that train its runs, and its file systems."""

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BOOT = Path("/proc/sys/kernel/random/boot_id")

# Types of network file systems: those of gnulib's ME_REMOTE, which `df --local` leaves out, and of FUSE.
REMOTE = {
    *("nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "9p", "afs", "auristorfs", "acfs", "coda", "ceph"),
    *("fhgfs", "beegfs", "gpfs", "ibrix", "lustre", "ocfs2", "gfs2", "panfs", "vxfs", "glusterfs", "davfs"),
    *("sshfs", "s3fs", "rclone", "gcsfuse", "davfs2", "cephfs"),
}


def this_process() -> dict[str, Any]:
    """What tells this process from all others, by the fields of Provenance."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "began": began(os.getpid())}


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


def network_file_system(path: Path) -> str:
    """The type of the network file system of a file, which need not exist; "" for a local or unknown one."""
    import psutil

    try:
        mounts = psutil.disk_partitions(all=True)
    except (OSError, RuntimeError):
        return ""
    file = path.absolute().resolve()
    deepest, found = Path(), ""
    for mount in mounts:
        point = Path(mount.mountpoint)
        # Of two mounts on one point, the later one counts.
        if file.is_relative_to(point) and len(point.parts) >= len(deepest.parts):
            remote = mount.fstype.removeprefix("fuse.") in REMOTE or mount.device.startswith("//")
            deepest, found = point, mount.fstype if remote else ""
    return found


def network_warning(path: Path) -> str:
    """A warning where a store is to be written on a network file system; else ""."""
    kind = network_file_system(path)
    if not kind:
        return ""
    return (
        f"{path} lies on a network file system ({kind}), where SQLite cannot separate the writes of several"
        " machines: use it from one machine at a time. Give each machine its own store, by `sweep --shard` or"
        " a local file as --db, and merge the stores with `runs merge`."
    )
