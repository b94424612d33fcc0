import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from noisybench.batches import Images
from noisybench.training.evaluation import evaluate, expected_calibration_error, predict


def test_closed_form() -> None:
    # Confidence 0.8 in class 0, four times: three hits. Confidence 0.6 in class 1, twice: one hit.
    logits = torch.log(torch.tensor([[0.8, 0.2]] * 4 + [[0.4, 0.6]] * 2))
    result = evaluate(logits, torch.tensor([0, 0, 0, 1, 1, 0]))
    assert result.accuracy == pytest.approx(4 / 6)
    assert result.confusion == [[3, 1], [1, 1]]
    assert result.per_class == [pytest.approx(0.75), pytest.approx(0.5)]
    assert result.ece == pytest.approx((4 * abs(0.75 - 0.8) + 2 * abs(0.5 - 0.6)) / 6)


def test_a_class_without_images_has_no_accuracy() -> None:
    assert evaluate(torch.eye(3), torch.tensor([0, 1, 0])).per_class[2] is None


@given(st.integers(0, 10_000), st.integers(2, 200))
def test_ece_equals_a_loop_over_bins(seed: int, n: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(n, 4, generator=generator)
    target = torch.randint(0, 4, (n,), generator=generator)
    probabilities = torch.softmax(logits.double(), 1).numpy()
    confidence, hit = probabilities.max(1), probabilities.argmax(1) == target.numpy()
    edges = np.linspace(0, 1, 16)
    reference = 0.0
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        members = (confidence > low) & (confidence <= high)
        if members.any():
            reference += members.mean() * abs(hit[members].mean() - confidence[members].mean())
    assert expected_calibration_error(logits, target) == pytest.approx(reference, abs=1e-9)


def test_predicting_with_another_state_leaves_the_network_alone() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3), torch.nn.BatchNorm1d(3))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    other = {name: torch.rand_like(value.double()).to(value.dtype) for name, value in before.items()}
    images = Images(
        torch.randint(0, 256, (5, 2, 2, 3), dtype=torch.uint8), torch.zeros(2, 2, 3), torch.device("cpu")
    )
    own, of_other = predict(model, images), predict(model, images, other)
    assert not torch.equal(own, of_other)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model.load_state_dict(other)
    torch.testing.assert_close(predict(model, images), of_other)


def test_a_prediction_does_not_depend_on_the_other_images() -> None:
    """Batch norm must be in evaluation mode, also right after training."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.BatchNorm1d(12), torch.nn.Linear(12, 3)).train()
    pixels = torch.randint(0, 256, (5, 2, 2, 3), dtype=torch.uint8)
    cpu = torch.device("cpu")
    together = predict(model, Images(pixels, torch.zeros(2, 2, 3), cpu))
    alone = predict(model.train(), Images(pixels[:2], torch.zeros(2, 2, 3), cpu))
    torch.testing.assert_close(together[:2], alone)
