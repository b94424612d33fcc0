"""Which file systems are another machine's."""

import re
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")

# As `df --local` leaves out, by their types (gnulib's ME_REMOTE, and what mounts through FUSE).
REMOTE = {
    *("nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "9p", "afs", "auristorfs", "acfs", "coda", "ceph"),
    *("fhgfs", "beegfs", "gpfs", "ibrix", "lustre", "ocfs2", "gfs2", "panfs", "vxfs", "glusterfs", "davfs"),
    *("sshfs", "s3fs", "rclone", "gcsfuse", "davfs2", "cephfs"),
}


def network_file_system(path: Path) -> str:
    """The type of the network file system on which a file lies or would lie; "" if it is none, or if the
    system does not tell, as only Linux does."""
    try:
        lines = MOUNTS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return ""
    where = path.absolute().resolve()
    found, kind = Path(), ""
    for line in lines:
        # "36 35 98:0 /root /mount/point options [tags] - type source options"; of two mounts on one
        # point, the later one is seen.
        before, _, after = line.partition(" - ")
        fields, (name, source, *_) = before.split(" "), [*after.split(" "), ""]
        point = Path(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), fields[4]))
        if where.is_relative_to(point) and len(point.parts) >= len(found.parts):
            remote = name.removeprefix("fuse.") in REMOTE or source.startswith("//")
            found, kind = point, name if remote else ""
    return kind


def caution(path: Path) -> str:
    """What a user must know before runs are written to this file; "" if nothing."""
    kind = network_file_system(path)
    if not kind:
        return ""
    return (
        f"{path} lies on a network file system ({kind}), where SQLite cannot keep the writes of several"
        " machines apart: use it from one machine at a time. Several need a store each (`sweep"
        " --shard` makes such, or name a local file with --db), which `runs merge` brings together."
    )
