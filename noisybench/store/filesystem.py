"""The file system that a store lies on."""

from pathlib import Path

# Types of network file systems: those of gnulib's ME_REMOTE, which `df --local` leaves out, and of FUSE.
REMOTE = {
    *("nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "9p", "afs", "auristorfs", "acfs", "coda", "ceph"),
    *("fhgfs", "beegfs", "gpfs", "ibrix", "lustre", "ocfs2", "gfs2", "panfs", "vxfs", "glusterfs", "davfs"),
    *("sshfs", "s3fs", "rclone", "gcsfuse", "davfs2", "cephfs"),
}


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
