"""A disk that fills up: runs fail in words, the store stays whole, a sweep goes on once there is room."""

import resource
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from commands import noisybench
from stores import bits, put
from test_parallel import command

from noisybench.store import Store
from noisybench.store.merge import merge

pytestmark = pytest.mark.slow

GRID = "set: {train_size: 300, epochs: 6, lr: 0.1, model: mlp(hidden=64)}\ngrid: [{loss: [cce, lq, mae]}]"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A folder with a small file system of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("no file system can be mounted here; the tests with a limit on files' sizes stand in")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def resized(disk: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", disk], check=True)


def sweep(store: Path, *options: str, limit: int | None = None) -> tuple[int, str, str]:
    grid = store.parent.parent / "grid.yaml"
    grid.write_text(GRID)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    if limit is not None:
        # Children inherit it; this process writes nothing meanwhile.
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        child = command(store, grid, "--quiet", *options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    out, errors = child.communicate(timeout=240)
    assert "Traceback" not in errors, errors
    return child.returncode, out, errors


def is_whole(store: Path) -> bool:
    connection = sqlite3.connect(store)
    (found,) = connection.execute("PRAGMA integrity_check").fetchone()
    connection.close()
    return bool(found == "ok")


@pytest.mark.parametrize("jobs", [(), ("--jobs", "2")], ids=["one", "jobs"])
# So much that the first network does not fit, or that the store does not.
@pytest.mark.parametrize("size", ["380k", "260k"])
def test_a_sweep_goes_on_where_the_disk_was_full(disk: Path, jobs: tuple[str, ...], size: str) -> None:
    path = disk / "runs.db"
    resized(disk, size)
    code, _, errors = sweep(path, *jobs)
    assert code in (1, 2) and ("No space left" in errors or "full" in errors or "disk" in errors), errors
    full = Store.read(path)
    assert all(row["status"] != "running" for row in full.runs())
    # Not a byte is left, and it can be read all the same.
    filler = disk / "filler"
    with pytest.raises(OSError, match="No space"):
        with filler.open("wb") as file:
            while file.write(b"0" * 4096):
                file.flush()
    assert len(Store.read(path).runs()) == len(full.runs())
    filler.unlink()
    resized(disk, "16m")
    assert is_whole(path)
    code, _, errors = sweep(path, *jobs)
    assert code == 0, errors
    assert is_whole(path)
    (disk.parent / "clean").mkdir()
    undisturbed = disk.parent / "clean" / "runs.db"
    assert sweep(undisturbed, *jobs)[0] == 0
    assert bits(path) == bits(undisturbed) and len(bits(path)) == 3


# So many bytes a file may have: networks do not fit, or the store's log does not.
def test_a_store_that_was_closed_is_read_on_a_full_disk(disk: Path) -> None:
    path = disk / "runs.db"
    store = Store.open(path)
    run = put(store, epochs=20)
    store.conn.close()
    assert [file.name for file in disk.glob("runs.db-*")] == ["runs.db-runs"], "it has no log"
    (disk / "filler").write_bytes(b"")
    with suppress(OSError), (disk / "filler").open("ab", buffering=0) as filler:
        while True:
            filler.write(b"0" * 4096)
    # Twice: the first may leave an empty log behind.
    for _ in range(2):
        for words in (("runs", "list"), ("runs", "show", run), ("report",)):
            result = noisybench(*words, "--db", path)
            assert result.exit_code == 0 and "50.0" in result.stdout, result.output
    assert merge([path], disk.parent / "elsewhere.db").added == [run]


@pytest.mark.parametrize("limit", [100_000, 60_000])
def test_files_that_cannot_grow(tmp_path: Path, limit: int) -> None:
    """The same without a file system of its own, where none can be mounted."""
    (tmp_path / "disk").mkdir()
    path = tmp_path / "disk" / "runs.db"
    code, _, errors = sweep(path, "--jobs", "2", limit=limit)
    assert code in (1, 2) and "cannot be written" in errors, errors
    assert is_whole(path)
    assert sweep(path, "--jobs", "2")[0] == 0
    assert len(bits(path)) == 3 and is_whole(path)
