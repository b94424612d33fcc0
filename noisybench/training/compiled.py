"""Networks compiled by torch: fewer kernels, each of which does more; the first step takes a minute or so."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch

from noisybench.errors import RunFailed

# Steps of a run from which compiling pays by estimate: it saves about 1 ms a step of resnet34 on an H100.
LONG = 20_000


def compiles(wanted: str, device: torch.device, steps: int) -> bool:
    """Whether a run of so many steps compiles its networks.  wanted: "auto", "on" or "off"."""
    if wanted == "auto":
        return device.type == "cuda" and steps >= LONG and find_spec("triton") is not None
    return wanted == "on"


class Compiled:
    """A function of networks and tensors, compiled; the names in the networks' state stay as they are.

    must: whether code that cannot be compiled is an error; else `tell` is called, once, and the function is
    used as it is.
    """

    def __init__(self, function: Callable[..., Any], must: bool, tell: Callable[[str], None]) -> None:
        self.function, self.must, self.tell = function, must, tell
        # For each shape of batch on its own: there are few.
        self.compiled: Callable[..., Any] | None = torch.compile(function, dynamic=False)

    def __call__(self, *arguments: Any) -> Any:
        if self.compiled is None:
            return self.function(*arguments)
        try:
            return self.compiled(*arguments)
        except torch._dynamo.exc.TorchDynamoException as error:
            reason = str(error).strip().partition("\n")[0].rstrip(".")
            if self.must:
                raise RunFailed(f"The network cannot be compiled: {reason}.") from error
            self.compiled = None
            self.tell(
                f"The network cannot be compiled ({reason}), and is used as it is."
                " --compile off leaves the attempt out."
            )
            return self.function(*arguments)
