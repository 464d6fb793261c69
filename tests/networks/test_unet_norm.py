"""Instance norm with its leaky ReLU: torch's own numbers and gradients, in every memory format and precision."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from medcnn.networks.instance_norm import InstanceNormActivation

LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
SHAPES = [(2, 3, 5, 4), (1, 4, 6, 7), (3, 2, 3, 4, 5), (1, 8, 4, 2, 3)]


def torch_own(x: Tensor, norm: InstanceNormActivation) -> Tensor:
    x = functional.instance_norm(x, weight=norm.weight, bias=norm.bias, eps=norm.eps)
    return functional.leaky_relu(x, norm.slope) if norm.slope != 1 else x


def made(channels: int, slope: float) -> InstanceNormActivation:
    norm = InstanceNormActivation(channels, slope=slope).double()
    torch.nn.init.normal_(norm.weight)  # negative ones too
    torch.nn.init.normal_(norm.bias)
    return norm


@pytest.mark.parametrize("slope", [0.01, 0.3, 0.0, 1.0])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_are_torchs(shape: tuple[int, ...], last: bool, slope: float) -> None:
    torch.manual_seed(1)
    norm = made(shape[1], slope)
    x = (torch.randn(shape, dtype=torch.float64) * 3 + 2).requires_grad_()
    given = x.to(memory_format=LAST[x.ndim]) if last else x
    weights = torch.randn(shape, dtype=torch.float64)
    wanted = [x, norm.weight, norm.bias]
    ours, theirs = norm(given), torch_own(x, norm)
    torch.testing.assert_close(ours, theirs)
    ours_back = torch.autograd.grad((ours * weights).sum(), wanted)
    theirs_back = torch.autograd.grad((theirs * weights).sum(), wanted)
    for a, b in zip(ours_back, theirs_back, strict=True):
        torch.testing.assert_close(a, b)
    assert ours.stride() == given.stride()


@pytest.mark.parametrize("slope", [0.01, 1.0])
def test_the_gradient_is_the_slope_of_the_values(slope: float) -> None:
    torch.manual_seed(2)
    norm = made(3, slope)
    x = torch.randn(2, 3, 4, 3, 2, dtype=torch.float64).contiguous(memory_format=torch.channels_last_3d)

    def value(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        own = {"weight": weight, "bias": bias}
        answer: Tensor = torch.func.functional_call(norm, own, (x.to(memory_format=torch.channels_last_3d),))
        return answer

    inputs = (x.requires_grad_(), norm.weight.detach().requires_grad_(), norm.bias.detach().requires_grad_())
    assert torch.autograd.gradcheck(value, inputs)


@pytest.mark.parametrize("last", [True, False])
def test_half_precision_comes_back_as_such_and_close(last: bool) -> None:
    torch.manual_seed(3)
    norm = InstanceNormActivation(4)
    x = (torch.randn(2, 4, 8, 8, 8) + 1).bfloat16().float()
    x = x.contiguous(memory_format=torch.channels_last_3d) if last else x
    x = x.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        half = norm(x.bfloat16())
    assert half.dtype == torch.bfloat16
    assert (half.float() - torch_own(x, norm)).abs().max() < 0.03
    gradient = torch.randn_like(x).bfloat16().float()
    (ours,) = torch.autograd.grad(half, x, gradient.bfloat16())
    (theirs,) = torch.autograd.grad(torch_own(x, norm), x, gradient)
    assert (ours - theirs).abs().max() < 0.03 * theirs.abs().max()
    assert (ours - theirs).abs().mean() < 0.003 * theirs.abs().max()


def test_a_large_offset_costs_no_precision() -> None:
    """Sums of squares in single precision would: 50,000 voxels around 30 with a spread of 1."""
    torch.manual_seed(4)
    x = (torch.randn(1, 2, 50, 40, 25) + 30).contiguous(memory_format=torch.channels_last_3d)
    norm = InstanceNormActivation(2)
    exact = torch_own(x.double(), InstanceNormActivation(2).double())
    assert (norm(x) - exact).abs().max() < 5e-4
    naive = functional.group_norm(x, 2)
    assert (naive - torch_own(x.double(), norm.double())).abs().max() > 5e-3  # so the test can fail


def test_one_voxel_has_no_variance() -> None:
    with pytest.raises(ValueError, match="more than one voxel"):
        InstanceNormActivation(2)(torch.zeros(2, 2, 1, 1))


def test_a_constant_channel_becomes_its_bias() -> None:
    norm = InstanceNormActivation(2)
    torch.nn.init.constant_(norm.bias, 0.5)
    x = torch.full((2, 2, 4, 4), 7.0).contiguous(memory_format=torch.channels_last).requires_grad_()
    answer = norm(x)
    torch.testing.assert_close(answer, torch.full_like(answer, 0.5), rtol=0, atol=1e-3)
    answer.sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_the_compiler_takes_it() -> None:
    norm = InstanceNormActivation(3)
    x = torch.randn(2, 3, 4, 5, 6).contiguous(memory_format=torch.channels_last_3d)
    compiled = torch.compile(norm, backend="aot_eager", fullgraph=True)
    given = [x.clone(memory_format=torch.preserve_format).requires_grad_() for _ in range(2)]
    for one, way in zip(given, (norm, compiled), strict=True):
        way(one).square().sum().backward()
    assert given[0].grad is not None
    assert given[1].grad is not None
    torch.testing.assert_close(given[0].grad, given[1].grad)
