"""Where output goes: results on stdout, messages and progress on stderr."""

import json
import sys
from typing import Any

from rich.console import Console

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def complain(message: str) -> None:
    """An error message on stderr, on as many lines as it has and no more."""
    err.print(message, markup=False, style="red", soft_wrap=True)


def warn(message: str) -> None:
    """A warning on stderr."""
    err.print(f"Warning: {message}", markup=False, style="yellow", soft_wrap=True)


def print_json(value: Any) -> None:
    """One JSON document on stdout; NaN is not JSON, and is refused."""
    json.dump(value, sys.stdout, indent=2, allow_nan=False)
    print()
