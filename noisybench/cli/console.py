"""Where output goes: results on stdout or in the file of --out, messages and progress on stderr.

Text from outside (a store, a data set, a name that is repeated) is printed with its control characters
escaped: a terminal obeys none of it.  Rich is imported only where a table or a progress bar is drawn: plain
lines need not wait for it.
"""

import io
import json
import re
import shlex
import stat
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from noisybench.errors import DataError, InvalidValue
from noisybench.files import replacing

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console
    from rich.table import Column
    from rich.text import Text

STDOUT = (Path("-"), Path("/dev/stdout"))

# Bold, which reports use on a terminal; control characters, marks that turn the direction of text, and halves
# of characters.
OBEYED = re.compile(
    "(\x1b\\[[01]m)|[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)

# Characters of a line of a message: a value that it repeats may be of any length.
LONGEST = 1000

# SQLite's own header: what every database begins with, and where it says which program it is of.
SQLITE, OWNER = b"SQLite format 3\0", slice(68, 72)
# Of its log, in bytes, what must be looked at.
LOG_HEADERS = 2**20

# Names of what this process has open already.
STREAMS = ("/dev/std", "/dev/fd/", "/proc/")

# By as many bytes at its beginning a file is of the same kind as another.
SAME_BEGINNING = 16
ZIP = b"PK\x03\x04"
# Kinds of files that say so in fewer bytes.
MAGIC = (b"PAR1", b"\x89PNG")


# The command line that is carried out.
_arguments: list[str] = []


def remember_arguments(arguments: Sequence[str]) -> None:
    """Keep the command line: no file that it names as an input is written to."""
    _arguments[:] = arguments


def way_to_go_on() -> str:
    """The command line that continues what was interrupted; empty for a command that trains nothing."""
    trains = (
        _arguments[:1] in (["train"], ["sweep"], ["tune"], ["diagnose"]) and "--dry-run" not in _arguments
    )
    return shlex.join(["noisybench", *_arguments]) if trains else ""


@cache
def console(stderr: bool = False) -> "Console":
    """The rich console on stdout or stderr."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def is_terminal(stderr: bool = False) -> bool:
    """Whether stdout or stderr is a terminal that can draw; FORCE_COLOR makes none of a pipe."""
    stream = sys.stderr if stderr else sys.stdout
    return stream.isatty() and not console(stderr).is_dumb_terminal


@contextmanager
def bar(text: str, total: int | None = None) -> Iterator[Callable[..., None]]:
    """A progress bar on stderr that goes away at the end; yields what updates it: see `Progress.update`."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as progress:
        yield partial(progress.update, progress.add_task(text, total=total))


def right(*headings: str) -> "list[Column]":
    """Columns of a table that are aligned to the right, as numbers are."""
    from rich.table import Column

    return [Column(heading, justify="right") for heading in headings]


def printable(text: str) -> str:
    """The text with what a terminal would obey as escapes that can be read; ends of lines, tabs and our own
    bold stay."""
    return OBEYED.sub(lambda found: found[1] or found[0].encode("unicode_escape").decode(), text)


def cell(value: object) -> "Text":
    """A cell of a table that is printed as it is: neither a terminal nor rich obeys what stands in it."""
    from rich.text import Text

    return Text(printable(str(value)))


def say(text: str) -> None:
    """A line of a result, on stdout."""
    typer.echo(printable(text))


def tell(text: str) -> None:
    """A line on stderr, beside the result."""
    typer.echo(printable(text), err=True)


def in_percent(share: float | None, digits: int) -> str:
    """A fraction in percent; a dash where there is none."""
    return "–" if share is None else f"{share:.{digits}%}"


def brief(message: str) -> str:
    """A message as a terminal may print it, with the beginning and the end of each line that is too long."""
    half, lines = LONGEST // 2, message.split("\n")
    lines = [line if len(line) <= LONGEST else f"{line[:half]} … {line[-half:]}" for line in lines]
    return printable("\n".join(lines))


def complain(message: str) -> None:
    """An error message on stderr."""
    typer.secho(brief(message), err=True, fg=typer.colors.RED)


def warn(message: str) -> None:
    """A warning on stderr."""
    typer.secho(brief(f"Warning: {message}"), err=True, fg=typer.colors.YELLOW)


def selected(runs: "pd.DataFrame", where: Sequence[str]) -> "pd.DataFrame":
    """The rows that meet the conditions of --where (see `select`); warns of values that no run has."""
    from noisybench.reporting.selection import select

    rows, unmatched = select(runs, where)
    for sentence in unmatched:
        warn(sentence)
    return rows


def print_json(value: Any) -> None:
    """One JSON document on stdout; NaN is not JSON, and is refused."""
    json.dump(value, sys.stdout, indent=2, allow_nan=False)
    print()


def check_json(as_json: bool, out: Path) -> None:
    """Raise InvalidValue where two results would go to stdout."""
    if as_json and out in STDOUT:
        raise InvalidValue("--json and --out - both write to stdout: omit one of them.")


def write(path: Path, content: bytes, overwrite: bool = False, quiet: bool = False) -> None:
    """Write a result to the file of --out, whole or not at all; `-` is stdout.

    A pipe or a device is written to, not replaced; a symbolic link stays one.  overwrite: replace a file of
    another kind.  quiet: the command itself says what was written.  Raises InvalidValue for a file that must
    not be touched (a store, prepared data, an input of this command), and for one that cannot be written.
    """
    if path in STDOUT:
        _write_to_stdout(content)
        return
    try:
        in_place = _check_out(path, content, overwrite)
        if in_place:
            # Unbuffered: a device that is full says so at once, and not when the file is closed.
            with path.open("wb", buffering=0) as file:
                left = memoryview(content)
                while left:
                    left = left[file.write(left) :]
        else:
            with replacing(path.resolve()) as file:
                file.write(content)
    except OSError as error:
        raise InvalidValue(f"{path} cannot be written: {error.strerror or error}.") from None
    if not quiet:
        tell(f"Wrote {path}.")


def _write_to_stdout(content: bytes) -> None:
    if b"\0" in content and sys.stdout.isatty():
        raise InvalidValue(
            "--out - writes to the terminal, but the file is not text: send it to a file, with >."
        )
    try:
        stream = getattr(sys.stdout, "buffer", None)
        if stream is None:
            sys.stdout.write(content.decode())
        else:
            sys.stdout.flush()
            stream.write(content)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise InvalidValue(f"stdout cannot be written: {error.strerror or error}.") from None


def _check_out(path: Path, content: bytes, overwrite: bool) -> bool:
    """Whether to write to `path` in place, as a pipe or a device needs.

    Raises InvalidValue if `path` is not to be written; OSError.
    """
    check_file(path)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    # /dev/stdout of a shell's > is a regular file, which the shell would lose if another took its place.
    in_place = not stat.S_ISREG(mode) or str(path.absolute()).startswith(STREAMS)
    if not in_place and not overwrite and not _same_kind(path, content):
        raise InvalidValue(
            f"{path} exists and is a file of another kind. Name another file, or replace it with --overwrite."
        )
    return in_place


def check_file(path: Path) -> None:
    """Raise InvalidValue if a command may not write a file here, for one that takes long to make it."""
    if path.is_dir():
        raise InvalidValue(f"'{path}' is a folder: name a file in it to write to.")
    _refuse_protected(path)
    if not path.resolve().parent.is_dir():
        raise InvalidValue(
            f"{path} cannot be written: there is no folder {path.resolve().parent}. Make it first."
        )


def check_folder(path: Path) -> None:
    """Raise InvalidValue if a command may not write results into this folder."""
    _refuse_protected(path)
    if path.exists() and not path.is_dir():
        raise InvalidValue(f"{path} is no folder, and results go into one. Name another.")


def _refuse_protected(path: Path) -> None:
    """Raise InvalidValue for a store and what lies beside it, prepared data, and inputs of this command."""
    from noisybench.datasets.home import data_home

    target = path.resolve()
    for place in (target, *target.parents):
        for end in ("", "-wal", "-shm", "-journal", "-runs"):
            name = place.name.removesuffix(end)
            if name and place.name.endswith(end) and _is_store(place.with_name(name)):
                what = "is a store of runs" if place == target and not end else "belongs to a store of runs"
                raise InvalidValue(f"{path} {what}, and is not replaced. Name another file.")
    with suppress(DataError):  # without a home folder there is no prepared data
        home = data_home()
        if target.is_relative_to(home.resolve()):
            raise InvalidValue(f"{path} lies among the prepared data ({home}). Name another file.")
    # The file is named once, as the output; a second time, it is an input.
    if sum(_names(argument, target) for argument in _arguments) > 1:
        raise InvalidValue(f"{path} is an input of this command. Name another file.")


def _is_store(path: Path) -> bool:
    from noisybench.store.schema import APPLICATION

    header = b""
    with suppress(OSError):
        if path.is_file():
            with path.open("rb") as file:
                header = file.read(OWNER.stop)
    if not header.startswith(SQLITE):
        return False
    owner = APPLICATION.to_bytes(4)
    # What a database writes last is in its log, until it is closed.
    log = path.with_name(f"{path.name}-wal")
    return header[OWNER] == owner or (log.is_file() and owner in log.read_bytes()[:LOG_HEADERS])


def _names(argument: str, target: Path) -> bool:
    """Whether an argument of the command line names this file, as map.yaml, --map=map.yaml, file.py:name."""
    for text in (argument, argument.partition("=")[2], argument.partition(":")[0]):
        with suppress(OSError, ValueError):
            if text and (Path(text).resolve() == target or Path(text).samefile(target)):
                return True
    return False


def _same_kind(path: Path, content: bytes) -> bool:
    """Whether a file is empty or of the kind of what is to be written: text begins alike, and archives hold
    members of the same names."""
    with path.open("rb") as file:
        there = file.read(SAME_BEGINNING)
    if not (there.startswith(ZIP) and content.startswith(ZIP)):
        same_magic = any(there.startswith(magic) and content.startswith(magic) for magic in MAGIC)
        return not there or there == content[:SAME_BEGINNING] or same_magic
    try:
        with zipfile.ZipFile(path) as old, zipfile.ZipFile(io.BytesIO(content)) as new:
            common = set(old.namelist()) & set(new.namelist())
    except (zipfile.BadZipFile, OSError, ValueError):
        return False
    return len(common) > 1
