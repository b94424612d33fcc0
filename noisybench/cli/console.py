"""Where output goes: results on stdout, messages and progress on stderr.

Rich is imported only where a table or a progress bar is drawn: plain lines need not wait for it.
"""

import json
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from noisybench.errors import InvalidValue
from noisybench.files import replacing

if TYPE_CHECKING:
    from rich.console import Console


@cache
def console(stderr: bool = False) -> "Console":
    """The rich console on stdout or stderr."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def say(text: str) -> None:
    """A line of a result, on stdout."""
    typer.echo(text)


def tell(text: str) -> None:
    """A line on stderr, beside the result."""
    typer.echo(text, err=True)


def complain(message: str) -> None:
    """An error message on stderr."""
    typer.secho(message, err=True, fg=typer.colors.RED)


def warn(message: str) -> None:
    """A warning on stderr."""
    typer.secho(f"Warning: {message}", err=True, fg=typer.colors.YELLOW)


def print_json(value: Any) -> None:
    """One JSON document on stdout; NaN is not JSON, and is refused."""
    json.dump(value, sys.stdout, indent=2, allow_nan=False)
    print()


def write(path: Path, content: bytes) -> None:
    """A result as a file: whole, or not at all.  Raises InvalidValue."""
    # A link stays one; a pipe or a device has nothing to be replaced.
    target = path.resolve()
    try:
        if target.exists() and not target.is_file():
            target.write_bytes(content)
        else:
            with replacing(target) as file:
                file.write(content)
    except OSError as error:
        raise InvalidValue(f"{path} cannot be written: {error.strerror}.") from None
    tell(f"Wrote {path}.")
