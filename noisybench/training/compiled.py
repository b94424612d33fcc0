"""Networks compiled by torch: fewer kernels, each of which does more; the first step takes a minute or so."""

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from noisybench.datasets import data_home
from noisybench.errors import RunFailed

# Steps of a run from which compiling pays by estimate: it saves 1 ms or more a step of resnet34 on an H100,
# and takes a minute, or ten seconds where an earlier run has left its code.  A run of Table 1 has 42,120.
LONG, LONG_WITH_CODE = 40_000, 10_000


def compiles(wanted: str, device: torch.device, steps: int, mark: Path) -> bool:
    """Whether a run of so many steps compiles its networks.  wanted: "auto" or "on".  mark: of `mark_of`."""
    if wanted == "on":
        return True
    enough = LONG_WITH_CODE if mark.exists() else LONG
    return device.type == "cuda" and steps >= enough and find_spec("triton") is not None


def mark_of(device: torch.device, *what: object) -> Path:
    """The file that says that the code of a network, described by `what`, is kept for a device.

    It lies with the code, in $TORCHINDUCTOR_CACHE_DIR or, where that is not set, among the prepared data.
    """
    folder = os.environ.get("TORCHINDUCTOR_CACHE_DIR") or data_home() / "compiled"
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    return Path(folder, hashlib.sha256(repr((torch.__version__, where, what)).encode()).hexdigest()[:16])


class Compiled:
    """A function of networks and tensors, compiled; the names in the networks' state stay as they are.

    must: whether code that cannot be compiled is an error; else `tell` is called, once, and the function is
    used as it is.  mark: a file to make once the code is there.
    """

    def __init__(
        self, function: Callable[..., Any], must: bool, tell: Callable[[str], None], mark: Path
    ) -> None:
        self.function, self.must, self.tell, self.mark = function, must, tell, mark
        self.marked = False
        # Torch itself would keep the code among the temporary files.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(mark.parent)
        # For each shape of batch on its own: there are few.
        self.compiled: Callable[..., Any] | None = torch.compile(function, dynamic=False)

    def __call__(self, *arguments: Any) -> Any:
        if self.compiled is None:
            return self.function(*arguments)
        try:
            result = self.compiled(*arguments)
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
        if not self.marked:
            self.marked = True
            with suppress(OSError):  # the next run does not know then, and that is all
                self.mark.parent.mkdir(parents=True, exist_ok=True)
                self.mark.touch()
        return result
