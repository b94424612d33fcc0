"""Reports of lines in each format."""

import csv
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noisybench.reporting.formats import FORMATS
from noisybench.reporting.latex import escape
from noisybench.reporting.lines import Lines, Section

AWKWARD = r"a_b&50%#$1{x}~^\<y>|*[z] −–±η"
TEXT = ("table", "markdown", "latex")


def made(columns: int = 4, labels: int = 2, rows: int = 3) -> Lines:
    """Two sections; each cell names its place, and some are longer than others."""
    names = [[f"{'w' * (r + c)}r{r}c{c}" for c in range(columns)] for r in range(2 * rows)]
    sections = [Section("first", names[:rows]), Section(AWKWARD, names[rows:])]
    cells = pd.DataFrame({"loss": ["cce", "mae"], "value": [1 / 3, None], "n": [3, 0]})
    headings = [f"h{c}" for c in range(columns)]
    return Lines("kind", f"What it is: {AWKWARD}.", headings, labels, sections, ["A note."], cells)


def written(form: str, lines: Lines, width: int | None = None) -> str:
    return str(FORMATS.bind(form)(lines, width=width))


@pytest.mark.parametrize("form", TEXT)
def test_every_cell_title_and_note_is_said_once(form: str) -> None:
    text = written(form, made())
    for section in made().sections:
        for row in section.rows:
            assert all(len(re.findall(rf"(?<!w){cell}\b", text)) == 1 for cell in row)
    assert text.count("first") == text.count("A note.") == 1
    assert text.index("first") < text.index("r3c0") < text.index("A note.")


@given(st.integers(1, 7), st.integers(1, 3), st.integers(1, 3), st.integers(20, 90))
def test_a_terminal_gets_every_value_once_and_each_piece_has_the_labels(
    values: int, labels: int, rows: int, width: int
) -> None:
    lines = made(values + labels, labels, rows)
    text = written("table", lines, width)
    pieces = len(re.findall("─+", text))
    for section in lines.sections:
        for row in section.rows:
            said = [len(re.findall(rf"(?<!w){cell}\b", text)) for cell in row]
            assert said[:labels] == [pieces // 2] * labels and said[labels:] == [1] * values
    # The labels and one value cannot be cut: they are at most this wide.
    least = sum(2 * rows + c + 4 for c in range(labels)) + 2 * rows + values + labels + 6
    assert max(map(len, text.splitlines())) <= max(width, least)


def test_labels_are_set_to_the_left_and_values_to_the_right() -> None:
    head, rule, *rows = written("table", made()).split("\n\n")[2].splitlines()
    assert set(rule) == {"─"} and all(len(line) == len(rule) for line in (head, *rows))
    second = head.index("h1")
    assert all(row[second] != " " and row[second - 1] == " " for row in rows)
    assert {match.end() for row in rows for match in re.finditer("c[23]", row)} == {
        match.end() for match in re.finditer("h[23]", head)
    }


def test_markdown_rows_have_equally_many_cells() -> None:
    blocks = re.findall(r"(?:^\|.*\|$\n?)+", written("markdown", made()), re.MULTILINE)
    assert len(blocks) == 2
    for block in blocks:
        assert {len(re.split(r"(?<!\\)\|", line)) for line in block.splitlines()} == {4 + 2}
        assert block.splitlines()[1] == "| --- | --- | ---: | ---: |"
    assert r"**a\_b&50%#$1{x}~^\\\<y>\|\*\[z\]" in written("markdown", made())


def test_latex_is_ascii_with_equally_many_columns() -> None:
    text = written("latex", made())
    assert text.isascii() and rf"\textit{{{escape(AWKWARD)}}}" in text
    body = text.split(r"\toprule")[1].split(r"\bottomrule")[0]
    counts = [
        4 if r"\multicolumn{4}" in line else 1 + len(re.findall(r"(?<!\\)&", line))
        for line in body.splitlines()
        if line.endswith(r"\\")
    ]
    assert counts == [4] * (1 + 2 * (1 + 3))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(tmp_path: Path) -> None:
    head = r"\documentclass{article}\usepackage{booktabs}\begin{document}"
    (tmp_path / "table.tex").write_text(head + "\n" + written("latex", made()) + "\n\\end{document}\n")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "table.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_csv_and_json_hold_the_numbers_in_full_precision() -> None:
    records = [{"loss": "cce", "value": 1 / 3, "n": 3}, {"loss": "mae", "value": None, "n": 0}]
    assert json.loads(written("json", made())) == records
    rows = list(csv.DictReader(io.StringIO(written("csv", made()))))
    assert rows == [{"loss": "cce", "value": str(1 / 3), "n": "3"}, {"loss": "mae", "value": "", "n": "0"}]


@pytest.mark.parametrize("form", TEXT)
def test_without_lines_there_are_the_caption_and_the_notes(form: str) -> None:
    text = written(form, Lines("kind", "Nothing.", ["a", "b"], 1, [], ["Why."], pd.DataFrame()))
    assert text.replace("% ", "").split() == ["Nothing.", "Why."]
