"""Which runs a report is about: --where."""

import pytest
from test_reporting import run, runs

from noisybench.errors import InvalidValue, UnknownName
from noisybench.reporting.selection import select

STORE = runs(
    run(0.5, loss="lq(q=0.5)", rate=0.2),
    run(0.6, loss="lq(q=0.7)", rate=0.4, train_size=100),
    run(0.7, loss="trunc-lq(q=0.7, k=0.5)", rate=0.4, model="mlp(hidden=8)"),
    run(None, "failed", loss="cce", rate=0.4, dataset="cifar10", seed=3, milestones=(2,)),
)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ([], [0, 1, 2, 3]),
        (["loss=lq"], [0, 1]),
        (["loss=trunc-lq"], [2]),
        (["loss=lq(q=0.5)"], [0]),
        (["loss=lq( q=.5 )"], [0]),
        (["loss=lq()"], [1]),
        (["loss=lq", "loss=cce"], [0, 1, 3]),
        (["loss=lq", "rate=0.4"], [1]),
        (["rate=.40"], [1, 2, 3]),
        (["model=mlp"], [2]),
        (["milestones=4 7"], [0, 1, 2]),
        (["milestones=2"], [3]),
        (["train_size=none"], [0, 2, 3]),
        (["train_size=100"], [1]),
        (["status=failed"], [3]),
        (["test_accuracy=0.6"], [1]),
        (["labels="], [0, 1, 2, 3]),
        ([f"id={STORE['id'][2]}"], [2]),
    ],
)
def test_conditions(where: list[str], expected: list[int]) -> None:
    selected, unmatched = select(STORE, where)
    assert selected.index.tolist() == expected and unmatched == []


def test_a_value_that_no_run_has_is_said_with_the_known_ones() -> None:
    selected, unmatched = select(STORE, ["rate=0.9", "rate=0.2"])
    assert selected.index.tolist() == [0]
    assert unmatched == ["No run has rate=0.9. Known values of rate: 0.2, 0.4."]


@pytest.mark.parametrize(
    ("condition", "error", "message"),
    [
        ("los=lq", UnknownName, "Did you mean 'loss'"),
        ("loss", InvalidValue, "KEY=VALUE"),
        ("rate=high", InvalidValue, "rate is 'high', but must be a number"),
        ("attempt=one", InvalidValue, "attempt is 'one', but must be a number"),
        ("loss=lq(z=1)", UnknownName, "Known: q"),
    ],
)
def test_a_wrong_condition(condition: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message.replace("(", r"\(")):
        select(STORE, [condition])
