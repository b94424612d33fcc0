"""Criteria: the losses as modules, with torch's own conventions, for any training loop."""

import copy
import pickle
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from noisybench import losses
from noisybench.errors import InvalidValue, UnknownName
from noisybench.losses import (
    CCELoss,
    ForwardLoss,
    LqLoss,
    MAELoss,
    TruncatedLqLoss,
    UnhingedLoss,
    lq,
    trunc_lq,
)
from noisybench.registry import LOSSES, Entry

CLASSES = 5
# A loss that only training can provide for, by a run before it or by a way of its own, is no module.
ENTRIES = [entry for entry in LOSSES if entry.metadata.criterion]
NAMES = [entry.name for entry in ENTRIES]
# A uniform transition matrix, exact in float32 as in float64.
CONTEXT = {"transition": torch.full((CLASSES, CLASSES), 0.0625).fill_diagonal_(0.75)}


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """The tensors are tiny: more threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def random_batch(n: int = 12) -> tuple[Tensor, Tensor]:
    logits = 3 * torch.randn(n, CLASSES, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return logits, torch.arange(n) % CLASSES


CRITERIA = {
    "cce": CCELoss,
    "mae": MAELoss,
    "unhinged": UnhingedLoss,
    "lq": LqLoss,
    "trunc-lq": TruncatedLqLoss,
    "forward-t": ForwardLoss,
}


def make(entry: Entry, **values: object) -> nn.Module:
    criterion: nn.Module = getattr(losses, entry.metadata.criterion)(
        **{name: CONTEXT[name] for name in entry.context}, **values
    )
    return criterion


@pytest.mark.parametrize("entry", ENTRIES, ids=NAMES)
def test_every_loss_has_a_criterion_that_agrees_with_it(entry: Entry) -> None:
    logits, target = random_batch()
    expected = LOSSES.bind(entry.name)(logits, target, **CONTEXT)
    torch.testing.assert_close(make(entry, reduction="none")(logits, target), expected)
    torch.testing.assert_close(make(entry, reduction="sum")(logits, target), expected.sum())
    torch.testing.assert_close(make(entry, reduction="mean")(logits, target), expected.mean())
    torch.testing.assert_close(make(entry)(logits, target), expected.mean())


@pytest.mark.parametrize("entry", ENTRIES, ids=NAMES)
def test_criteria_can_be_copied_and_pickled(entry: Entry) -> None:
    logits, target = random_batch()
    criterion = make(entry)
    for twin in (copy.deepcopy(criterion), pickle.loads(pickle.dumps(criterion))):
        assert torch.equal(twin(logits, target), criterion(logits, target))


@pytest.mark.parametrize("name", CRITERIA)
def test_the_paper_s_losses_have_their_criteria(name: str) -> None:
    assert CRITERIA[name] is getattr(losses, LOSSES[name].metadata.criterion)
    assert CRITERIA[name].__name__ in dir(losses)


def test_cce_is_torch_s_cross_entropy() -> None:
    logits, target = random_batch()
    torch.testing.assert_close(CCELoss()(logits, target), nn.CrossEntropyLoss()(logits, target))


def test_hyper_parameters_reach_the_loss() -> None:
    logits, target = random_batch()
    assert LqLoss(q=0.2)(logits, target) == lq(logits, target, q=0.2).mean()
    assert TruncatedLqLoss(q=0.2, k=0.9)(logits, target) == trunc_lq(logits, target, q=0.2, k=0.9).mean()


def test_repr_says_what_the_criterion_is() -> None:
    assert repr(LqLoss(q=0.5, reduction="sum")) == "LqLoss(lq(q=0.5), reduction=sum)"


def test_the_transition_matrix_is_a_buffer() -> None:
    criterion = ForwardLoss(transition=CONTEXT["transition"].double().numpy())
    assert criterion.transition.dtype == torch.float32
    assert criterion.to(torch.float64).transition.dtype == torch.float64
    other = ForwardLoss(transition=torch.eye(CLASSES))
    other.load_state_dict(criterion.state_dict())
    assert torch.equal(other.transition, CONTEXT["transition"])
    assert not list(criterion.parameters())


@pytest.mark.parametrize("values", [{"q": 1.1}, {"q": -0.1}, {"q": float("nan")}, {"q": "x"}, {"q": None}])
def test_a_value_out_of_bounds_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(InvalidValue, match="q of loss lq is .*, but must be a number, from 0 to 1"):
        LqLoss(**values)


def test_other_wrong_arguments_are_refused() -> None:
    with pytest.raises(InvalidValue, match="reduction is 'max', but must be one of mean, sum, none"):
        LqLoss(reduction="max")
    with pytest.raises(InvalidValue, match="ForwardLoss needs transition"):
        ForwardLoss()
    with pytest.raises(UnknownName, match="Did you mean 'q'"):
        LqLoss(Q=0.5)


def test_no_other_name_is_made_up() -> None:
    with pytest.raises(AttributeError, match="FocalLoss"):
        _ = losses.FocalLoss


@pytest.mark.parametrize("entry", ENTRIES, ids=NAMES)
def test_training_lowers_every_loss(entry: Entry) -> None:
    generator = torch.Generator().manual_seed(0)
    centres = 3 * torch.randn(CLASSES, 8, generator=generator)
    target = torch.arange(200) % CLASSES
    x = centres[target] + torch.randn(200, 8, generator=generator)
    model = nn.Linear(8, CLASSES)
    with torch.no_grad():
        model.weight.copy_(centres / 10)  # beyond k for some, so that trunc-lq has a gradient
        model.bias.zero_()
    criterion = make(entry)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    first = criterion(model(x), target).item()
    for _ in range(50):
        optimiser.zero_grad()
        loss = criterion(model(x), target)
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.9 * first
