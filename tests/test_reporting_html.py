"""The HTML page: that it is whole, leads from each cell to its runs, and escapes what it is given."""

import re
import shutil
import subprocess
from base64 import b64decode
from dataclasses import dataclass, field
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

VOID = {"meta", "br", "hr", "img", "input", "link", "base", "source"}


def render(table: Table, runs: pd.DataFrame, curves: Curves) -> str:
    return str(FORMATS.bind("html")(table, runs=runs, curves=curves))


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
    assert {link[1:] for link in links} <= set(page.ids)


@pytest.mark.parametrize("kind", ["closed-set", "open-set"])
def test_each_cell_leads_to_its_runs(store: Store, kind: str) -> None:
    page = Page(page_of(store, kind))
    table = TABLES.bind(kind)(store.results())
    cells = [cell for block in table.blocks for row in block.rows for cell in row.cells.values()]
    (tables,) = [e for e in page.root.all("section") if e.attributes["id"] == "tables"]
    linked = [(td.text, a.attributes["href"][1:]) for td in tables.all("td") for a in td.all("a")]
    assert sorted(text for text, _ in linked) == sorted(cell.text for cell in cells)
    assert len({anchor for _, anchor in linked}) == len(cells)
    behind = {}
    for text, anchor in linked:
        article = page.find(anchor)
        assert article.tag == "article" and text in article.all("h3")[0].text
        listed = [th.text for th in article.all("th") if th.attributes["scope"] == "row"]
        described = [e.attributes["id"] for e in article.all("div") if "id" in e.attributes]
        assert described == [f"run-{run}" for run in listed]
        behind[anchor] = (text, tuple(listed))
    assert sorted(behind.values()) == sorted((cell.text, cell.runs) for cell in cells)
    listed_runs = [run for _, runs in behind.values() for run in runs]
    assert sorted(listed_runs) == sorted(store.results()["id"])


def test_a_cell_lists_the_seeds_of_its_mean(store: Store, page: Page) -> None:
    runs = store.results().query("dataset == 'cifar10' and loss == 'cce' and rate == 0.4")
    (article,) = [a for a in page.root.all("article") if all(run in a.text for run in runs["id"])]
    assert [td.text for td in article.all("td")][::6] == ["0", "1", "7"]
    assert [td.text for td in article.all("td")][1::6] == ["completed", "completed", "running"]
    (mean,) = re.findall(r": ([\d.]+) ±", article.all("h3")[0].text)
    said = [float(td.text.removesuffix(" %")) for td in article.all("td")[4::6] if td.text != "–"]
    assert float(mean) == pytest.approx(sum(said) / 2, abs=0.0101)


def test_all_is_told_of_each_run(store: Store, page: Page) -> None:
    for run in store.runs():
        own = page.find(f"run-{run['id']}")
        told = dict(zip((dt.text for dt in own.all("dt")), (dd.text for dd in own.all("dd")), strict=True))
        for name in (*declared_fields(), *MADE.__dataclass_fields__, "started", "ended", "status", "reason"):
            if name in ("host", "pid", "began"):
                assert name not in told
            elif isinstance(run[name], float):
                assert float(told[name]) == run[name]
            else:
                assert told[name] == ("–" if run[name] in (None, "") else str(run[name]))
        if run["status"] == "completed":
            assert told["test_accuracy"] == f"{100 * run['test_accuracy']:.2f} %"


def test_a_failed_run_is_behind_its_cell_with_its_reason(page: Page) -> None:
    (cell,) = [a for a in page.root.all("a") if a.text == "failed"]
    assert "the loss is NaN" in page.find(cell.attributes["href"][1:]).text


def test_nothing_is_fetched_or_executed(html: str, page: Page) -> None:
    tags = {element.tag for element in page.root.all()}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "base", "form", "image"}
    attributes = {name for element in page.root.all() for name in element.attributes}
    assert not {name for name in attributes if name.startswith("on")} | attributes & {"src", "srcset"}
    assert "@import" not in html and set(re.findall(r"url\((.)", html)) <= {"#"}
    (policy,) = [e for e in page.root.all("meta") if e.attributes.get("http-equiv")]
    assert "default-src 'none'" in policy.attributes["content"]
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
    assert [e.tag for e in page.root.all("h1", "h2")] == ["h1", "h2", "h2", "h2"]
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
    assert not page.root.all("script", "img") and "<script" not in text and "<img" not in text
    assert " ".join(HOSTILE.split()) in page.find("runs").text


def test_a_report_of_lines_has_its_rows_and_all_runs(store: Store) -> None:
    cells = pd.DataFrame()
    lines = list_table("audit", "What <b>", ["a"], ["b"], [("One", [["x<", "1"], ["y", "2"]])], ["&"], cells)
    page = Page(render(lines, store.results(), store.mean_curves))
    first = page.find("tables").all("table")[0]
    assert [[e.text for e in tr.children] for tr in first.all("tr")] == [["a", "b"], ["x<", "1"], ["y", "2"]]
    assert {f"run-{run}" for run in store.results()["id"]} <= set(page.ids)


def test_a_page_without_runs_says_so(tmp_path: Path) -> None:
    made = Page(page_of(Store.open(tmp_path / "runs.db")))
    assert "There are no runs to report" in made.root.text and not made.root.all("table")


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_a_browser_opens_the_run_that_a_link_names(html: str, page: Page, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(html, encoding="utf-8")
    target = next(anchor for anchor in page.ids if anchor.startswith("run-"))
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
        f" --disable-component-update --disable-sync --user-data-dir={tmp_path / 'profile'} --dump-dom"
    )
    address = f"{(tmp_path / 'report.html').as_uri()}#{target}"
    done = subprocess.run(
        [str(CHROMIUM), *flags.split(), address], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    seen = Page(done.stdout[done.stdout.index("<html") :])
    assert seen.ids == page.ids
    (opened,) = [e for e in seen.root.all("details") if "open" in e.attributes]
    assert target in [e.attributes.get("id") for e in opened.children]
    assert "Refused to" not in done.stderr


def test_the_page_says_what_it_is_made_of_and_holds_its_numbers(store: Store) -> None:
    runs = store.results()
    table = TABLES.bind("closed-set")(runs)
    text = render(table, runs, store.mean_curves)
    completed = runs[runs["status"].eq("completed")]
    facts = Page(text).find("facts").text
    assert completed["ended"].max() in facts
    assert f"{completed['computed_in'].iloc[0]} ({len(completed)})" in facts
    (held,) = re.findall(r'download="closed-set.csv" href="data:text/csv;base64,([^"]*)"', text)
    assert b64decode(unescape(held)).decode().strip() == FORMATS.bind("csv")(table)
