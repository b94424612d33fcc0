"""3×3 convolutions whose backward pass is faster on CPUs with AVX2.

Of a training step there, two fifths go into the gradients of weights, which torch (oneDNN) finds at half the
speed of a matrix product.  Here they are one: windows of some images are laid out as a matrix (im2col,
Chellapilla et al. 2006) that stays in the cache, and multiplied by the outer gradient.
`python -m benchmarks convolutions` measures both.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d
from torch.nn.grad import conv2d_input

# Numbers of the matrix at a time: 8 MiB in float32.
BLOCK = 2**21
# Channels of the input below which it does not pay.
LEAST = 64


class Convolution(nn.Conv2d):
    """A 3×3 convolution with a border of 1 and no bias; (n, in, h, w) to (n, out, h / stride, w / stride)."""

    def __init__(self, c_in: int, c_out: int, stride: int = 1) -> None:
        super().__init__(c_in, c_out, 3, stride=stride, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == (1, 1) and self.in_channels >= LEAST and _pays(x, self.weight):
            return ByMatrixProduct.apply(x, self.weight)  # type: ignore[no-any-return]
        return super().forward(x)


def _pays(x: Tensor, weight: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and torch.is_grad_enabled()
        and weight.requires_grad
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and _is_avx2()
    )


@cache
def _is_avx2() -> bool:
    # Where it was measured; others have other kernels.
    return torch.backends.cpu.get_cpu_capability() == "AVX2"


class ByMatrixProduct(torch.autograd.Function):
    """The convolution of stride 1, differentiable once."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return conv2d(x, weight, padding=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, Tensor]:
        x, weight = ctx.saved_tensors
        of_input = None
        if ctx.needs_input_grad[0]:
            of_input = conv2d_input(x.shape, weight, outer, padding=1)  # type: ignore[no-untyped-call]
        return of_input, weight_gradient(x, outer)


def weight_gradient(x: Tensor, outer: Tensor) -> Tensor:
    """The gradient (out, in, 3, 3) by the weights, from the input (n, in, h, w) and the gradient
    (n, out, h, w) by the output, which are quickest in channels_last."""
    n, c_in, height, width = x.shape
    c_out = outer.shape[1]
    images, gradient = x.permute(0, 2, 3, 1), outer.permute(0, 2, 3, 1)
    step = max(1, min(n, BLOCK // (9 * c_in * height * width)))
    padded = x.new_zeros(step, height + 2, width + 2, c_in)
    # Each pixel's window as three rows of three pixels: a view of overlapping numbers.
    image, row, pixel, number = padded.stride()
    shape = (step, height, width, 3, 3 * c_in)
    windows = padded.as_strided(shape, (image, row, pixel, row, number))
    matrix = x.new_empty(shape)
    total = x.new_zeros(9 * c_in, c_out)
    for start in range(0, n, step):
        some = slice(start, start + step)
        size = len(images[some])
        padded[:size, 1:-1, 1:-1] = images[some]
        matrix[:size] = windows[:size]
        total.addmm_(matrix[:size].view(-1, 9 * c_in).t(), gradient[some].reshape(-1, c_out))
    return total.t().reshape(c_out, 3, 3, c_in).permute(0, 3, 1, 2)
