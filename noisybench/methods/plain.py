"""The loss functions that train as they are."""

from noisybench.losses import cce, lq, mae, unhinged
from noisybench.registry import METHODS

METHODS.register("cce")(cce)
METHODS.register("mae")(mae)
METHODS.register("unhinged")(unhinged)
METHODS.register("lq")(lq)
