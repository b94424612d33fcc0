"""Rows and text in GitHub's Markdown."""

import re
from collections.abc import Sequence


def markdown_row(cells: Sequence[str]) -> str:
    """One row of a table, of cells that are Markdown already."""
    return f"| {' | '.join(cells)} |"


def markdown_text(text: str) -> str:
    """Text as Markdown shows it, character by character."""
    return re.sub(r"([\\|*_<\[\]])", r"\\\1", text)
