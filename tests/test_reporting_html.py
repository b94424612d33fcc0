"""The HTML page: that it is whole, leads from each cell to its runs, and escapes what it is given."""

import json
import re
import shutil
import subprocess
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from curves import FIG1, FIG2, MADE, filled

from noisybench.config import Config, declared_fields
from noisybench.reporting.figures import Curves
from noisybench.reporting.formats import FORMATS
from noisybench.reporting.tables import TABLES, Table, list_table
from noisybench.store import Store

COMMAND = "noisybench report --format html"
VOID = {"meta", "br", "hr", "img", "input", "link", "base", "source"}


def render(table: Table, runs: pd.DataFrame, curves: Curves) -> str:
    return str(FORMATS.bind("html")(table, runs=runs, curves=curves, command=COMMAND))


@dataclass
class Element:
    """A tag with its attributes, and all text within it."""

    tag: str
    attributes: dict[str, str]
    children: list["Element"] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.pieces).split())

    def all(self, *tags: str) -> list["Element"]:
        """The elements within, of these tags or of any."""
        found = [element for child in self.children for element in (child, *child.all())]
        return [element for element in found if not tags or element.tag in tags]


class Page(HTMLParser):
    """A page as a tree; raises where a tag is not closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.root = Element("", {})
        self.open = [self.root]
        self.feed(text)
        self.close()
        assert self.open == [self.root], [element.tag for element in self.open]
        self.ids = [e.attributes["id"] for e in self.root.all() if "id" in e.attributes]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].children.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element.pieces.append(data)

    @property
    def data(self) -> dict[str, Any]:
        """What the page holds of the runs."""
        found: dict[str, Any] = json.loads("".join(self.find("data").pieces))
        return found

    def said(self, run: str) -> dict[str, str]:
        """What the page tells of a run, by name."""
        columns = self.data["columns"]
        at = columns["id"].index(run)
        return {name: column if isinstance(column, str) else column[at] for name, column in columns.items()}

    def runs_of(self, anchor: str) -> list[str]:
        """The runs behind a cell."""
        return [self.data["columns"]["id"][at] for at in self.data["cells"][anchor][1]]

    def find(self, anchor: str) -> Element:
        (found,) = [e for e in self.root.all() if e.attributes.get("id") == anchor]
        return found


def page_of(store: Store, kind: str = "closed-set", **columns: Any) -> str:
    runs = store.results().assign(**columns)
    return render(TABLES.bind(kind)(runs), runs, store.mean_curves)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Runs of both figures, one that failed, and one that is not yet done."""
    store = filled(tmp_path_factory.mktemp("store") / "runs.db", [*FIG1, *FIG2[3:8]], seeds=2, epochs=3)
    failed = store.begin(Config.create(dataset="cifar10", loss="unhinged", epochs=3), MADE)
    store.end(failed, "failed", "the loss is NaN")
    store.begin(Config.create(dataset="cifar10", loss="cce", seed=7, epochs=3), MADE)
    return store


@pytest.fixture(scope="module")
def html(store: Store) -> str:
    return page_of(store)


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_every_link_leads_to_one_place_in_the_page(page: Page) -> None:
    assert len(set(page.ids)) == len(page.ids)
    links = [
        value
        for e in page.root.all()
        for name, value in e.attributes.items()
        if name.endswith("href") and "download" not in e.attributes
    ]
    assert len(links) > 50 and all(link.startswith("#") for link in links)
    assert {link[1:] for link in links} <= {*page.ids, *page.data["cells"], "all-runs"}


@pytest.mark.parametrize("kind", ["closed-set", "open-set"])
def test_each_cell_leads_to_its_runs(store: Store, kind: str) -> None:
    page = Page(page_of(store, kind))
    table = TABLES.bind(kind)(store.results())
    cells = [cell for block in table.blocks for row in block.rows for cell in row.cells.values()]
    (tables,) = [e for e in page.root.all("section") if e.attributes["id"] == "tables"]
    linked = [(td.text, a.attributes["href"][1:]) for td in tables.all("td") for a in td.all("a")]
    assert sorted(text for text, _ in linked) == sorted(cell.text for cell in cells)
    assert len({anchor for _, anchor in linked}) == len(cells)
    assert sorted((text, tuple(page.runs_of(at))) for text, at in linked) == sorted(
        (cell.text, cell.runs) for cell in cells
    )
    assert all(page.data["cells"][at][0].endswith(text) for text, at in linked)
    listed_runs = [run for _, at in linked for run in page.runs_of(at)]
    assert sorted(listed_runs) == sorted(store.results()["id"])


def test_all_is_told_of_each_run(store: Store, page: Page) -> None:
    names = [name for group in page.data["groups"].values() for name in group]
    assert {*declared_fields(), "started", "ended", "status", "reason"} <= set(names)
    assert not {"host", "pid", "began"} & page.data["columns"].keys()
    for run in store.runs():
        told = page.said(run["id"])
        for name in names:
            if name.endswith("accuracy"):
                assert told[name] == ("–" if run[name] is None else f"{100 * run[name]:.2f} %")
            elif isinstance(run[name], float):
                assert float(told[name]) == run[name]
            else:
                assert told[name] == ("–" if run[name] in (None, "") else str(run[name]))


def test_a_failed_run_is_behind_its_cell_with_its_reason(page: Page) -> None:
    (cell,) = [a for a in page.root.all("a") if a.text == "failed"]
    (run,) = page.runs_of(cell.attributes["href"][1:])
    assert "the loss is NaN" in page.said(run)["reason"]


def test_nothing_is_fetched_or_executed(html: str, page: Page) -> None:
    tags = {element.tag for element in page.root.all()}
    assert not tags & {"link", "img", "iframe", "object", "embed", "base", "form", "image"}
    attributes = {name for element in page.root.all() for name in element.attributes}
    assert not {name for name in attributes if name.startswith("on")} | attributes & {"src", "srcset"}
    assert "@import" not in html and set(re.findall(r"url\((.)", html)) <= {"#"}
    (policy,) = [e for e in page.root.all("meta") if e.attributes.get("http-equiv")]
    assert "default-src 'none'" in policy.attributes["content"]
    # One script may run, and it is known by its hash.
    (data, script) = page.root.all("script")
    assert data.attributes["type"] == "application/json"
    digest = b64encode(sha256("".join(script.pieces).encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy.attributes["content"]
    # What looks like an address is a name space.
    assert {*re.findall(r'(\S+)="\w+://', html)} <= {"xmlns", "xmlns:xlink"}
    assert len(re.findall(r"\w+://", html)) == len(re.findall(r'xmlns(?::xlink)?="\w+://', html))


def test_the_figures_that_the_runs_allow_are_in_the_page(page: Page) -> None:
    drawn = page.root.all("svg")
    names = ("Figure 1", "Figure 2", "Learning curves", "Accuracy by method", "Accuracy against cost")
    for drawing, name in zip(drawn, names, strict=True):
        assert drawing.attributes["role"] == "img" and drawing.attributes["aria-label"].startswith(name)
        assert "n = 2" in drawing.attributes["aria-label"] or name == "Accuracy against cost"


def test_a_figure_without_runs_is_left_out_and_one_of_several_settings_explained(tmp_path: Path) -> None:
    store = filled(tmp_path / "runs.db", FIG1[-1:], seeds=1, epochs=2)
    assert not {"fig1", "fig2"} & {each.attributes["id"] for each in Page(page_of(store)).root.all("figure")}
    settings = [{**setting, "lr": lr} for setting in FIG1[-2:] for lr in (0.1, 0.2)]
    several = filled(tmp_path / "several.db", settings, seeds=1, epochs=2)
    made = Page(page_of(several))
    assert "--where lr=0.1, --where lr=0.2" in made.find("figures").text
    assert "fig1" not in {each.attributes["id"] for each in made.root.all("figure")}


def test_the_page_is_accessible(page: Page) -> None:
    (root,) = page.root.all("html")
    assert root.attributes["lang"] == "en" and root.all("title")[0].text
    assert [e.tag for e in page.root.all("h1", "h2")] == ["h1", "h2", "h2"]
    for table in page.root.all("table"):
        (caption,) = table.all("caption")
        assert caption.text
        assert all(th.attributes["scope"] in ("col", "colgroup", "row") for th in table.all("th"))
        widths = [sum(int(e.attributes.get("colspan", 1)) for e in row.children) for row in table.all("tr")]
        assert len(set(widths)) == 1


def test_the_best_two_are_strong(store: Store, page: Page) -> None:
    table = TABLES.bind("closed-set")(store.results())
    assert isinstance(table, Table)
    best = [c.text for b in table.blocks for row in b.rows for c in row.cells.values() if c.best]
    assert sorted(e.text for e in page.find("tables").all("strong")) == sorted(best) != []


def test_the_same_runs_give_the_same_page(store: Store, html: str) -> None:
    assert page_of(store) == html


HOSTILE = (
    """</code></dd></style><script>alert(1)</script>"><img src=x onerror='alert("2")'> &amp; {{ 7 * 7 }}"""
)


@pytest.mark.parametrize("column", ["loss", "dataset", "noise", "labels_sha256", "commit", "reason"])
def test_everything_is_escaped(store: Store, column: str) -> None:
    text = page_of(store, **{column: HOSTILE})
    page = Page(text)
    assert len(page.root.all("script")) == text.count("<script") == 2
    assert not page.root.all("img") and "<img" not in text
    told = [page.said(run)[column] for run in page.data["columns"]["id"]]
    assert HOSTILE in told


def test_a_report_of_lines_has_its_rows_and_all_runs(store: Store) -> None:
    cells = pd.DataFrame()
    lines = list_table("audit", "What <b>", ["a"], ["b"], [("One", [["x<", "1"], ["y", "2"]])], ["&"], cells)
    page = Page(render(lines, store.results(), store.mean_curves))
    first = page.find("tables").all("table")[0]
    assert [[e.text for e in tr.children] for tr in first.all("tr")] == [["a", "b"], ["x<", "1"], ["y", "2"]]
    assert set(page.data["columns"]["id"]) == set(store.results()["id"])


def test_a_page_without_runs_says_so(tmp_path: Path) -> None:
    made = Page(page_of(Store.open(tmp_path / "runs.db")))
    assert "There are no runs to report" in made.root.text and not made.root.all("table")


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def opened(html: str, folder: Path, anchor: str = "") -> Page:
    """The page as a browser has it."""
    (folder / "report.html").write_text(html, encoding="utf-8")
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
        f" --disable-component-update --disable-sync --user-data-dir={folder / 'profile'} --dump-dom"
    )
    address = f"{(folder / 'report.html').as_uri()}#{anchor}"
    done = subprocess.run(
        [str(CHROMIUM), *flags.split(), address], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0 and "Refused to" not in done.stderr, done.stderr
    return Page(done.stdout[done.stdout.index("<html") :])


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_a_browser_shows_the_runs_that_a_link_names(html: str, page: Page, tmp_path: Path) -> None:
    anchor = next(at for at, (_, runs) in page.data["cells"].items() if len(runs) > 1)
    dialog = opened(html, tmp_path, anchor).find("runs")
    assert "open" in dialog.attributes
    runs = page.runs_of(anchor)
    assert [th.text for th in dialog.all("th") if th.attributes["scope"] == "row"] == runs
    cells = [td.text for td in dialog.all("td")]
    assert cells[0] == page.said(runs[0])["seed"] and page.said(runs[0])["test_accuracy"] in cells
    (run, *_) = runs
    alone = opened(html, tmp_path, f"run-{run}").find("runs")
    assert page.said(run)["labels_sha256"] in [dd.text for dd in alone.all("dd")]


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_a_browser_sorts_and_filters(html: str, tmp_path: Path) -> None:
    asked = """<script>
        const [first] = document.querySelectorAll("#tables table");
        first.tHead.rows[1].cells[1].firstChild.click();
        const box = document.querySelector("input");
        box.value = "cifar10: cce";
        box.dispatchEvent(new Event("input"));
    </script></body>"""
    # The page's own policy would not let a foreign script run.
    page = opened(re.sub("<meta http-equiv[^>]*>", "", html).replace("</body>", asked), tmp_path)
    first = page.find("tables").all("table")[0]
    rows = [tr for tr in first.all("tr") if tr.all("th")[0].attributes["scope"] == "row"]
    numbers = [float(tr.all("td")[0].text.split()[0]) for tr in rows if tr.all("td")[0].text[0].isdigit()]
    assert len(numbers) > 1 and numbers == sorted(numbers, reverse=True)
    shown = [tr for tr in page.find("tables").all("tr") if tr.all("td") and "hidden" not in tr.attributes]
    names = {tr.all("th")[0].text for tr in shown if tr.all("th")[0].attributes["scope"] == "row"}
    assert names == {"cce"}


def test_the_page_says_what_it_is_made_of_and_holds_its_numbers(store: Store) -> None:
    runs = store.results()
    table = TABLES.bind("closed-set")(runs)
    text = render(table, runs, store.mean_curves)
    completed = runs[runs["status"].eq("completed")]
    facts = Page(text).find("facts").text
    assert COMMAND in facts and "cifar10 10,000" in facts
    assert f"{completed['ended'].max()[:16].replace('T', ' ')} UTC" in facts
    assert f"{completed['computed_in'].iloc[0]} ({len(completed)})" in facts
    (held,) = re.findall(r'download="closed-set.csv" href="data:text/csv;base64,([^"]*)"', text)
    assert b64decode(unescape(held)).decode().strip() == FORMATS.bind("csv")(table)
