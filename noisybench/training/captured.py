"""A training step that is recorded once, as a CUDA graph, and replayed with other batches.

To launch the hundreds of kernels of a step one by one takes the host longer than a GPU takes to compute them;
a graph is launched at once.  A replay reads and writes the memory of the recorded step: whatever changes from
step to step, the learning rate too, must be a tensor that is changed in place.
"""

from collections.abc import Callable, Iterable

import torch

from noisybench.batches import Step
from noisybench.errors import InvalidValue, RunFailed
from noisybench.methods import Method
from noisybench.training.gpu_options import GpuOptions

# Steps before the recorded one: the optimiser makes its buffers, cuDNN chooses its algorithms.
EAGER = 3


def captures(options: GpuOptions, device: torch.device, method: Method) -> bool:
    """Whether a run records a step.  Raises InvalidValue if it must and cannot."""
    options.check(device.type)
    if options.capture == "on" and not method.captures:
        raise InvalidValue(
            "capture is 'on', but a step of this method cannot be captured. Type --capture auto or omit it."
        )
    return options.capture != "off" and device.type == "cuda" and method.captures


class Captured:
    """The steps of a run, of which those of `size` samples are replayed.

    act: carries out a step.  must: whether a step that cannot be recorded is an error; else `tell` is called,
    once, and the steps are carried out one by one.
    """

    def __init__(
        self,
        act: Callable[[Step], None],
        size: int,
        device: torch.device,
        must: bool = False,
        tell: Callable[[str], None] = lambda message: None,
    ) -> None:
        self.act, self.size, self.device, self.must, self.tell = act, size, device, must, tell
        # Recording needs a stream of its own, and the steps before it belong in the same.
        self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self.batch: Step | None = None
        self.graph: torch.cuda.CUDAGraph | None = None
        self.eager = 0
        self.given_up = False

    def take(self, steps: Iterable[Step]) -> None:
        """Carry out the steps, one after the other."""
        outer = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(outer)
        with torch.cuda.stream(self.stream):
            for step in steps:
                self._take(step)
        outer.wait_stream(self.stream)

    def _take(self, step: Step) -> None:
        # A pruning can leave fewer samples than a batch: that shape was not recorded.
        if self.given_up or len(step.rows) != self.size:
            self.act(step)
        elif self.eager < EAGER:
            self.eager += 1
            self.act(step)
        else:
            if self.graph is None or self.batch is None:
                self.batch = step.clone()
                self._record(self.batch)
                if self.graph is None:
                    self.act(step)
                    return
            self.batch.copy_(step)
            self.graph.replay()

    def _record(self, batch: Step) -> None:
        """Record the step; nothing is computed."""
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self.stream):
                self.act(batch)
        except RuntimeError as error:
            reason = str(_first(error)).strip().partition("\n")[0].rstrip(".")
            if self.must:
                raise RunFailed(f"The training step cannot be captured: {reason}.") from error
            self.given_up = True
            self.tell(
                f"The training step cannot be captured ({reason}): its kernels are launched one by one, which"
                " is slower. --capture off leaves the attempt out."
            )
            return
        self.graph = graph


def _first(error: RuntimeError) -> BaseException:
    """The error that made a capture fail: to end one that is no longer valid raises another."""
    first: BaseException = error
    while isinstance(first.__context__, RuntimeError):
        first = first.__context__
    return first
