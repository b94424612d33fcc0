"""Files that are there whole or not at all, and the folder that relative paths start from."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import BinaryIO

from noisybench.errors import InvalidValue

_folder = ContextVar("folder", default=Path())


@contextmanager
def paths_from(folder: Path) -> Iterator[None]:
    """Let the relative paths that the user wrote in a file start from `folder`, in place of the working
    directory."""
    before = _folder.set(folder)
    try:
        yield
    finally:
        _folder.reset(before)


def located(path: str | Path) -> Path:
    """The path of a file that the user named: a relative one starts where `paths_from` says."""
    return _folder.get() / Path(path).expanduser()


@contextmanager
def replacing(path: Path, alone: bool = False) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of `path` at the end, once it is on the disk.

    If anything is raised before, `path` stays what it was.  alone: nobody else writes `path` at the same
    time, so that a part which a killed process left behind is overwritten by the next.  Raises OSError.
    """
    part = path.with_name(f".{path.name}.part" if alone else f".{path.name}.{os.getpid()}.part")
    # A link that lies there would be followed: "x" makes a new file or nothing.
    part.unlink(missing_ok=True)
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Put the new name on the disk too, where the system can: without it, the old file may come back when
    the power fails."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def temporary_folder() -> "tempfile.TemporaryDirectory[str]":
    """A folder that is removed at the end.  Raises InvalidValue where there is no place for one."""
    try:
        return tempfile.TemporaryDirectory(prefix="noisybench-")
    except OSError as error:
        raise _no_temporary_folder(error) from None


def check_temporary_folder() -> None:
    """Raise InvalidValue where there is no folder for temporary files, which parts of torch need to be
    imported."""
    try:
        tempfile.gettempdir()
    except OSError as error:
        raise _no_temporary_folder(error) from None


def _no_temporary_folder(error: OSError) -> InvalidValue:
    return InvalidValue(
        f"There is no temporary folder to write to ({error.strerror or error}). Set the environment variable"
        " TMPDIR to a folder with space."
    )
