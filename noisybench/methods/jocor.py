"""JoCoR, after Algorithm 1 of its paper.

Wei et al. 2020, *Combating noisy labels by agreement: a joint training method with co-regularization*
(CVPR).

Two networks share one loss, (1 - λ)(cross entropy of both) + λ (KL(p₁, p₂) + KL(p₂, p₁)), and learn from
the samples of a batch for which it is smallest: a part R(t), as in co-teaching.

As in the authors' code (hongxin001/JoCoR, 86db359): R(t), and λ = 0.9, which its README gives for CIFAR-10
at 20 and 50 % (0.65 at 80 %); for class-dependent noise it leaves out half of the noise rate.
"""

from typing import TYPE_CHECKING, Annotated, Any

from noisybench.losses.per_sample import cce
from noisybench.methods.co_teaching import CoTeaching, small_losses
from noisybench.methods.method import Batch, State, mean_of
from noisybench.options import Option
from noisybench.registry import METHODS

if TYPE_CHECKING:
    from torch import Tensor

Agreement = Annotated[float, Option("weight λ of the agreement of both networks", minimum=0, maximum=1)]


@METHODS.register("jocor", year=2020, passes=2)
class JoCoR(CoTeaching):
    """JoCoR: two networks that must agree, trained on the smallest joint losses (Wei et al. 2020)."""

    agreement: Agreement = 0.9

    def loss(self, output: Any, batch: Batch, state: State) -> "Tensor":
        first, second = (logits.float().log_softmax(dim=1) for logits in output)
        # KL(p₁, p₂) + KL(p₂, p₁) = Σ (p₁ - p₂) (log p₁ - log p₂).
        apart = ((first.exp() - second.exp()) * (first - second)).sum(dim=1)
        supervised = cce(output[0], batch.given) + cce(output[1], batch.given)
        losses = (1 - self.agreement) * supervised + self.agreement * apart
        return mean_of(losses, small_losses(losses, state["keep"]))
