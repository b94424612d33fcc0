"""Which loss is suggested, from runs whose noisy-validation accuracies are known."""

import pytest
from test_tune import completed, search, store  # noqa: F401  (a fixture)

from noisybench.config import Config
from noisybench.store import Store
from noisybench.sweeps.comparison import candidates, suggestion
from noisybench.sweeps.space import Space

SHORT = {"epochs": 2, "validation": 0.2}
LOSSES = ("cce", "lq(q=0.3)", "lq(q=0.7)")


def test_what_is_compared_needs_nothing_that_the_user_does_not_have() -> None:
    for loss in candidates():
        method = Config.create(loss=loss).method
        assert not method.needs_transition and not method.needs_trusted
    assert {loss.partition("(")[0] for loss in candidates()} >= {"cce", "lq", "trunc-lq", "forward-that"}


def test_the_best_is_suggested_and_what_chance_may_explain_is_named(store: Store) -> None:  # noqa: F811
    for loss, accuracy in zip(LOSSES, (0.70, 0.74, 0.50), strict=True):
        completed(store, Config.create(loss=loss, **SHORT), [accuracy])
    found = suggestion(search(store, Space.read(SHORT, [f"loss={','.join(LOSSES)}"]), len(LOSSES)))
    assert found is not None and found.loss == "lq(q=0.3)"
    assert [each.loss for each in found.losses] == ["lq(q=0.3)", "cce", "lq(q=0.7)"]
    # A fifth of the 1,297 images of the digits.
    assert found.n_validation == 259
    assert found.standard_error == pytest.approx((0.74 * 0.26 / 259) ** 0.5)
    assert found.alike == ("cce",)


def test_without_a_completed_run_nothing_is_suggested(store: Store) -> None:  # noqa: F811
    assert suggestion(search(store, Space.read(SHORT, ["loss=cce,lq"]), 2)) is None
