r"""A table as LaTeX with booktabs.

It compiles in any document with \usepackage{booktabs}.  Eight columns are wider than most text; where
graphicx is loaded too, as in nearly every paper, a table that is too wide is scaled to the line.  What would
be too small to read then is laid out otherwise: many methods become rows, and many noises several tabulars.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

from noisybench.reporting import formatting
from noisybench.reporting.tables import Cell, Column, Table

# What a document may not have in its text, or what its fonts may lack.
ESCAPES = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\{",
        "}": r"\}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "±": r"$\pm$",
        "−": r"$-$",
        "–": "--",
        "α": r"$\alpha$",
        "η": r"$\eta$",
        "χ": r"$\chi$",
        "²": r"$^2$",
    }
)

# Characters that are legible in a line of a page: scaled to 345 pt of text, letters of 5 pt.
LEGIBLE = 140
# Characters that the space between columns takes.
GAP = 2

# Scales what is too wide; without graphicx, the content as it is.  Local to the table.
SCALED = r"""\providecommand{\resizebox}[3]{#3}
\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"""


def escape(text: str) -> str:
    """Text as LaTeX shows it, character by character."""
    return text.translate(ESCAPES)


def render(table: Table) -> str:
    """The table environment; for a table without rows, caption and notes as comments."""
    if not table.blocks:
        return "\n".join(f"% {text}" for text in (table.caption, *table.notes))
    if table.best_of == "row" and _width(table, table.columns) > LEGIBLE:
        table = formatting.methods_as_rows(table)
    marked = f" {table.marks_best} in bold." if table.marks_best else ""
    pieces = [_tabular(table, columns) for columns in _pieces(table)]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escape(table.caption)}{marked}}}",
            rf"\label{{tab:{table.name}}}",
            "\n\\par\\medskip\n".join(pieces),
            *(rf"\par\smallskip {escape(note)}" for note in table.notes),
            r"\end{table}",
        ]
    )


def _width(table: Table, columns: Sequence[Column]) -> int:
    """Characters of the labels and these columns, with the space between columns."""
    rows = [row for block in table.blocks for row in block.rows]
    labels = sum(
        max(map(len, texts)) for texts in zip(table.stub, *(row.labels for row in rows), strict=True)
    )
    cells = [max(len(column.heading), *(len(row.cell(column).text) for row in rows)) for column in columns]
    return labels + sum(cells) + GAP * (len(table.stub) + len(columns))


def _pieces(table: Table) -> Iterator[Sequence[Column]]:
    """The columns, or as many at a time as are legible, groups kept together where they can be."""
    piece: list[Column] = []
    for _, group in groupby(table.columns, key=lambda column: column.group):
        own = list(group)
        if piece and _width(table, [*piece, *own]) > LEGIBLE:
            yield piece
            piece = []
        for column in own:
            if piece and _width(table, [*piece, column]) > LEGIBLE:
                yield piece
                piece = []
            piece.append(column)
    yield piece


def _tabular(table: Table, columns: Sequence[Column]) -> str:
    """All blocks, with these columns."""
    body = []
    width = len(table.stub) + len(columns)
    for block in table.blocks:
        title = rf"\multicolumn{{{width}}}{{l}}{{\textit{{{escape(block.title)}}}}}"
        body += [r"\midrule", _row([title])]
        for row in block.rows:
            body.append(_row([*map(escape, row.labels), *(_cell(row.cell(column)) for column in columns)]))
    return "\n".join(
        [
            SCALED,
            rf"\begin{{tabular}}{{{'l' * len(table.stub)}{'r' * len(columns)}}}",
            r"\toprule",
            *_headings(table.stub, columns),
            *body,
            r"\bottomrule",
            r"\end{tabular}}",
        ]
    )


def _headings(stub: Sequence[str], columns: Sequence[Column]) -> list[str]:
    """The groups over their columns, if there are any, each with a rule as wide as they are."""
    groups, rules = [], []
    start = len(stub) + 1
    for group, own in groupby(columns, key=lambda column: column.group):
        count = len(list(own))
        groups.append(rf"\multicolumn{{{count}}}{{c}}{{{escape(group)}}}")
        if group:
            rules.append(rf"\cmidrule(lr){{{start}-{start + count - 1}}}")
        start += count
    headings = _row([*map(escape, stub), *(escape(column.heading) for column in columns)])
    return [_row([*("" for _ in stub), *groups]), " ".join(rules), headings] if rules else [headings]


def _row(cells: Sequence[str]) -> str:
    """One row of a tabular, of cells that are LaTeX already."""
    return " & ".join(cells) + r" \\"


def _cell(cell: Cell) -> str:
    return rf"\textbf{{{escape(cell.text)}}}" if cell.best else escape(cell.text)
