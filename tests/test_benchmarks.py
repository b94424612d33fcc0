"""The harness of the benchmarks: what a goal is, what is printed, and what --check says of it."""

import json
import sys
from importlib import import_module
from types import SimpleNamespace

import pytest

from benchmarks import __main__ as harness
from benchmarks.timing import Goal, Row, against, alternate


@pytest.mark.parametrize(
    ("kind", "goal", "value", "met", "half_met"),
    [
        ("speed-up", 2.0, 2.0, True, True),
        ("speed-up", 2.0, 1.0, False, True),
        ("speed-up", 2.0, 0.9, False, False),
        ("cost", 1.3, 1.3, True, True),
        ("cost", 1.3, 2.6, False, True),
        ("seconds", 0.3, 0.61, False, False),
    ],
)
def test_a_goal_is_met_or_half_met(kind, goal, value, met, half_met) -> None:  # type: ignore[no-untyped-def]
    bound = Goal(kind, goal)
    assert (bound.met(value), bound.met(value, slack=2)) == (met, half_met)


def test_a_value_is_the_median_over_rounds() -> None:
    pairs = ([1.0, 2.0, 10.0], "other", [2.0, 2.0, 5.0])
    assert Row("what", *pairs).value == 1.0 and Row("what", *pairs, kind="cost").values == [0.5, 1.0, 2.0]
    assert Row("what", [3.0, 1.0, 2.0], kind="seconds").value == 2.0


def test_actions_take_turns_after_a_round_that_does_not_count() -> None:
    done: list[str] = []
    seconds = alternate({name: lambda name=name: done.append(name) for name in "ab"}, 2)
    assert done == list("ababab") and all(len(times) == 2 for times in seconds.values())
    rows = against("a", lambda: None, {"b": lambda: None, "c": lambda: None}, 3, goal=1)
    assert [(row.what, row.alternative, len(row.values)) for row in rows] == [("b", "a", 3), ("c", "a", 3)]


def run(monkeypatch: pytest.MonkeyPatch, value: float, *options: str) -> int:
    row = Row("a loss", [value], "another", [1.0], Goal("cost", 1.3), "cost", "samples", 10)
    monkeypatch.setattr(harness, "NAMES", ["fake"])
    monkeypatch.setattr(harness, "import_module", lambda name: SimpleNamespace(measure=lambda: [row]))
    monkeypatch.setattr(sys, "argv", ["benchmarks", "fake", *options])
    with pytest.raises(SystemExit) as end:
        harness.main()
    assert isinstance(end.value.code, int)
    return end.value.code


def test_check_fails_far_below_a_goal_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, 1.2, "--check") == run(monkeypatch, 2.5, "--check") == run(monkeypatch, 2.7) == 0
    assert run(monkeypatch, 2.7, "--check") == 1
    assert "a loss: cost 2.7, far from its goal (≤ 1.3)" in capsys.readouterr().err


def test_tables_name_the_hardware_and_what_was_missed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, 2.0, "--markdown")
    said = capsys.readouterr().out
    assert said.startswith(harness.hardware()) and "`python -m benchmarks fake`" in said
    assert (
        "| a loss | 2 s, 5 samples/s | another | 1 s, 10 samples/s | cost 2 (2 to 2) | ≤ 1.3 (missed) |"
        in said
    )
    assert harness.time_of([4.0], Row("a sweep", [4.0], unit="runs", count=1)) == "4 s, 0.25 runs/s"
    run(monkeypatch, 2.0, "--json")
    document = json.loads(capsys.readouterr().out)
    assert document["benchmarks"]["fake"][0]["value"] == 2.0 and document["hardware"] == harness.hardware()


@pytest.mark.parametrize("name", harness.NAMES)
def test_every_benchmark_measures_and_says_what(name: str) -> None:
    module = import_module(f"benchmarks.{name}")
    assert callable(module.measure) and (module.__doc__ or "").partition("\n")[0].endswith((".", ","))
