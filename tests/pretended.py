"""A CUDA device that is pretended: tensors claim to lie on it, and compute on the CPU.

As on a GPU, tensors of two devices do not go together, and values are read only by waiting.  The waits are
counted.  A step can be recorded as by a CUDA graph: a replay computes with the numbers that were recorded,
from the memory that was recorded into the memory that was recorded.  Values are real, so that what depends on
them (prunings, resuming) is as in training, and results can be compared with those of the CPU to the bit.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
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
    aten._linalg_check_errors.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten.bincount.default,
    aten.equal.default,
    aten.unique_consecutive.default,
    aten._unique2.default,
    aten.unique_dim.default,
    aten.is_nonzero.default,
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
        self.recording: Graph | None = None

    @contextmanager
    def records(self, graph: "Graph", stream: "Stream") -> Iterator[None]:
        """What torch.cuda.graph does."""
        self.recording = graph
        try:
            yield
        finally:
            self.recording = None
            with torch.utils._python_dispatch._disable_current_modes():
                graph.end()

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
            if self.recording is not None:
                raise RuntimeError("operation not permitted when stream is capturing")
        if target is not None:
            kwargs["device"] = torch.device("cpu")

        def inside(leaf: Any) -> Any:
            return leaf.content if isinstance(leaf, OnDevice) else leaf

        args_inside, kwargs_inside = tree_map(inside, args), tree_map(inside, kwargs)
        if self.recording is None:
            result = function(*args_inside, **kwargs_inside)
        else:
            result = self.recording.record(function, args_inside, kwargs_inside)
        if to not in (None, "cuda") or not (ours or to == "cuda"):
            return result
        if copies and not isinstance(args[0], OnDevice):
            return args[0]
        wrapped = tree_map(lambda leaf: OnDevice(leaf) if isinstance(leaf, torch.Tensor) else leaf, result)
        return return_and_correct_aliasing(function, args, kwargs, wrapped) if ours else wrapped


class Graph:
    """What torch.cuda.CUDAGraph does, by the functions that were called."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, Any, Any, Any]] = []
        self.before: list[tuple[torch.Tensor, torch.Tensor]] = []

    def record(self, function: Any, args: Any, kwargs: Any) -> Any:
        """Call a function, to have its result's shape."""
        if torch.Tag.inplace_view in function.tags:
            return function(*args, **kwargs)
        changed = [
            argument
            for argument, declared in zip(args, function._schema.arguments, strict=False)
            if declared.alias_info is not None and declared.alias_info.is_write
        ]
        self.before += [(aten.alias(tensor), tensor.clone()) for tensor in tree_leaves(changed)]
        # Of the same memory, but of a shape that no later call changes.
        recorded = [tree_map(_alias, part) for part in (args, kwargs)]
        result = function(*args, **kwargs)
        self.calls.append((function, *recorded, tree_map(_alias, result)))
        return result

    def end(self) -> None:
        """Nothing was computed while it was recorded."""
        for tensor, value in reversed(self.before):
            tensor.copy_(value)

    def replay(self) -> None:
        with torch.utils._python_dispatch._disable_current_modes():
            for function, args, kwargs, recorded in self.calls:
                results = tree_leaves(function(*args, **kwargs))
                for old, new in zip(tree_leaves(recorded), results, strict=True):
                    if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                        old.copy_(new)


def _alias(leaf: Any) -> Any:
    return aten.alias(leaf) if isinstance(leaf, torch.Tensor) else leaf


class Stream:
    def __init__(self, device: torch.device) -> None:
        assert device == CUDA

    def wait_stream(self, other: "Stream") -> None:
        pass


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
        patch.setattr(torch.cuda, "Stream", Stream)
        patch.setattr(torch.cuda, "current_stream", Stream)
        patch.setattr(torch.cuda, "stream", nullcontext)
        patch.setattr(torch.cuda, "CUDAGraph", Graph)
        patch.setattr(torch.cuda, "graph", mode.records)
        yield mode
