"""Truncated L_q, trained by alternate convex search (Zhang & Sabuncu 2018, Algorithm 1)."""

from typing import TYPE_CHECKING, Any

from noisybench.losses.per_sample import K, Q, lq
from noisybench.methods.method import Batch, Method, Run, Selection, State
from noisybench.registry import METHODS

if TYPE_CHECKING:
    from torch import Tensor


@METHODS.register(
    "trunc-lq",
    year=2018,
    aliases=("truncated-gce", "truncated-lq", "tgce", "trunc-gce"),
    compared=("q=0.7, k=0.3", "q=0.7, k=0.5"),
)
class TruncatedLq(Method):
    """Truncated L_q (Eq. 9), trained by alternate convex search: L_q over the samples with f_y > k.

    A step minimises L_q over the samples that are kept (Eq. 12).  At each pruning, the network of the best
    noisy-validation epoch so far chooses them anew among all.
    """

    q: Q = 0.7
    k: K = 0.5
    has_schedule = True

    def loss(self, output: Any, batch: Batch, state: State) -> "Tensor":
        return lq(output, batch.given, q=self.q)

    def validation_loss(self, logits: "Tensor", given: "Tensor", state: State) -> "Tensor":
        return lq(logits, given, q=self.q)

    def after_epoch(self, epoch: int, run: Run, state: State) -> Selection | None:
        if not run.prunes_after(epoch):
            return None
        return Selection(confident(run.training_logits(best=True), run.given, self.k), run.best_epoch)


def confident(logits: "Tensor", given: "Tensor", k: float) -> "Tensor":
    """w of Eq. 12 as a bool tensor (n,): true where the softmax of the given label exceeds k.

    That is where L_q(f) <= L_q(k), for any q.
    """
    return logits.float().softmax(dim=1).gather(1, given[:, None]).squeeze(1) > k
