"""Comparisons of losses as a report of lines."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import count, islice, product
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

from noisybench.reporting.cells import Record, differing, idle_prunings, notes, number, setting, title
from noisybench.reporting.comparison import PLACE, Comparison, chosen, comparisons
from noisybench.reporting.layout import DATA, MEASURES, METHOD
from noisybench.reporting.lines import Lines, Section
from noisybench.reporting.paired import MOST_PAIRS
from noisybench.reporting.tables import NO_RUNS
from noisybench.reporting.wording import listing

if TYPE_CHECKING:
    from pandas import DataFrame

HEADINGS = ("η", "pair", "n", "from", "to", "diff.", "95 % CI", "p", "p Holm", "seeds")
CELLS = (
    *("dataset", "noise", "rate", "first", "second", "mean_first", "mean_second", "difference", "sd"),
    *("n", "low", "high", "p", "p_holm", "seeds_needed", "seeds", "differing", "measure", "unit"),
    *(*DATA, *METHOD),
)


def compare(runs: "DataFrame", losses: Sequence[str], measure: str) -> Lines:
    """One line for each pair of methods at each data set, setting, noise and rate.

    losses, measure, and what is raised: as for `comparison.comparisons`; measure is one of MEASURES.
    The cells have the settings of `first`, and in `differing` those that `second` has otherwise.
    `seeds_needed` is missing where there is no test, and beside a `p` where more than MOST_PAIRS are
    needed.
    """
    if runs.empty:
        return Lines("compare", NO_RUNS, HEADINGS, 2, [], [], type(runs)(columns=CELLS))
    methods, made, alone = comparisons(runs, losses, measure)
    letters = dict(zip(methods, islice(_letters(), len(methods)), strict=True))
    involved = chosen(runs, losses)
    idle = idle_prunings(involved) if measure == "test_accuracy" else []
    return Lines(
        name="compare",
        caption=_caption(letters, made, measure),
        headings=HEADINGS,
        labels=2,
        sections=[
            Section(name, [_row(each, letters) for each in group]) for name, group in _by_title(made).items()
        ],
        notes=[*_notes(made, alone), *notes(involved), *idle],
        cells=type(runs)([_cell(each, measure) for each in made], columns=CELLS, dtype=object),
    )


def _letters() -> Iterator[str]:
    """A, B, …, Z, AA, AB, …"""
    return ("".join(letters) for size in count(1) for letters in product(ascii_uppercase, repeat=size))


def _caption(letters: Mapping[str, str], made: Sequence[Comparison], measure: str) -> str:
    legend = ", ".join(f"{letter} = {method}" for method, letter in letters.items())
    if not made:
        return f"Nothing to compare: {legend} have no completed run at the same place with the same seed."
    tests = sum(each.found.p is not None for each in made)
    return (
        f"{MEASURES[measure]}, compared seed by seed, as both runs of a pair saw the same noisy labels and"
        f" split: {legend}. From and to are means over the n pairs, diff. is to − from; p is of the"
        f" paired t-test, p Holm is corrected for all tests here ({tests}). Seeds is how many pairs this test"
        " needs to tell the two apart, at α = 0.05 with 80 % power, should differences have the mean and"
        " spread seen here: a rough guide where n is small."
    )


def _by_title(made: Sequence[Comparison]) -> dict[str, list[Comparison]]:
    """The comparisons under the title that the tables have for the settings of `first`, and the noise."""
    of_dataset: dict[str, list[Record]] = {}
    for each in made:
        of_dataset.setdefault(each.first[0]["dataset"], []).append(each.first[0])
    different = {name: differing(firsts, (*DATA, *METHOD)) for name, firsts in of_dataset.items()}
    sections: dict[str, list[Comparison]] = {}
    for each in made:
        first = each.first[0]
        name = f"{title(first['dataset'], first, different[first['dataset']])}; {first['noise']} noise"
        sections.setdefault(name, []).append(each)
    return sections


def _row(comparison: Comparison, letters: Mapping[str, str]) -> list[str]:
    """A text for each of HEADINGS."""
    cell = _cell(comparison, "")
    low, high, needed = cell["low"], cell["high"], cell["seeds_needed"]
    return [
        number(cell["rate"]),
        " to ".join(letters[method] for method in comparison.methods),
        str(cell["n"]),
        f"{cell['mean_first']:.2f}",
        f"{cell['mean_second']:.2f}",
        signed(cell["difference"]),
        "–" if low is None else f"[{_minus(f'{low:.2f}')}, {_minus(f'{high:.2f}')}]",
        *(_p(cell[name]) for name in ("p", "p_holm")),
        "–" if cell["p"] is None else f"{needed:,}" if needed else f"> {MOST_PAIRS:,}",
    ]


def signed(number: float) -> str:
    """A difference with two decimals and its sign, which what rounds to zero has not."""
    text = _minus(f"{number:+.2f}")
    return "0.00" if text in ("+0.00", "−0.00") else text


def _minus(number: str) -> str:
    return number.replace("-", "−")


def _p(p: float | None) -> str:
    return "–" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"


def _cell(comparison: Comparison, measure: str) -> dict[str, Any]:
    """The numbers, by the names in CELLS."""
    first, second = comparison.methods
    found = comparison.found
    return {
        **{name: comparison.first[0][name] for name in (*PLACE, *METHOD)},
        "first": first,
        "second": second,
        "mean_first": found.first,
        "mean_second": found.second,
        "difference": found.mean,
        "sd": found.sd,
        "n": found.n,
        "low": found.low,
        "high": found.high,
        "p": found.p,
        "p_holm": comparison.p_holm,
        "seeds_needed": found.needed,
        "seeds": " ".join(str(run["seed"]) for run in comparison.first),
        "differing": " ".join(comparison.differing),
        "measure": measure,
        "unit": "percent",
    }


def _notes(made: Sequence[Comparison], alone: Mapping[tuple[str, str], Sequence[Record]]) -> list[str]:
    """Where there is no test, what differs beside the loss, and which runs have no counterpart."""
    said = []
    if any(each.found.n == 1 for each in made):
        said.append("Of one pair (n = 1) there is no test: nothing tells how much a difference varies.")
    if any(each.found.sd == 0 for each in made):
        said.append("Where all differences of a line are the same there is no test: they do not vary.")
    for each in made:
        one, other = each.first[0], each.second[0]
        if each.differing:
            theirs = ", ".join(setting(name, other) for name in each.differing)
            ours = ", ".join(setting(name, one) for name in each.differing)
            said.append(
                f"On {one['dataset']}, not only the loss differs: {each.methods[0]} has {ours};"
                f" {each.methods[1]} has {theirs}."
            )
    for (method, partner), left in alone.items():
        places = [f"{r['dataset']} {r['noise']} {r['rate']:g} seed {r['seed']}" for r in left]
        said.append(
            f"Not used, as {partner} has no completed run to pair with: {method} at {listing(places)}."
        )
    unlike = [
        f"{a['id']} and {b['id']}"
        for each in made
        for a, b in zip(each.first, each.second, strict=True)
        if a.get("labels_sha256") != b.get("labels_sha256")
    ]
    if unlike:
        said.append(
            "The noisy labels of these pairs are not the same, so that not only the losses differ: "
            f"{listing(unlike)}."
        )
    return list(dict.fromkeys(said))
