"""A CUDA device that is pretended: tensors claim to lie on it, and compute on the CPU.

As on a GPU, tensors of two devices do not go together, and values are read only by waiting.  The waits are
counted.  Values are real, so that what depends on them (prunings, resuming) is as in training, and results can
be compared with those of the CPU to the bit.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

CUDA = torch.device("cuda", 0)
# What the C++ of torch believes: its own functions of CUDA would look for a driver.
INSIDE = torch.device("meta")

aten = torch.ops.aten
# On a GPU the host waits for these: it needs a value, or a number of rows.
WAITING = {
    aten._local_scalar_dense.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten.bincount.default,
    aten.equal.default,
    aten.unique_consecutive.default,
    aten._unique2.default,
    aten.repeat_interleave.Tensor,
}


class OnDevice(torch.Tensor):
    """A tensor that claims to lie on CUDA.  content: the tensor on the CPU that it stands for."""

    content: torch.Tensor

    @staticmethod
    def __new__(cls, content: torch.Tensor) -> "OnDevice":
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            content.shape,
            strides=content.stride(),
            storage_offset=content.storage_offset(),
            dtype=content.dtype,
            device=INSIDE,
        )
        made.content = content
        return made

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return CUDA

    @property
    def is_meta(self) -> bool:  # type: ignore[override]
        return False

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        return True

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def __reduce_ex__(self, protocol: Any) -> Any:
        # As read with map_location="cpu".
        return self.content.__reduce_ex__(protocol)

    def __repr__(self) -> str:
        return f"OnDevice({self.content})"

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["content"], None

    @staticmethod
    def __tensor_unflatten__(inner: Any, context: None, size: Any, stride: Any) -> "OnDevice":
        return OnDevice(inner["content"])

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # Outside of the mode, as in the backward pass of another thread.
        raise AssertionError(f"{function} outside of the pretended device")


class Pretended(TorchDispatchMode):
    """waits: how often each function made the host wait, with the function of noisybench that called it."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        ours = [tensor for tensor in tensors if isinstance(tensor, OnDevice)]
        others = [tensor for tensor in tensors if not isinstance(tensor, OnDevice) and tensor.dim()]
        target = kwargs.pop("device", None)
        to = None if target is None else torch.device(target).type
        copies = function is aten.copy_.default
        assert not (ours and others and not copies), f"{function} of tensors on two devices"
        masks = function in (aten.index.Tensor, aten.index_put_.default, aten.index_put.default) and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        )
        if to == INSIDE.type:
            to = CUDA.type
        crosses = function is aten._to_copy.default and to is not None and (to == "cuda") != bool(ours)
        if ours and (function in WAITING or masks) or crosses or (copies and ours and others):
            self.waits[f"{function} in {_caller()}"] += 1
        if target is not None:
            kwargs["device"] = torch.device("cpu")

        def inside(leaf: Any) -> Any:
            return leaf.content if isinstance(leaf, OnDevice) else leaf

        result = function(*tree_map(inside, args), **tree_map(inside, kwargs))
        if to not in (None, "cuda") or not (ours or to == "cuda"):
            return result
        if copies and not isinstance(args[0], OnDevice):
            return args[0]
        wrapped = tree_map(lambda leaf: OnDevice(leaf) if isinstance(leaf, torch.Tensor) else leaf, result)
        return return_and_correct_aliasing(function, args, kwargs, wrapped) if ours else wrapped


def _caller() -> str:
    """The innermost function of noisybench that runs."""
    frame = sys._getframe()
    while frame.f_back and not frame.f_globals.get("__name__", "").startswith("noisybench."):
        frame = frame.f_back
    return frame.f_code.co_qualname


def on_the_host_first(tensor: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """torch.tensor, which copies numbers to a device itself, out of sight of the mode."""

    def made(data: Any, *, device: Any = None, **options: Any) -> torch.Tensor:
        return tensor(data, **options).to(device)

    return made


@contextmanager
def pretended_cuda() -> Iterator[Pretended]:
    """In this context tensors can be moved to CUDA, and be created there."""
    with pytest.MonkeyPatch.context() as patch, Pretended() as mode:
        patch.setattr(torch.cuda, "_lazy_init", lambda: None)
        patch.setattr(torch, "tensor", on_the_host_first(torch.tensor))
        yield mode
