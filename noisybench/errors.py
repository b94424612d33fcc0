"""The errors that a user may see.

NoisybenchError          a message for a person; the CLI prints it on stderr, without a traceback
├── InputError           wrong input of any kind; the CLI exits 2
│   ├── UnknownName      no such loss, noise, data set, model, field, run; says which is nearest
│   ├── InvalidValue     a value of the wrong type or outside its bounds
│   │   └── Unsupported  a loss that needs what the other settings of a run do not have
│   ├── DataError        a data set or a file that is missing, damaged or not what it claims
│   └── StoreError       a store that cannot be opened, read or written
│       ├── StoreUnwritable  a store that is temporarily unwritable: full, read-only or locked
│       ├── RunBusy      a run that another process is training now
│       └── RunCompleted a run that another process has completed
└── RunFailed            a run that ended without a result, such as a loss that turned NaN; exits 1
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches


class NoisybenchError(Exception):
    """A message for a person."""

    exit_code = 1


class InputError(NoisybenchError):
    """Wrong input: the message says what was wrong, what is allowed and what to try."""

    exit_code = 2


class UnknownName(InputError):
    """An unknown name; the message has the known name that it stands for or resembles most."""

    def __init__(
        self, kind: str, name: str, known: Iterable[str], aliases: Mapping[str, str] | None = None
    ) -> None:
        known = sorted(known)
        near = get_close_matches(name.lower(), known, n=1, cutoff=0.5)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        meant = (aliases or {}).get(name.lower().replace("_", "-"))
        if meant:
            hint = f" It is called '{meant}' here."
        listing = f" Known: {', '.join(known)}." if known else ""
        super().__init__(f"No {kind} is called '{name}'.{hint}{listing}")


class InvalidValue(InputError):
    """A value of the wrong type or outside its bounds."""


class Unsupported(InvalidValue):
    """A loss that needs what the other settings of a run do not have."""


class DataError(InputError):
    """A data set or a file that is missing, damaged or not what it claims."""


class StoreError(InputError):
    """A store that cannot be opened, read or written."""


class StoreUnwritable(StoreError):
    """A store that is temporarily unwritable (full, read-only or locked); its contents may be intact."""


class RunBusy(StoreError):
    """A run that another process is training now."""


class RunCompleted(StoreError):
    """A run that another process has completed meanwhile."""


class RunFailed(NoisybenchError):
    """A run that ended without a result."""


def join_limited(items: Iterable[object], most: int = 10) -> str:
    """The first `most` items with commas between, and how many follow them."""
    words = [str(item) for item in items]
    rest = len(words) - most
    return ", ".join(words[:most]) + (f" and {rest} more" if rest > 0 else "")
