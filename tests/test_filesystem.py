"""Whether a store lies on another machine's disk is told from the mounted file systems."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from commands import SHORT, noisybench

from noisybench.store.host import network_file_system, network_warning

MOUNTS = [
    ("/", "ext4", "/dev/sda1"),
    ("/home", "nfs4", "server:/export/home"),
    ("/home/me/local", "tmpfs", "tmpfs"),
    ("/mnt/windows share", "cifs", "//server/share"),
    ("/mnt/remote", "fuse.sshfs", "me@server:/"),
    ("/mnt/twice", "nfs", "server:/a"),
    ("/mnt/twice", "xfs", "/dev/sdb"),
    ("/mnt/odd", "newfs", "//server/odd"),
    ("/homes", "btrfs", "/dev/disk/by-path/pci-0000:00"),
    ("/mnt/fuse", "fuse.mergerfs", "a:b"),
]

Mount = Callable[[list[tuple[str, str, str]]], None]


@pytest.fixture
def mount(monkeypatch: pytest.MonkeyPatch) -> Mount:
    """Has the system tell of these mounts: point, type and device."""

    def told(mounts: list[tuple[str, str, str]]) -> None:
        partitions = [
            SimpleNamespace(mountpoint=point, fstype=kind, device=device) for point, kind, device in mounts
        ]
        monkeypatch.setattr(psutil, "disk_partitions", lambda all: partitions)

    return told


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
def test_the_file_system_of_a_file_is_that_of_the_nearest_mount(mount: Mount, path: str, kind: str) -> None:
    mount(MOUNTS)
    assert network_file_system(Path(path)) == kind


def test_a_system_that_does_not_tell_is_believed_to_be_local(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(all: bool) -> None:
        raise PermissionError

    monkeypatch.setattr(psutil, "disk_partitions", refused)
    assert network_file_system(Path("/home/me/runs.db")) == network_warning(Path("/home/me/runs.db")) == ""


def test_the_real_system_is_read(tmp_path: Path) -> None:
    assert network_file_system(tmp_path) == network_file_system(tmp_path / "runs.db")


def test_who_trains_into_such_a_store_is_told_what_to_do(
    database: Path, mount: Mount, tmp_path: Path
) -> None:
    grid = tmp_path / "grid.yaml"
    grid.write_text("grid: [{loss: lq, epochs: 1, train_size: 100}]")
    mount([(str(database.parent), "nfs4", "server:/")])
    for command in (("train", *SHORT), ("sweep", grid, "--quiet")):
        said = " ".join(noisybench(*command).stderr.split())
        assert "(nfs4)" in said and "runs merge" in said
    assert "nfs4" not in noisybench("runs", "list").stderr
