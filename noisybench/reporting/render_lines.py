"""A report of lines as text: for a terminal, Markdown, LaTeX."""

from collections.abc import Iterator, Sequence

from noisybench.reporting.latex import SCALED, escape, latex_row
from noisybench.reporting.lines import Lines, Section
from noisybench.reporting.markdown import markdown_row, markdown_text
from noisybench.reporting.terminal import GAP, fill, span


def plain(lines: Lines, width: int | None) -> str:
    """As plain text.

    width: characters of the terminal, to which columns are cut; None where there is no terminal.
    """
    parts = [fill(lines.caption, width)]
    for section in lines.sections:
        pieces = [_piece(lines, section, columns) for columns in _fitting(lines, width)]
        parts.append("\n\n".join([fill(section.title, width), *pieces]))
    return "\n\n".join([*parts, *(fill(note, width) for note in lines.notes)])


def _width(lines: Lines, column: int) -> int:
    """Characters of a column, the same in all sections."""
    rows = [lines.headings, *(row for section in lines.sections for row in section.rows)]
    return max(len(row[column]) for row in rows)


def _fitting(lines: Lines, width: int | None) -> Iterator[list[int]]:
    """Cut the columns to the width: all at once, else the labels with as many of the rest as fit."""
    labels = list(range(lines.labels))
    piece = labels
    for column in range(lines.labels, len(lines.headings)):
        wider = [*piece, column]
        if width is not None and piece != labels and span([_width(lines, c) for c in wider]) > width:
            yield piece
            wider = [*labels, column]
        piece = wider
    yield piece


def _piece(lines: Lines, section: Section, columns: Sequence[int]) -> str:
    """Some columns of a section: headings, a rule, rows."""
    widths = [_width(lines, column) for column in columns]
    text = []
    for row in (lines.headings, *section.rows):
        cells = [
            row[column].ljust(width) if column < lines.labels else row[column].rjust(width)
            for column, width in zip(columns, widths, strict=True)
        ]
        text.append(GAP.join(cells).rstrip())
    return "\n".join([text[0], "─" * span(widths), *text[1:]])


def markdown(lines: Lines) -> str:
    """As GitHub's Markdown, one table per section."""
    parts = [markdown_text(lines.caption)]
    values = len(lines.headings) - lines.labels
    for section in lines.sections:
        rows = [markdown_row([markdown_text(text) for text in row]) for row in section.rows]
        head = markdown_row([markdown_text(heading) for heading in lines.headings])
        rule = markdown_row(["---"] * lines.labels + ["---:"] * values)
        parts += [f"**{markdown_text(section.title)}**", "\n".join([head, rule, *rows])]
    return "\n\n".join([*parts, *(markdown_text(note) for note in lines.notes)])


def latex(lines: Lines) -> str:
    """As LaTeX with booktabs, all sections in one table; without sections, comments."""
    if not lines.sections:
        return "\n".join(f"% {text}" for text in (lines.caption, *lines.notes))
    body = []
    for section in lines.sections:
        title = rf"\multicolumn{{{len(lines.headings)}}}{{l}}{{\textit{{{escape(section.title)}}}}}"
        body += [r"\midrule", latex_row([title])]
        body += [latex_row([escape(text) for text in row]) for row in section.rows]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escape(lines.caption)}}}",
            rf"\label{{tab:{lines.name}}}",
            SCALED,
            rf"\begin{{tabular}}{{{'l' * lines.labels}{'r' * (len(lines.headings) - lines.labels)}}}",
            r"\toprule",
            latex_row([escape(heading) for heading in lines.headings]),
            *body,
            r"\bottomrule",
            r"\end{tabular}}",
            *(rf"\par\smallskip {escape(note)}" for note in lines.notes),
            r"\end{table}",
        ]
    )
