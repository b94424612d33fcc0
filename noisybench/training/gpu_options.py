"""How a run uses a GPU: no part of its identity, and without effect on the numbers but for rounding."""

from dataclasses import dataclass
from typing import Literal

from noisybench.errors import InvalidValue

Switch = Literal["auto", "on", "off"]


@dataclass(frozen=True)
class GpuOptions:
    """capture: whether steps are recorded once and replayed as CUDA graphs (auto: on CUDA).  compile: whether
    networks are compiled (auto: on CUDA, in long runs).  deterministic: whether cuDNN must give the same bits
    each time, where it would take what is fastest.
    """

    capture: Switch = "auto"
    compile: Switch = "auto"
    deterministic: bool = False

    def check(self, kind: str) -> None:
        """Raise InvalidValue for what a kind of device ("cpu", "cuda" or "mps") cannot do."""
        if self.capture == "on" and kind != "cuda":
            raise InvalidValue(
                f"capture is 'on', but steps are captured on CUDA alone, and the device is {kind}."
                " Omit --capture, or choose --device cuda."
            )
