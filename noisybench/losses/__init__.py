"""Losses for training with noisy labels, as functions and as `torch.nn.Module` classes, for any loop.

A function gives the loss of each sample: ``lq(logits, target, q=0.7)``.  A class is used as
`torch.nn.CrossEntropyLoss` is: ``LqLoss(q=0.7)(logits, target)``.  All accept what `conventions` describes:
labels or probabilities, labels to ignore, and logits (n, classes, d1, …); classes take `weight`,
`ignore_index` and `reduction` as well.  All compute in float32 (float64 for float64 logits), also under
autocast, are finite in value and gradient for any finite logits, and raise InvalidValue for what they do
not accept.

The classes are imported when they are first asked for: names and help texts do not wait for torch.
"""

from typing import TYPE_CHECKING

from noisybench.losses import per_sample, robust
from noisybench.losses.conventions import checked

if TYPE_CHECKING:
    from noisybench.losses.criteria import (
        CCELoss,
        ForwardLoss,
        LqLoss,
        MAELoss,
        PrunedLqLoss,
        TruncatedLqLoss,
        UnhingedLoss,
    )
else:

    def __getattr__(name: str) -> object:
        if name in __all__:
            from noisybench.losses import criteria

            return getattr(criteria, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "CCELoss",
    "ForwardLoss",
    "LqLoss",
    "MAELoss",
    "PrunedLqLoss",
    "TruncatedLqLoss",
    "UnhingedLoss",
    "ael",
    "agce",
    "aul",
    "backward_t",
    "bi_tempered",
    "bootstrap_hard",
    "bootstrap_soft",
    "cce",
    "focal",
    "forward_t",
    "js",
    "label_smoothing",
    "log_likelihood",
    "lq",
    "mae",
    "nce_mae",
    "nce_rce",
    "nfl_mae",
    "ramp",
    "savage",
    "sce",
    "taylor_ce",
    "trunc_lq",
    "unhinged",
]

log_likelihood = checked(per_sample.log_likelihood)
cce = checked(per_sample.cce)
mae = checked(per_sample.mae)
unhinged = checked(per_sample.unhinged)
lq = checked(per_sample.lq)
trunc_lq = checked(per_sample.trunc_lq)
forward_t = checked(per_sample.forward_t)

ael = checked(robust.ael)
agce = checked(robust.agce)
aul = checked(robust.aul)
backward_t = checked(robust.backward_t)
bi_tempered = checked(robust.bi_tempered)
bootstrap_hard = checked(robust.bootstrap_hard)
bootstrap_soft = checked(robust.bootstrap_soft)
focal = checked(robust.focal)
js = checked(robust.js)
label_smoothing = checked(robust.label_smoothing)
nce_mae = checked(robust.nce_mae)
nce_rce = checked(robust.nce_rce)
nfl_mae = checked(robust.nfl_mae)
ramp = checked(robust.ramp)
savage = checked(robust.savage)
sce = checked(robust.sce)
taylor_ce = checked(robust.taylor_ce)
