"""The layers of the named networks."""

from typing import cast

import torch
from torch import Tensor, nn


def convolution(c_in: int, c_out: int, stride: int = 1) -> nn.Conv2d:
    """A 3×3 convolution with a border of 1 and no bias: batch norm follows."""
    return nn.Conv2d(c_in, c_out, 3, stride=stride, padding=1, bias=False)


class Output(nn.Linear):
    """A layer of logits: in float32 under autocast too, where those of two classes would often be equal."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.to(self.weight.dtype))


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut, projected where the shape changes (He et al. 2016)."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            convolution(c_in, c_out, stride),
            nn.BatchNorm2d(c_out),
            nn.ReLU(inplace=True),
            convolution(c_out, c_out),
            nn.BatchNorm2d(c_out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or c_in != c_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(c_in, c_out, 1, stride=stride, bias=False), nn.BatchNorm2d(c_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


class ResNet(nn.Module):
    """A residual network of basic blocks with the stem used on CIFAR: 3×3, stride 1, no pooling.

    Each stage after the first halves the resolution and doubles the channels.
    """

    def __init__(self, channels: int, classes: int, blocks: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(convolution(channels, width), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
        stages: list[nn.Module] = []
        c_in = width
        for stage, count in enumerate(blocks):
            c_out = width * 2**stage
            for block in range(count):
                stages.append(BasicBlock(c_in, c_out, stride=2 if stage and not block else 1))
                c_in = c_out
        self.stages = nn.Sequential(*stages)
        self.output = Output(c_in, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def embed(self, x: Tensor) -> Tensor:
        """The features of the last stage, (n, channels), averaged over the image."""
        features: Tensor = self.stages(self.stem(x)).mean(dim=(2, 3))
        return features

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.embed(x))  # type: ignore[no-any-return]


class SixConvolutions(nn.Module):
    """3×3 convolutions of 64, 64, 128, 128, 196 and 196 channels, batch norm and ReLU after each,
    2×2 max-pooling after every second, then a layer of 256 units (Wang et al. 2018).

    channels: those of the first convolutions; the others keep their proportion.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int, channels: int) -> None:
        super().__init__()
        height, width, c_in = shape
        layers: list[nn.Module] = []
        for c_out in (channels, 2 * channels, channels * 49 // 16):
            for _ in range(2):
                layers += [convolution(c_in, c_out), nn.BatchNorm2d(c_out), nn.ReLU(inplace=True)]
                c_in = c_out
            layers.append(nn.MaxPool2d(2))
        self.convolutions = nn.Sequential(*layers, nn.Flatten())
        self.features = nn.Linear(c_in * (height // 8) * (width // 8), 256)
        self.output = Output(256, classes)

    def embed(self, x: Tensor) -> Tensor:
        """The features, (n, 256), before their ReLU."""
        return self.features(self.convolutions(x))  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        return self.output(torch.relu(self.embed(x)))  # type: ignore[no-any-return]


class Perceptron(nn.Sequential):
    """Two hidden layers with ReLU; the second one's units are the features."""

    def __init__(self, shape: tuple[int, int, int], classes: int, hidden: int) -> None:
        height, width, channels = shape
        super().__init__(
            nn.Flatten(),
            nn.Linear(height * width * channels, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            Output(hidden, classes),
        )

    @property
    def features(self) -> nn.Linear:
        return cast(nn.Linear, self[3])

    @property
    def output(self) -> nn.Linear:
        return cast(nn.Linear, self[5])

    def embed(self, x: Tensor) -> Tensor:
        """The features, (n, hidden), before their ReLU."""
        for layer in list(self)[:4]:
            x = layer(x)
        return x


class TwoHeads(nn.Module):
    """A network with a layer of features, and a second output layer on them (Wang et al. 2018).

    Both output layers see the linear features, without a ReLU; the first one predicts.
    """

    def __init__(self, network: SixConvolutions | Perceptron) -> None:
        super().__init__()
        self.network = network
        self.second = Output(network.output.in_features, network.output.out_features)

    def forward(self, x: Tensor) -> Tensor:
        return self.network.output(self.embed(x))  # type: ignore[no-any-return]

    def embed(self, x: Tensor) -> Tensor:
        """The features of the network, (n, units)."""
        return self.network.embed(x)

    def both(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The features (n, units), and the logits (n, classes) of the first and of the second output."""
        features = self.network.embed(x)
        return features, self.network.output(features), self.second(features)
