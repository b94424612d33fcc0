"""A network that cleans labels, learnt from samples of which both the given and the true label are known.

Veit et al. 2017, *Learning from noisy large-scale datasets with minimal supervision* (CVPR).

The cleaning network has the given label and the features of an image, each by a linear layer; on both, a
hidden layer and a linear one make what is added to the label, and the sum is cut off to [0, 1]. For trusted
samples it learns to give the true label, by the sum of absolute differences. The classifier, on the same
features, learns from the cleaned labels, or the true ones of trusted samples; no gradient goes from it into
the cleaning network. The weights of the two losses, 0.1 and 1, are the paper's; no code was found to
compare with.

What is decided here: the paper has many labels for an image; here is one, so that cleaned labels are
divided by their sum, and the classifier has softmax and cross entropy. The layers have 64 units, and the
last one begins at 0, so that at first labels stay. The gradient passes through the cut-off, at which all
labels begin: a gradient of 0 there, as torch's clamp has, would keep them for ever. The cleaning network
sees a batch of trusted samples in each step, with features of a forward pass of their own.
"""

from typing import TYPE_CHECKING, Annotated, Any

from noisybench.losses.per_sample import cce
from noisybench.methods.method import Batch, Method, State, TrainingData, n_features
from noisybench.options import Option
from noisybench.registry import METHODS

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

UNITS = 64
EPSILON = 1e-6

Strength = Annotated[float, Option("factor of the loss of the cleaning network", minimum=0)]


@METHODS.register("label-cleaning", year=2017, passes=2)
class LabelCleaning(Method):
    """A network cleans the labels that another learns from, by trusted samples (Veit et al. 2017).

    State: trusted (n,) bool.
    """

    # 1: no gradient passed through the cut-off, so that labels stayed for ever.
    revision = 2
    strength: Strength = 0.1
    needs_trusted = True
    trusted_batches = True

    def networks(self, make: "Callable[[str], nn.Module]", n_classes: int) -> "nn.Module":
        from torch import nn

        network = make("initialisation")
        last = nn.Linear(UNITS, n_classes)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        hidden = nn.Sequential(nn.Linear(2 * UNITS, UNITS), nn.ReLU(), last)
        embeddings = (nn.Linear(n_classes, UNITS), nn.Linear(n_features(network), UNITS))
        return nn.ModuleList([network, *embeddings, hidden])

    def start(self, data: TrainingData) -> State:
        return {"trusted": data.trusted.clone()}

    def forward(self, model: "nn.Module", batch: Batch, state: State) -> Any:
        """The logits, and the cleaned labels (b, classes) of the batch and of its trusted batch."""
        assert batch.trusted is not None, "the method asks for it"
        network, *cleaner = model.children()
        features, of_trusted = (
            network.embed(each.images).relu()  # type: ignore[operator]
            for each in (batch, batch.trusted)
        )
        logits = network.output(features)  # type: ignore[operator]
        n_classes = logits.shape[1]
        return (
            logits,
            cleaned(cleaner, batch.noisy, features, n_classes),
            cleaned(cleaner, batch.trusted.noisy, of_trusted, n_classes),
        )

    def loss(self, output: Any, batch: Batch, state: State) -> "Tensor":
        from torch.nn.functional import one_hot

        assert batch.trusted is not None, "the method asks for it"
        logits, labels, of_trusted = output
        soft = labels.detach() / labels.detach().sum(dim=1, keepdim=True).clamp(min=EPSILON)
        by_cleaned = -(soft * logits.float().log_softmax(dim=1)).sum(dim=1)
        classifies = cce(logits, batch.given).where(state["trusted"][batch.rows], by_cleaned)
        true = one_hot(batch.trusted.given, logits.shape[1])
        cleans: Tensor = (of_trusted - true).abs().sum(dim=1).mean()
        return classifies + self.strength * cleans


def cleaned(cleaner: "list[nn.Module]", noisy: "Tensor", features: "Tensor", n_classes: int) -> "Tensor":
    """The cleaned labels (b, classes), from 0 to 1, of noisy labels (b,) and features (b, units)."""
    import torch
    from torch.nn.functional import one_hot

    of_label, of_features, hidden = cleaner
    label = one_hot(noisy, n_classes).float()
    joined = torch.cat([of_label(label), of_features(features)], dim=1)
    sums: Tensor = label + hidden(joined).float()
    return sums + (sums.clamp(0, 1) - sums).detach()
