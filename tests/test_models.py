import pytest
import torch

from noisybench.models.networks import BasicBlock, ResNet, SixConvolutions
from noisybench.registry import MODELS


@pytest.mark.parametrize("name", [entry.name for entry in MODELS])
@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (32, 32, 3)])
def test_every_model_maps_images_to_logits_and_learns(name: str, shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    height, width, channels = shape
    model = MODELS.bind(name)(shape, 7)
    logits = model(torch.randn(4, channels, height, width))
    assert logits.shape == (4, 7) and logits.isfinite().all()
    logits.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(
    ("name", "layers", "parameters"), [("resnet18", 18, 11_173_962), ("resnet34", 34, 21_282_122)]
)
def test_resnets_have_the_published_layers(name: str, layers: int, parameters: int) -> None:
    """Layers with weights on the main path, and the known parameter counts of the CIFAR variants."""
    model = MODELS.bind(name)((32, 32, 3), 10)
    blocks = [module for module in model.modules() if isinstance(module, BasicBlock)]
    assert 2 * len(blocks) + 2 == layers
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_resnet_keeps_full_resolution_in_its_first_stage() -> None:
    model = ResNet(3, 10, (2, 2, 2, 2), 8)
    x = model.stem(torch.zeros(1, 3, 32, 32))
    assert x.shape == (1, 8, 32, 32)
    assert model.stages(x).shape == (1, 64, 4, 4)


def test_width_is_a_hyper_parameter() -> None:
    assert str(MODELS.bind("resnet18", {"width": "16"})) == "resnet18(width=16)"
    assert MODELS.bind("resnet18(width=16)")((32, 32, 3), 10).output.in_features == 128


def test_six_convolutions_are_those_of_wang_et_al() -> None:
    model = SixConvolutions((32, 32, 3), 10, 64)
    convolutions = [m.out_channels for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
    assert convolutions == [64, 64, 128, 128, 196, 196]
    assert (model.features.in_features, model.features.out_features) == (196 * 4 * 4, 256)
