"""The named networks, a registered function each.

The definitions here import torch only when they are called; the layers are in `networks`.
`features` says that a model has a layer of features, which some methods work on.
Images come in as float tensors of shape (n, channels, height, width), logits go out as (n, classes).
"""

from typing import TYPE_CHECKING, Annotated

from noisybench.options import Option
from noisybench.registry import MODELS

if TYPE_CHECKING:
    from torch import nn

    Shape = tuple[int, int, int]

Width = Annotated[int, Option("channels of the first stage", minimum=8, maximum=1024)]
Hidden = Annotated[int, Option("units of each hidden layer", minimum=1, maximum=65536)]


@MODELS.register("resnet18")
def resnet18(shape: "Shape", classes: int, *, width: Width = 64) -> "nn.Module":
    """ResNet-18 with a 3×3 stem for small images (He et al. 2016)."""
    from noisybench.models.networks import ResNet

    return ResNet(shape[2], classes, (2, 2, 2, 2), width)


@MODELS.register("resnet34")
def resnet34(shape: "Shape", classes: int, *, width: Width = 64) -> "nn.Module":
    """ResNet-34 with a 3×3 stem for small images (He et al. 2016)."""
    from noisybench.models.networks import ResNet

    return ResNet(shape[2], classes, (3, 4, 6, 3), width)


@MODELS.register("torchvision-resnet18")
def torchvision_resnet18(shape: "Shape", classes: int) -> "nn.Module":
    """ResNet-18 with the 7×7 stem of ImageNet, for images from 64×64."""
    return _from_torchvision("resnet18", shape, classes)


@MODELS.register("torchvision-resnet34")
def torchvision_resnet34(shape: "Shape", classes: int) -> "nn.Module":
    """ResNet-34 with the 7×7 stem of ImageNet, for images from 64×64."""
    return _from_torchvision("resnet34", shape, classes)


@MODELS.register("torchvision-resnet50")
def torchvision_resnet50(shape: "Shape", classes: int) -> "nn.Module":
    """ResNet-50 with the 7×7 stem of ImageNet, for images from 64×64."""
    return _from_torchvision("resnet50", shape, classes)


def _from_torchvision(name: str, shape: "Shape", classes: int) -> "nn.Module":
    import torchvision
    from torch import nn

    from noisybench.models.networks import Output

    network: torchvision.models.ResNet = getattr(torchvision.models, name)(weights=None, num_classes=classes)
    network.fc = Output(network.fc.in_features, classes)
    if shape[2] != 3:
        network.conv1 = nn.Conv2d(shape[2], 64, 7, stride=2, padding=3, bias=False)
    return network  # type: ignore[no-any-return]


@MODELS.register("resnet8")
def resnet8(shape: "Shape", classes: int, *, width: Width = 16) -> "nn.Module":
    """A narrow ResNet with one block in each of three stages, for runs on a CPU."""
    from noisybench.models.networks import ResNet

    return ResNet(shape[2], classes, (1, 1, 1), width)


@MODELS.register("cnn6", features=True)
def cnn6(shape: "Shape", classes: int, *, width: Width = 64) -> "nn.Module":
    """The six-convolution CNN of Wang et al. 2018, with a layer of 256 units before the output."""
    from noisybench.models.networks import SixConvolutions

    return SixConvolutions(shape, classes, width)


@MODELS.register("mlp", features=True)
def mlp(shape: "Shape", classes: int, *, hidden: Hidden = 256) -> "nn.Module":
    """Two hidden layers with ReLU, for small images and quick runs."""
    from noisybench.models.networks import Perceptron

    return Perceptron(shape, classes, hidden)
