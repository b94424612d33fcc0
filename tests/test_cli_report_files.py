"""`noisybench report --figure` and `--format html`: what is written to files."""

import os
from pathlib import Path

import pytest
from commands import noisybench, succeed
from curves import FIG1, FIG2, add, filled
from PIL import Image

from noisybench.store import Store

BEGINNINGS = {".pdf": b"%PDF-", ".png": b"\x89PNG", ".svg": b"<?xml"}


@pytest.fixture
def store(database: Path) -> Store:
    """What figure 1 needs on noisy labels, and figure 2 at one rate, on small runs."""
    return filled(database, [*FIG1[-2:], *FIG2[6:8]], seeds=2, epochs=3, train_size=100)


@pytest.mark.parametrize("suffix", [*BEGINNINGS, ".PNG"])
@pytest.mark.parametrize("figure", ["fig1", "fig2"])
def test_a_figure_is_what_its_suffix_says(store: Store, tmp_path: Path, figure: str, suffix: str) -> None:
    out = tmp_path / f"figure{suffix}"
    result = noisybench("report", "--figure", figure, "--out", out)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", f"Wrote {out}.\n")
    assert out.read_bytes().startswith(BEGINNINGS[suffix.lower()])


@pytest.mark.parametrize(
    ("name", "beginning"),
    [
        ("r.html", "<!doctype html>"),
        ("r.csv", "dataset,"),
        ("r.json", "["),
        ("r.tex", "% needs"),
        ("r.txt", "Test "),
    ],
)
def test_the_suffix_of_a_report_says_its_format(
    store: Store, tmp_path: Path, name: str, beginning: str
) -> None:
    succeed("report", "--out", tmp_path / name)
    assert (tmp_path / name).read_text().startswith(beginning)
    succeed("report", "--out", tmp_path / name, "--format", "markdown", "--overwrite")
    assert "| --- |" in (tmp_path / name).read_text()


def test_where_chooses_the_runs_of_a_figure(store: Store, tmp_path: Path) -> None:
    for setting in FIG1[-2:]:
        add(store, **{**setting, "dataset": "digits"}, epochs=3)
    both, one = tmp_path / "both.png", tmp_path / "one.png"
    succeed("report", "--figure", "fig1", "--out", both)
    succeed("report", "--figure", "fig1", "--where", "dataset=digits", "--out", one)
    with Image.open(both) as two_panels, Image.open(one) as one_panel:
        assert two_panels.width == 2 * one_panel.width


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--figure", "fig1"], "--figure requires --out"),
        (["--figure", "fig1", "--out", "figure.jpeg"], "must end in .pdf, .png, .svg"),
        (["--figure", "fig1", "--out", "figure"], "must end in .pdf, .png, .svg"),
        (["--figure", "fig3", "--out", "f.pdf"], "No figure is called 'fig3'. Did you mean"),
        (["--figure", "fig1", "--out", "no/such/folder/f.pdf"], "cannot be written: there is no folder"),
        (
            ["--figure", "fig1", "--out", "f.pdf", "--where", "loss=mae"],
            "it needs completed runs of cce and mae at noise rate 0, or of cce and lq(q=0.7) at a higher one."
            " `noisybench sweep fig1` makes them",
        ),
        (["--figure", "fig1", "--out", "f.pdf", "--format", "table"], "--format is for tables"),
        (["--figure", "fig1", "--out", "f.pdf", "--table", "closed-set"], "cannot be combined with --figure"),
        (["--audit", "selection", "--table", "closed-set"], "cannot be combined with --audit"),
        (["--format", "html", "--out", "no/such/folder/r.html"], "cannot be written: there is no folder"),
    ],
)
def test_wrong_input(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(os.listdir())
    result = noisybench("report", *arguments)
    assert result.exit_code == 2 and message in result.stderr and result.stdout == ""
    assert sorted(os.listdir()) == before


def test_several_settings_are_named(store: Store, tmp_path: Path) -> None:
    for setting in FIG1[-2:]:
        add(store, **setting, epochs=3, train_size=200)
    result = noisybench("report", "--figure", "fig1", "--out", tmp_path / "f.pdf")
    assert result.exit_code == 2
    assert "train_size: --where train_size=100, --where train_size=200." in result.stderr
    assert not (tmp_path / "f.pdf").exists()


def test_a_file_is_replaced_whole_or_stays(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "report.html"
    out.write_text("<!doctype html>\n<html of before")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        result = noisybench("report", "--format", "html", "--out", out)
    assert result.exit_code == 2 and "No space left on device" in result.stderr
    assert out.read_text().endswith("before") and not list(tmp_path.glob(".*part"))
    succeed("report", "--format", "html", "--out", out)
    assert out.read_text().startswith("<!doctype html>") and out.read_text().endswith("</html>\n")


def test_a_link_stays_a_link_and_a_device_a_device(store: Store, tmp_path: Path) -> None:
    target, link = tmp_path / "target.svg", tmp_path / "link.svg"
    link.symlink_to(target)
    succeed("report", "--figure", "fig1", "--out", link)
    assert link.is_symlink() and target.read_bytes().startswith(b"<?xml")
    succeed("report", "--format", "csv", "--out", "/dev/null")
    assert Path("/dev/null").is_char_device()


def test_html_goes_to_stdout_too(store: Store) -> None:
    assert succeed("report", "--format", "html").startswith("<!doctype html>")
    assert "There are no runs" in succeed("report", "--format", "html", "--where", "loss=mae")
