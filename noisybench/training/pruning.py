"""Pruning: the half of alternate convex search that chooses the samples (Algorithm 1)."""

from torch import Tensor

from noisybench.config import Config, Pruning


def kept(logits: Tensor, given: Tensor, threshold: float) -> Tensor:
    """w of Eq. 12 as a bool tensor (n,): true where the softmax of the given label exceeds k.

    That is where L_q(f) <= L_q(k), for any q.
    """
    return logits.float().softmax(dim=1).gather(1, given[:, None]).squeeze(1) > threshold


def prunes_after(config: Config, epoch: int) -> bool:
    """Whether the run prunes once `epoch` epochs are done (and more are to come)."""
    if config.prune_from is None or config.prune_every is None:
        return False
    since = epoch - config.prune_from
    return since >= 0 and since % config.prune_every == 0 and epoch < config.epochs


def describe(keep: Tensor, wrong: Tensor, epoch: int, model_epoch: int) -> Pruning:
    """What a pruning did, against the truth: keep and wrong are bool tensors (n,)."""
    dropped, n_wrong = int((~keep).sum()), int(wrong.sum())
    hits = int((~keep & wrong).sum())
    return Pruning(
        epoch=epoch,
        model_epoch=model_epoch,
        n_kept=len(keep) - dropped,
        n_dropped=dropped,
        precision=hits / dropped if dropped else None,
        recall=hits / n_wrong if n_wrong else None,
    )
