"""The noise-adaptation layer: a softmax for the given label on top of that for the true one.

Goldberger & Ben-Reuven 2017, *Training deep neural-networks using a noise adaptation layer* (ICLR).

p(given j | x) = Σ_i p(true i | x) θ_ij. The simple layer has one matrix: row i is the softmax of biases
b_i. The complex one has a matrix for each image: row i is the softmax of b_i + W_i h, with the features h
of the network. The network is first trained without the layer; then b_ij = log of the mean prediction for
class i over the images of label j, divided by that over all images (the paper's initialisation), and W = 0,
as in the authors' code (udibr/noisy_labels, c5570af). The network without the layer predicts.

What is decided here: the first phase is the first `warm_up` epochs of the same run (the paper stops it
early by validation); nothing but cross entropy is minimised through the layer (β = 0 of the authors' code).
"""

from typing import TYPE_CHECKING, Annotated, Any, cast

from noisybench.losses.per_sample import cce
from noisybench.methods.method import Batch, Method, Run, Selection, State, TrainingData, n_features
from noisybench.options import Option
from noisybench.registry import METHODS

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

EPSILON = 1e-8

WarmUp = Annotated[int, Option("epochs of cross entropy before the layer is used", minimum=1)]


@METHODS.register("noise-adaptation", year=2017)
class NoiseAdaptation(Method):
    """Noise-adaptation layer, simple: a learnt matrix after the softmax (Goldberger & Ben-Reuven 2017).

    State: adapts, whether the layer is used in this epoch.
    """

    warm_up: WarmUp = 10

    def networks(self, make: "Callable[[str], nn.Module]", n_classes: int) -> "nn.Module":
        import torch
        from torch import nn

        layer = nn.Module()
        layer.bias = nn.Parameter(torch.zeros(n_classes**2))
        return nn.ModuleList([make("initialisation"), layer])

    def start(self, data: TrainingData) -> State:
        import torch

        return {"adapts": torch.tensor(False, device=data.device)}

    def before_epoch(self, epoch: int, state: State) -> None:
        state["adapts"].fill_(epoch > self.warm_up)

    def forward(self, model: "nn.Module", batch: Batch, state: State) -> Any:
        """The logits (b, classes), and those of the matrix, (1 or b, classes²)."""
        network, layer = model.children()
        return network(batch.images), cast("Tensor", layer.bias)[None]

    def loss(self, output: Any, batch: Batch, state: State) -> "Tensor":
        logits, of_matrix = output
        n_classes = logits.shape[1]
        log_matrix = of_matrix.float().unflatten(1, (n_classes, n_classes)).log_softmax(dim=2)
        column = batch.given[:, None, None].expand(-1, n_classes, 1)
        log_given = log_matrix.expand(len(logits), -1, -1).gather(2, column).squeeze(2)
        adapted: Tensor = -(logits.float().log_softmax(dim=1) + log_given).logsumexp(dim=1)
        return adapted.where(state["adapts"], cce(logits, batch.given))

    def after_epoch(self, epoch: int, run: Run, state: State) -> Selection | None:
        if epoch == self.warm_up:
            import torch
            from torch.nn.functional import one_hot

            softmax = run.training_logits().double().softmax(dim=1)
            sums = softmax.T @ one_hot(run.given, softmax.shape[1]).double()
            rows = sums / sums.sum(dim=1, keepdim=True)
            _, layer = run.model.children()
            with torch.no_grad():
                cast("Tensor", layer.bias).copy_((rows + EPSILON).log().flatten())
        return None


@METHODS.register("noise-adaptation-complex", year=2017)
class ComplexNoiseAdaptation(NoiseAdaptation):
    """Noise-adaptation layer, complex: a matrix by an image's features (Goldberger & Ben-Reuven 2017)."""

    def networks(self, make: "Callable[[str], nn.Module]", n_classes: int) -> "nn.Module":
        from torch import nn

        network = make("initialisation")
        layer = nn.Linear(n_features(network), n_classes**2)
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
        return nn.ModuleList([network, layer])

    def forward(self, model: "nn.Module", batch: Batch, state: State) -> Any:
        network, layer = model.children()
        features = network.embed(batch.images).relu()  # type: ignore[operator]
        return network.output(features), layer(features)  # type: ignore[operator]
