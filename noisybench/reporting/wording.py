"""Lists in sentences."""

from collections.abc import Iterable


def listing(items: Iterable[object], most: int = 10) -> str:
    """The first `most` items, and how many there are beyond them."""
    words = [str(item) for item in items]
    beyond = len(words) - most
    return ", ".join(words[:most]) + (f" and {beyond} more" if beyond > 0 else "")
