"""A table as text in each format."""

import csv
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from test_reporting import run, runs, table

from noisybench.errors import UnknownName
from noisybench.reporting.formats import FORMATS
from noisybench.reporting.html import TOLD
from noisybench.reporting.latex import escape
from noisybench.reporting.tables import NO_RUNS, TABLES, Table

AWKWARD = r"a_b&50%#$1{x}~^\<y>|*[z]"


def written(form: str, *rows: dict[str, Any], width: int | None = None) -> str:
    none = pd.DataFrame(columns=["group", "epoch"])
    results = runs(*rows)
    more = {name for names in TOLD.values() for name in names} - set(results)
    results = results.reindex(columns=[*results, *sorted(more)])
    context = {"width": width, "runs": results, "curves": lambda groups, measures: none, "command": ""}
    return str(FORMATS.bind(form)(table(*rows), **context))


def grid() -> list[dict[str, Any]]:
    """8 columns × 6 losses × 3 data sets, of two seeds each, as the paper's Table 1."""
    losses = ["cce", "mae", "forward-t", "unhinged", "lq(q=0.7)", "trunc-lq(q=0.7, k=0.5)"]
    noises = {"uniform": (0.2, 0.4, 0.6, 0.8), "class-dependent": (0.1, 0.2, 0.3, 0.4)}
    return [
        run(0.9 - rate / (1 + position) - seed / 50, dataset=d, loss=loss, noise=noise, rate=rate, seed=seed)
        for d in ("fashion-mnist", "cifar10", "cifar100")
        for position, loss in enumerate(losses)
        for noise, rates in noises.items()
        for rate in rates
        for seed in (0, 1)
    ]


GRID = grid()
UNEVEN = [
    run(0.5, loss="cce", seed=0),
    run(0.6, loss="cce", seed=1),
    run(0.7, loss="mae", rate=0.2),
    run(None, "failed", loss="lq(q=0.7)", noise="class-dependent", rate=0.1),
    run(0.7, loss="mae", dataset=AWKWARD, noise="class-dependent(map='a|b_c')"),
]
ALL = pytest.mark.parametrize("rows", [GRID, UNEVEN, [run(0.5)]], ids=["grid", "uneven", "one"])


# The terminal


@pytest.mark.parametrize("width", [80, 100, 160, 300])
def test_a_terminal_is_wide_enough(width: int) -> None:
    text = re.sub(r"\033\[\d*m", "", written("table", *GRID, width=width))
    assert max(map(len, text.splitlines())) <= width
    assert len(re.findall(r"\d ± \d", text)) == 8 * 6 * 3
    assert text.count("─ uniform ─") == text.count("─ class-dependent ─") == 3


def test_a_narrow_terminal_gets_every_cell_once() -> None:
    text = re.sub(r"\033\[\d*m", "", written("table", *GRID, width=60))
    assert max(map(len, text.splitlines())) <= 60
    assert len(re.findall(r"\d ± \d", text)) == 8 * 6 * 3


def test_without_a_terminal_a_block_is_whole_and_the_best_have_a_star() -> None:
    text = written("table", *GRID)
    assert text.count("─ uniform ─") == 3
    assert sum(len(re.findall("± ", line)) == 8 for line in text.splitlines()) == 18
    assert text.count("*") == 1 + 2 * 8 * 3 and "\033" not in text


def test_the_best_are_bold_in_a_terminal() -> None:
    accuracies = {"cce": 0.5, "mae": 0.7, "unhinged": 0.6}
    text = written("table", *(run(a, loss=loss) for loss, a in accuracies.items()), width=80)
    assert re.findall(r"\033\[1m *([\d.]+)\033\[0m", text) == ["70.00", "60.00"]


@ALL
def test_columns_of_the_plain_table_are_aligned(rows: list[dict[str, Any]]) -> None:
    for block in written("table", *rows).split("\n\n"):
        lines = block.splitlines()
        if len(lines) > 2:
            headings, rule = lines[1:3]
            assert max(map(len, lines)) <= len(rule) and set(rule) == {"─"}
            # A value ends where its heading ends, but for a star or an n of its own.
            ends = {match.end() for match in re.finditer(r"η = [\d.]+", headings)}
            for line in lines[3:]:
                values = re.finditer(r" ± \d\.\d\d(?! \(n)", line)
                assert {match.end() for match in values} <= ends


# Markdown


def cells_of(line: str) -> list[str]:
    return re.split(r"(?<!\\)\|", line)[1:-1]


@ALL
def test_markdown_rows_have_equally_many_cells(rows: list[dict[str, Any]]) -> None:
    made = table(*rows)
    blocks = re.findall(r"(?:^\|.*\|$\n?)+", written("markdown", *rows), re.MULTILINE)
    assert len(blocks) == len(made.blocks)
    for text, block in zip(blocks, made.blocks, strict=True):
        counts = {len(cells_of(line)) for line in text.splitlines()}
        assert counts == {len(block.columns) + 1}
        assert len(text.splitlines()) == len(block.rows) + 2


def test_markdown_marks_the_best_and_escapes_the_rest() -> None:
    text = written("markdown", *GRID, run(0.5, dataset=AWKWARD))
    assert len(re.findall(r"\*\*[\d.]+ ± [\d.]+\*\*", text)) == 2 * 8 * 3
    assert r"**a\_b&50%#$1{x}~^\\\<y>\|\*\[z\]: cnn6" in text


@pytest.mark.parametrize("form", ["table", "markdown"])
@pytest.mark.parametrize(("methods", "rows"), [(12, 1), (13, 13)])
def test_many_methods_are_rows_where_nothing_cuts_the_columns(form: str, methods: int, rows: int) -> None:
    losses = [f"lq(q={0.3 + n / 100:g})" for n in range(methods)]
    made = table(*(run(0.5 + n / 100, loss=loss) for n, loss in enumerate(losses)), kind="open-set")
    lines = str(FORMATS.bind(form)(made, width=None)).splitlines()
    of_numbers = [line for line in lines if re.search(r"\d\d\.00", line)]
    assert len(of_numbers) == rows
    if rows > 1:
        assert all(
            loss in line and f"{50 + n}.00" in line
            for n, (loss, line) in enumerate(zip(losses, of_numbers, strict=True))
        )


# LaTeX


def span(row: str) -> int:
    """How many columns a row of a tabular has, a \\multicolumn counted as what it spans."""
    cells = re.split(r"(?<!\\)&", row.removesuffix(r"\\"))
    return sum(int(m[1]) if (m := re.match(r"\s*\\multicolumn\{(\d+)\}", cell)) else 1 for cell in cells)


@ALL
def test_latex_rows_have_equally_many_columns(rows: list[dict[str, Any]]) -> None:
    made = table(*rows)
    text = written("latex", *rows)
    body = text.split(r"\toprule")[1].split(r"\bottomrule")[0]
    lines = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert {span(line) for line in lines} == {len(made.columns) + 1}
    assert len(lines) == 2 + sum(1 + len(block.rows) for block in made.blocks)
    rules = re.findall(r"\\cmidrule\(lr\)\{(\d+)-(\d+)\}", body)
    covered = [column for start, end in rules for column in range(int(start), int(end) + 1)]
    assert covered == list(range(2, len(made.columns) + 2))


@ALL
def test_latex_is_balanced_and_ascii(rows: list[dict[str, Any]]) -> None:
    text = written("latex", *rows)
    bare = re.sub(r"\\[{}]", "", "\n".join(text.splitlines()[1:]))
    depth = 0
    for character in bare:
        depth += (character == "{") - (character == "}")
        assert depth >= 0
    assert depth == 0
    opened: list[str] = []
    for what, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        if what == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert opened == []
    assert text.isascii()


def test_latex_escapes_every_special_character() -> None:
    assert escape("a_b & 5% #1 $x {y}") == r"a\_b \& 5\% \#1 \$x \{y\}"
    assert escape("~^\\<>|") == (
        r"\textasciitilde{}\textasciicircum{}\textbackslash{}\textless{}\textgreater{}\textbar{}"
    )
    assert escape("90.00 ± 0.10") == r"90.00 $\pm$ 0.10"
    title = re.search(r"\\textit\{(.*): cnn6", written("latex", run(0.5, dataset=AWKWARD)))
    assert title is not None and title[1] == escape(AWKWARD)


MANY = ("cce", "mae", "lq", "sce", "js", "elr", "co-teaching", "forward-t", "trunc-lq", "bootstrap-soft")


def columns_of(text: str) -> list[int]:
    return [len(found) - 1 for found in re.findall(r"\\begin\{tabular\}\{(\w+)\}", text)]


def test_many_methods_are_rows_in_latex() -> None:
    grid = [(seed, at, rate) for seed in (0, 1) for at in range(len(MANY)) for rate in (0.2, 0.4)]
    rows = [run(0.5 + 0.01 * at, seed=seed, loss=MANY[at], rate=rate) for seed, at, rate in grid]
    made = TABLES.bind("open-set")(runs(*rows))
    text = str(FORMATS.bind("latex")(made))
    assert len(made.columns) == len(MANY) and columns_of(text) == [2]
    assert all(re.search(rf"^{loss} & .*5\d\.00", text, re.MULTILINE) for loss in MANY)
    # As many cells in bold, and the same text in each.
    few = str(FORMATS.bind("markdown")(made))
    assert text.count(r"\textbf") == len(re.findall(r"\*\*[\d.]+ ±", few))


def test_many_noises_are_several_tabulars_in_latex() -> None:
    noises = [(noise, at / 20) for noise in ("uniform", "class-dependent") for at in range(1, 9)]
    text = written(
        "latex", *(run(0.5, seed=s, noise=noise, rate=rate) for noise, rate in noises for s in (0, 1))
    )
    assert columns_of(text) == [8, 8] and text.count(r"\caption") == 1


def test_latex_marks_the_best_and_states_the_statistics() -> None:
    text = written("latex", *GRID)
    assert len(re.findall(r"\\textbf\{[\d.]+ \$\\pm\$ [\d.]+\}", text)) == 2 * 8 * 3
    assert r"mean $\pm$ sample standard deviation (n$-$1) over seeds, n = 2." in text
    assert r"\multicolumn{4}{c}{uniform} & \multicolumn{4}{c}{class-dependent}" in text


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@pytest.mark.parametrize("packages", ["booktabs", "booktabs,graphicx"])
@ALL
def test_latex_compiles(rows: list[dict[str, Any]], packages: str, tmp_path: Path) -> None:
    head = rf"\documentclass{{article}}\usepackage{{{packages}}}\begin{{document}}"
    (tmp_path / "table.tex").write_text(head + "\n" + written("latex", *rows) + "\n\\end{document}\n")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "table.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "graphicx" not in packages or "Overfull" not in done.stdout


# CSV and JSON


@ALL
def test_csv_and_json_hold_the_cells_in_full_precision(rows: list[dict[str, Any]]) -> None:
    cells = table(*rows).cells
    expected = cells.astype(object).where(cells.notna(), None).to_dict("records")
    assert json.loads(written("json", *rows)) == expected
    from_csv = list(csv.DictReader(io.StringIO(written("csv", *rows))))
    assert from_csv == [
        {name: "" if value is None else str(value) for name, value in record.items()} for record in expected
    ]
    for record in from_csv:
        assert list(record)[:7] == ["dataset", "loss", "noise", "rate", "mean", "std", "n"]
        assert (record["unit"], record["measure"]) == ("percent", "test_accuracy")


def test_what_is_missing_is_null() -> None:
    rows = [run(0.5, train_size=100), run(0.5, loss="mae"), run(None, "failed", loss="lq(q=0.7)")]
    by_loss = {record["loss"]: record for record in json.loads(written("json", *rows))}
    assert by_loss["cce"]["train_size"] == 100 and by_loss["mae"]["train_size"] is None
    assert by_loss["mae"]["mean"] == 50 and by_loss["mae"]["std"] is None
    failed = by_loss["lq(q=0.7)"]
    assert (failed["mean"], failed["n"], failed["failed"]) == (None, 0, 1)


# All formats


@pytest.mark.parametrize("form", ["table", "markdown", "latex"])
def test_one_run_shows_no_deviation_in_any_format(form: str) -> None:
    text = written(form, run(0.5))
    assert "50.00" in text and "±" not in text and "pm" not in text


@pytest.mark.parametrize("form", [entry.name for entry in FORMATS])
def test_no_runs(form: str) -> None:
    text = written(form)
    if form == "csv":
        assert text.startswith("dataset,loss,noise,rate,mean,std,n,") and "\n" not in text
    elif form == "json":
        assert json.loads(text) == []
    elif form == "html":
        assert NO_RUNS in text and "<table" not in text
    else:
        assert text == ("% " if form == "latex" else "") + NO_RUNS


def test_all_text_formats_say_percent_and_who_is_left_out() -> None:
    for form in ("table", "markdown", "latex"):
        text = written(form, *UNEVEN)
        assert "in percent" in text and "Not in the averages: 1 failed" in text


def test_every_kind_of_table_is_laid_out_and_has_help() -> None:
    for entry in TABLES:
        made = entry.definition(runs(run(0.5)))
        assert isinstance(made, Table) and made.name == entry.name
    for entry in [*TABLES, *FORMATS]:
        assert entry.help.endswith(".")


def test_an_unknown_format_suggests_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'markdown'"):
        FORMATS.bind("markdwn")


def test_importing_the_reports_costs_neither_pandas_nor_torch() -> None:
    code = (
        "import sys, noisybench.reporting.formats; sys.exit(bool({'pandas', 'torch'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
