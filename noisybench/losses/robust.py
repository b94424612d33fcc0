"""Losses of the field for training with noisy labels, and two controls, by year.

They have the contract of `per_sample`: float logits (n, classes) and int64 labels (n,), or (n, k), give the
losses in the shape of the labels, in float32 or better, finite in value and gradient. f is the softmax of
the logits, c the number of classes, y the label.

Defaults compared with the authors' code, all for CIFAR-10: `sce` (its log 0 too) with YisenWang/
symmetric_cross_entropy_for_noisy_labels, ec778df; `nce-rce`, `nce-mae` and `nfl-mae` with HanxunH/
Active-Passive-Losses, 04bce53 (where α is 10 for CIFAR-100, and β of `nce-rce` 0.1; its focal loss has γ =
0.5, here it is that of Lin et al.); `agce`, `aul` and `ael` with hitcszx/ALFs, 61245e9. `js` is the
authors' (ErikEnglesson/GJS, 1a3c9e0), whose π for CIFAR-10 is 0.7 at 20 and 40 % of uniform noise, 0.9
above and 0.3 with class-dependent noise: the default is none of these. The weights of `bootstrap-soft` and
`bootstrap-hard` are those that udibr/noisy_labels, c5570af, quotes from the paper. google/bi-tempered-loss,
1c65c77, has no defaults. `taylor-ce` was not compared.
"""

import math
from typing import TYPE_CHECKING, Annotated

from noisybench.errors import InvalidValue
from noisybench.losses.per_sample import at_least_float32, box_cox, cce, log_likelihood, unhinged
from noisybench.options import Option
from noisybench.registry import METHODS

if TYPE_CHECKING:
    from torch import Tensor

# log 0 of the reverse cross entropy, as the papers' public code has it: log 1e-4.
LOG_0 = math.log(1e-4)
# Steps of Newton's method for the tempered softmax: it has converged in float64 after 6 for 1,000 classes.
NEWTON_STEPS = 12

Given = Annotated[
    float, Option("weight of the given label; the rest is the prediction's", minimum=0, maximum=1)
]
Weight = Annotated[float, Option("weight of a term of the loss", minimum=0)]
Smoothing = Annotated[float, Option("weight of the uniform distribution", minimum=0, maximum=1)]
Gamma = Annotated[float, Option("exponent of the focal loss: 0 is cce", minimum=0, maximum=100)]
Lowest = Annotated[float, Option("margin below which the ramp loss is constant", maximum=1)]
Order = Annotated[int, Option("terms of the Taylor series: 1 is unhinged", minimum=1, maximum=1000)]
Pi = Annotated[float, Option("weight of the label in the mixture", minimum=1e-6, maximum=1 - 1e-6)]
T1 = Annotated[float, Option("temperature of the logarithm: 1 is the usual one", minimum=0, maximum=1)]
T2 = Annotated[float, Option("temperature of the softmax: 1 is the usual one", minimum=1, maximum=10)]
AgceA = Annotated[float, Option("shift a of AGCE", minimum=1e-6, maximum=1000)]
AgceQ = Annotated[float, Option("exponent q of AGCE", minimum=1e-6, maximum=10)]
AulA = Annotated[float, Option("shift a of AUL, above 1", minimum=1 + 1e-6, maximum=1000)]
AulP = Annotated[float, Option("exponent p of AUL", minimum=1e-6, maximum=10)]
AelA = Annotated[float, Option("scale a of AEL", minimum=1e-6)]


def _log_softmax(logits: "Tensor") -> "Tensor":
    return at_least_float32(logits).log_softmax(dim=1)


def _of(values: "Tensor", labels: "Tensor") -> "Tensor":
    """The values (n, classes) of the labels, in their shape."""
    return values.gather(1, labels) if labels.dim() > 1 else values.gather(1, labels[:, None]).squeeze(1)


def _for(values: "Tensor", labels: "Tensor") -> "Tensor":
    """One value of each sample, (n,), for labels of any shape."""
    return values[:, None] if labels.dim() > 1 else values


@METHODS.register("savage", year=2008)
def savage(logits: "Tensor", labels: "Tensor") -> "Tensor":
    """Savage loss of softmax, (1 - f_y)² (Masnadi-Shirazi & Vasconcelos 2008).

    With two classes it is the paper's 1 / (1 + exp(2v))² of the margin v = (z_y - z_other) / 2.
    """
    return unhinged(logits, labels).square()


@METHODS.register("ramp", year=2011)
def ramp(logits: "Tensor", labels: "Tensor", *, lowest: Lowest = -1.0) -> "Tensor":
    """Ramp loss, the hinge loss of the margin z_y - max z_j with a bound (Brooks 2011).

    z_j are the logits of the other classes.  The loss is constant where the margin is below `lowest`, and so
    are its gradients 0 there.  The multi-class margin is that of Wu & Liu 2007.
    """
    import torch

    z = at_least_float32(logits)
    of_each = torch.arange(z.shape[1], device=z.device)
    own = labels.unsqueeze(-1) == of_each
    others = (z.unsqueeze(1) if labels.dim() > 1 else z).masked_fill(own, -math.inf).amax(dim=-1)
    return (1 - (_of(z, labels) - others)).clamp(0, 1 - lowest)


@METHODS.register("bootstrap-soft", year=2015)
def bootstrap_soft(logits: "Tensor", labels: "Tensor", *, given: Given = 0.95) -> "Tensor":
    """Soft bootstrapping, cross entropy with β·label + (1 - β)·f (Reed et al. 2015)."""
    log_f = _log_softmax(logits)
    entropy = -(log_f.exp() * log_f).sum(dim=1)
    return -given * _of(log_f, labels) + (1 - given) * _for(entropy, labels)


@METHODS.register("bootstrap-hard", year=2015)
def bootstrap_hard(logits: "Tensor", labels: "Tensor", *, given: Given = 0.8) -> "Tensor":
    """Hard bootstrapping, cross entropy with β·label + (1 - β)·argmax f (Reed et al. 2015)."""
    log_f = _log_softmax(logits)
    return -given * _of(log_f, labels) - (1 - given) * _for(log_f.amax(dim=1), labels)


@METHODS.register("label-smoothing", year=2016)
def label_smoothing(logits: "Tensor", labels: "Tensor", *, smoothing: Smoothing = 0.1) -> "Tensor":
    """Label smoothing, cross entropy with (1 - ε)·label + ε / c; a control (Szegedy et al. 2016)."""
    log_f = _log_softmax(logits)
    return -(1 - smoothing) * _of(log_f, labels) - smoothing * _for(log_f.mean(dim=1), labels)


@METHODS.register("focal", year=2017)
def focal(logits: "Tensor", labels: "Tensor", *, gamma: Gamma = 2.0) -> "Tensor":
    """Focal loss, -(1 - f_y)^γ log f_y; a control (Lin et al. 2017)."""
    return _of(_focal(_log_softmax(logits), gamma), labels)


def _focal(log_f: "Tensor", gamma: float) -> "Tensor":
    """The focal loss of every label, (n, classes)."""
    return -(gamma * _log_others(log_f)).exp() * log_f


def _log_others(log_f: "Tensor") -> "Tensor":
    """log(1 - f_j) of each class j, (n, classes): also where f_j rounds to 1."""
    import torch

    highest = log_f.argmax(dim=1, keepdim=True) == torch.arange(log_f.shape[1], device=log_f.device)
    of_highest = log_f.masked_fill(highest, -math.inf).logsumexp(dim=1, keepdim=True)
    of_others = torch.log1p(-log_f.masked_fill(highest, -math.inf).exp())
    return torch.where(highest, of_highest, of_others)


@METHODS.register("sce", year=2019, aliases=("sl", "symmetric-cross-entropy"))
def sce(logits: "Tensor", labels: "Tensor", *, alpha: Weight = 0.1, beta: Weight = 1.0) -> "Tensor":
    """Symmetric cross entropy, α·cce + β·reverse cross entropy (Wang et al. 2019)."""
    return alpha * cce(logits, labels) + beta * _reverse(logits, labels)


def _reverse(logits: "Tensor", labels: "Tensor") -> "Tensor":
    """Reverse cross entropy, -Σ_j f_j log t_j with log 0 = log 1e-4."""
    return -LOG_0 * unhinged(logits, labels)


def _normalised(losses: "Tensor", labels: "Tensor") -> "Tensor":
    """The loss of the label divided by the sum over all labels (Ma et al. 2020)."""
    return _of(losses / losses.sum(dim=1, keepdim=True), labels)


@METHODS.register("nce-rce", year=2020)
def nce_rce(logits: "Tensor", labels: "Tensor", *, alpha: Weight = 1.0, beta: Weight = 1.0) -> "Tensor":
    """Normalised cross entropy and reverse cross entropy, active and passive loss (Ma et al. 2020)."""
    return alpha * _normalised(-_log_softmax(logits), labels) + beta * _reverse(logits, labels)


@METHODS.register("nce-mae", year=2020)
def nce_mae(logits: "Tensor", labels: "Tensor", *, alpha: Weight = 1.0, beta: Weight = 1.0) -> "Tensor":
    """Normalised cross entropy and 1 - f_y, active and passive loss (Ma et al. 2020)."""
    return alpha * _normalised(-_log_softmax(logits), labels) + beta * unhinged(logits, labels)


@METHODS.register("nfl-mae", year=2020)
def nfl_mae(
    logits: "Tensor",
    labels: "Tensor",
    *,
    alpha: Weight = 1.0,
    beta: Weight = 1.0,
    gamma: Gamma = 0.5,
) -> "Tensor":
    """Normalised focal loss and 1 - f_y, active and passive loss (Ma et al. 2020)."""
    active = _normalised(_focal(_log_softmax(logits), gamma), labels)
    return alpha * active + beta * unhinged(logits, labels)


@METHODS.register("taylor-ce", year=2020)
def taylor_ce(logits: "Tensor", labels: "Tensor", *, order: Order = 2) -> "Tensor":
    """Taylor cross entropy, Σ (1 - f_y)^k / k for k from 1 to the order (Feng et al. 2020)."""
    import torch

    x = unhinged(logits, labels)
    losses = torch.zeros_like(x)
    for k in range(order, 0, -1):
        losses = (losses + 1 / k) * x
    return losses


@METHODS.register("bi-tempered", year=2019)
def bi_tempered(logits: "Tensor", labels: "Tensor", *, t1: T1 = 0.8, t2: T2 = 1.2) -> "Tensor":
    """Bi-tempered logistic loss: a bounded logarithm of a softmax with heavy tails (Amid et al. 2019).

    Its second derivatives are wrong, as the last step of Newton's method takes a derivative as a constant.
    """
    log_p = _tempered_log_softmax(at_least_float32(logits), t2)
    rest = -((2 - t1) * log_p).exp().sum(dim=1) / (2 - t1) + 1 / (2 - t1)
    return box_cox(_of(log_p, labels), 1 - t1) - _for(rest, labels)


def _tempered_log_softmax(z: "Tensor", t: float) -> "Tensor":
    """log of exp_t(z - λ), whose sum is 1: p = (1 + (t - 1)(λ - z))^(-1 / (t - 1)), with t from 1.

    S(λ)^(1 - t), with the sum S, is concave in λ, so that Newton's method from λ = max z goes to the root
    from below.  Its last step, with the derivative as a constant, gives λ the gradient p^t / Σ p^t.
    """
    import torch

    s = t - 1
    if s < 1e-6:
        return z.log_softmax(dim=1)
    below = z.amax(dim=1, keepdim=True) - z

    def log_p(shift: "Tensor") -> "Tensor":
        return -torch.log1p(s * (shift + below)) / s

    shift = torch.zeros_like(below[:, :1])
    with torch.no_grad():
        for _ in range(NEWTON_STEPS):
            p = log_p(shift)
            total = p.exp().sum(dim=1, keepdim=True)
            shift += total * torch.expm1(s * total.log()) / (s * (t * p).exp().sum(dim=1, keepdim=True))
        shift = shift.clamp(min=0)
        slope = (t * log_p(shift)).exp().sum(dim=1, keepdim=True)
    shift = shift + (log_p(shift).exp().sum(dim=1, keepdim=True) - 1) / slope
    return log_p(shift)


@METHODS.register("js", year=2021)
def js(logits: "Tensor", labels: "Tensor", *, pi: Pi = 0.5) -> "Tensor":
    """Jensen-Shannon divergence of label and f, divided by -(1 - π) log(1 - π) (Englesson & Azizpour 2021).

    The form with one view of an image.  With m = π·label + (1 - π)·f, classes other than y add
    -(1 - π) log(1 - π) f_j each, so that it depends on f_y alone.
    """
    import torch

    log_f = log_likelihood(logits, labels)
    f, rest = log_f.exp(), 1 - pi
    log_m = torch.log1p(-rest * unhinged(logits, labels))
    own = rest * f * (log_f - log_m) - pi * log_m
    return own / (-rest * math.log(rest)) + unhinged(logits, labels)


@METHODS.register("agce", year=2021)
def agce(logits: "Tensor", labels: "Tensor", *, shift: AgceA = 0.6, exponent: AgceQ = 0.6) -> "Tensor":
    """Asymmetric generalised cross entropy, ((a + 1)^q - (a + f_y)^q) / q (Zhou et al. 2021)."""
    import torch

    # (a + 1)^q (1 - (1 - (1 - f) / (a + 1))^q) / q: no difference of two near numbers.
    log_ratio = torch.log1p(-unhinged(logits, labels) / (shift + 1))
    whole: float = (shift + 1) ** exponent / exponent
    return -whole * torch.expm1(exponent * log_ratio)


@METHODS.register("aul", year=2021)
def aul(logits: "Tensor", labels: "Tensor", *, shift: AulA = 5.5, exponent: AulP = 3.0) -> "Tensor":
    """Asymmetric unhinged loss, ((a - f_y)^p - (a - 1)^p) / p (Zhou et al. 2021)."""
    import torch

    log_ratio = torch.log1p(unhinged(logits, labels) / (shift - 1))
    whole: float = (shift - 1) ** exponent / exponent
    return whole * torch.expm1(exponent * log_ratio)


@METHODS.register("ael", year=2021)
def ael(logits: "Tensor", labels: "Tensor", *, scale: AelA = 2.5) -> "Tensor":
    """Asymmetric exponential loss, exp(-f_y / a) (Zhou et al. 2021)."""
    return (-log_likelihood(logits, labels).exp() / scale).exp()


def backward_t(logits: "Tensor", labels: "Tensor", *, transition: "Tensor") -> "Tensor":
    """Backward correction with the true transition matrix T, (T⁻¹ losses)_y (Patrini et al. 2017).

    transition: (classes, classes), row i the distribution of the noisy label of class i.  Losses may be
    negative.  Raises InvalidValue if the matrix has no inverse.
    """
    return backward(logits, labels, inverse_of(transition.to(at_least_float32(logits))))


def backward(logits: "Tensor", labels: "Tensor", inverse: "Tensor") -> "Tensor":
    """Backward correction with T⁻¹, (classes, classes) in the type of the losses."""
    from torch.nn.functional import embedding

    losses = -_log_softmax(logits)
    # Unlike a product of matrices, this stays in float32 under autocast.
    rows = embedding(labels, inverse)
    return (rows * (losses.unsqueeze(1) if labels.dim() > 1 else losses)).sum(dim=-1)


def inverse_of(transition: "Tensor") -> "Tensor":
    """T⁻¹.  Raises InvalidValue if there is none, for which it waits for a GPU."""
    import torch

    try:
        return torch.linalg.inv(transition)  # type: ignore[no-any-return]
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        raise InvalidValue(
            "Backward correction needs a transition matrix that has an inverse, and this one has none."
            " Forward correction needs no inverse."
        ) from None
