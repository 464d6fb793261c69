"""Instance norm and its leaky ReLU as one step, fast where torch's own is slow. B cases, C channels, *S spatial axes.

On a CPU, with the channels innermost (channels_last), torch's instance norm copies its input there and back, and its
group norm sums in single precision over a whole volume. Its batch norm does neither: on one case alone it is an
instance norm. The pair below runs it case by case, forward and backward, and takes the leaky ReLU along while the
case's numbers are still in the cache. Elsewhere torch's own is used.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
_FROM_RESULT = True  # leaky ReLU: its sign is known from what came out as well
_TRAINING = True  # batch norm: with the statistics of what it sees
_ALL_GRADIENTS = [True, True, True]


class InstanceNormActivation(nn.Module):
    """leaky_relu((x - mean) / sqrt(variance + eps) * weight + bias), mean and variance of each case and channel.

    slope  of the leaky ReLU below zero, 0 to 1; 1 leaves it out, 0 is a plain ReLU

    The statistics are summed in float32; what comes in as bfloat16 leaves as bfloat16.
    """

    def __init__(self, channels: int, *, slope: float = 0.01, eps: float = 1e-5) -> None:
        super().__init__()
        self.slope, self.eps = slope, eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, *S), as it came in. Raises ValueError for a single voxel, which has no variance."""
        if x.shape[2:].numel() == 1:
            raise ValueError(f"instance norm needs more than one voxel per channel, got {tuple(x.shape)}")
        if x.device.type == "cpu" and not x.is_contiguous() and x.is_contiguous(memory_format=_LAST[x.ndim]):
            answer: Tensor = _CaseByCase.apply(x, self.weight, self.bias, self.eps, self.slope)
            return answer
        x = functional.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)
        return functional.leaky_relu(x, self.slope, inplace=True) if self.slope != 1 else x


class _CaseByCase(torch.autograd.Function):
    """Batch norm of one case after another. Kept for the way back: what came in and what went out, no third copy."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, slope: float) -> Tensor:
        y = torch.empty_like(x)
        means, spreads = weight.new_empty(x.shape[:2]), weight.new_empty(x.shape[:2])
        for case in range(len(x)):
            here = slice(case, case + 1)
            into = (y[here], means[case], spreads[case])
            one = torch.native_batch_norm(x[here], weight, bias, None, None, _TRAINING, 0.0, eps, out=into)[0]
            if slope != 1:
                functional.leaky_relu_(one, slope)
        ctx.save_for_backward(x, y, weight, means, spreads)
        ctx.eps, ctx.slope = eps, slope
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, y, weight, means, spreads = ctx.saved_tensors
        of_x = torch.empty_like(x)
        of_weight, of_bias = torch.zeros_like(weight), torch.zeros_like(weight)
        for case in range(len(x)):
            here = slice(case, case + 1)
            of_y = gradient[here]
            if ctx.slope != 1:
                of_y = torch.ops.aten.leaky_relu_backward(of_y, y[here], ctx.slope, _FROM_RESULT)
            of_x[here], more_weight, more_bias = torch.ops.aten.native_batch_norm_backward(
                of_y, x[here], weight, None, None, means[case], spreads[case], _TRAINING, ctx.eps, _ALL_GRADIENTS
            )
            of_weight += more_weight
            of_bias += more_bias
        return of_x, of_weight, of_bias, None, None
