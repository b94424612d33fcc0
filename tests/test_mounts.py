"""Whether a store lies on another machine's disk is told from what the system has mounted."""

from pathlib import Path

import pytest
from commands import SHORT, noisybench

from noisybench.store import mounts
from noisybench.store.mounts import caution, network_file_system

LINES = r"""21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 21 0:40 / /home rw,nosuid shared:5 - nfs4 server:/export/home rw,vers=4.2
31 30 0:41 / /home/me/local rw - tmpfs tmpfs rw
32 21 0:42 / /mnt/windows\040share rw - cifs //server/share rw
33 21 0:43 / /mnt/remote rw - fuse.sshfs me@server:/ rw
34 21 0:44 / /mnt/twice rw - nfs server:/a rw
35 34 0:45 / /mnt/twice rw - xfs /dev/sdb rw
36 21 0:46 / /mnt/odd rw - newfs //server/odd rw
37 21 0:47 / /homes rw - btrfs /dev/disk/by-path/pci-0000:00 rw
38 21 0:48 / /mnt/fuse rw - fuse.mergerfs a:b rw
"""


@pytest.fixture
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "mountinfo"
    path.write_text(LINES)
    monkeypatch.setattr(mounts, "MOUNTS", path)
    return path


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/runs.db", ""),
        ("/home/me/runs.db", "nfs4"),
        ("/home/me/local/runs.db", ""),
        ("/mnt/windows share/runs.db", "cifs"),
        ("/mnt/remote/runs.db", "fuse.sshfs"),
        ("/mnt/twice/runs.db", ""),
        ("/mnt/odd/runs.db", "newfs"),
        ("/homes/runs.db", ""),
        ("/mnt/fuse/runs.db", ""),
    ],
)
def test_the_file_system_of_a_file_is_that_of_the_nearest_mount(mounted: Path, path: str, kind: str) -> None:
    assert network_file_system(Path(path)) == kind


def test_a_system_that_does_not_tell_is_believed_to_be_local(mounted: Path) -> None:
    mounted.unlink()
    assert network_file_system(Path("/home/me/runs.db")) == caution(Path("/home/me/runs.db")) == ""


def test_the_real_system_is_read(tmp_path: Path) -> None:
    assert network_file_system(tmp_path) == network_file_system(tmp_path / "runs.db")


def test_who_trains_into_such_a_store_is_told_what_to_do(
    database: Path, mounted: Path, tmp_path: Path
) -> None:
    grid = tmp_path / "grid.yaml"
    grid.write_text("grid: [{loss: lq, epochs: 1, train_size: 100}]")
    mounted.write_text(f"1 0 0:1 / {database.parent} rw - nfs4 server:/ rw\n")
    for command in (("train", *SHORT), ("sweep", grid, "--quiet")):
        said = " ".join(noisybench(*command).stderr.split())
        assert "(nfs4)" in said and "runs merge" in said
    assert "nfs4" not in noisybench("runs", "list").stderr
