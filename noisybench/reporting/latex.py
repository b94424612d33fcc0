r"""A table as LaTeX with booktabs.

It compiles in any document with \usepackage{booktabs}.  Eight columns are wider than most text; where
graphicx is loaded too, as in nearly every paper, a table that is too wide is scaled to the line.
"""

from collections.abc import Sequence
from itertools import groupby

from noisybench.reporting.tables import Cell, Table

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
    marked = f" {table.marks_best} in bold." if table.marks_best else ""
    body = []
    width = len(table.stub) + len(table.columns)
    for block in table.blocks:
        title = rf"\multicolumn{{{width}}}{{l}}{{\textit{{{escape(block.title)}}}}}"
        body += [r"\midrule", _row([title])]
        for row in block.rows:
            cells = [_cell(row.cell(column)) for column in table.columns]
            body.append(_row([*map(escape, row.labels), *cells]))
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escape(table.caption)}{marked}}}",
            rf"\label{{tab:{table.name}}}",
            SCALED,
            rf"\begin{{tabular}}{{{'l' * len(table.stub)}{'r' * len(table.columns)}}}",
            r"\toprule",
            *_headings(table),
            *body,
            r"\bottomrule",
            r"\end{tabular}}",
            *(rf"\par\smallskip {escape(note)}" for note in table.notes),
            r"\end{table}",
        ]
    )


def _headings(table: Table) -> list[str]:
    """The groups over their columns, if there are any, each with a rule as wide as they are."""
    groups, rules = [], []
    start = len(table.stub) + 1
    for group, columns in groupby(table.columns, key=lambda column: column.group):
        count = len(list(columns))
        groups.append(rf"\multicolumn{{{count}}}{{c}}{{{escape(group)}}}")
        if group:
            rules.append(rf"\cmidrule(lr){{{start}-{start + count - 1}}}")
        start += count
    headings = _row([*map(escape, table.stub), *(escape(column.heading) for column in table.columns)])
    grouped = any(column.group for column in table.columns)
    return [_row([*("" for _ in table.stub), *groups]), " ".join(rules), headings] if grouped else [headings]


def _row(cells: Sequence[str]) -> str:
    """One row of a tabular, of cells that are LaTeX already."""
    return " & ".join(cells) + r" \\"


def _cell(cell: Cell) -> str:
    return rf"\textbf{{{escape(cell.text)}}}" if cell.best else escape(cell.text)
