"""The file system that a store lies on."""

from pathlib import Path

# Types of network file systems: those of gnulib's ME_REMOTE, which `df --local` leaves out, and of FUSE.
REMOTE = {
    *("nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "9p", "afs", "auristorfs", "acfs", "coda", "ceph"),
    *("fhgfs", "beegfs", "gpfs", "ibrix", "lustre", "ocfs2", "gfs2", "panfs", "vxfs", "glusterfs", "davfs"),
    *("sshfs", "s3fs", "rclone", "gcsfuse", "davfs2", "cephfs"),
}


def network_file_system(path: Path) -> str:
    """The type of the network file system that a file lies on, or would lie on; "" if it is a local one, or
    if the system does not tell."""
    import psutil

    try:
        mounts = psutil.disk_partitions(all=True)
    except (OSError, RuntimeError):
        return ""
    file = path.absolute().resolve()
    deepest, found = Path(), ""
    for mount in mounts:
        point = Path(mount.mountpoint)
        # Of two mounts on one point, the later one is seen.
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
        f"{path} lies on a network file system ({kind}), where SQLite cannot keep the writes of several"
        " machines apart: use it from one machine at a time. Give each of several machines a store of its own"
        " (`sweep --shard` does, or name a local file with --db); `runs merge` brings the stores together."
    )
