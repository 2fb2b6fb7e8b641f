"""Likelihood and smoothing of hidden chains in discrete time, by forward and backward recursion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dyninfer.jumps.compiled.loading import can_run_on, compiled_module
from dyninfer.jumps.likelihood.blocks import (
    Blocks,
    Products,
    Smoothed,
    are_worth_it,
    smooth_blocks,
)

if TYPE_CHECKING:
    from dyninfer.jumps.likelihood.hidden import HiddenPaths

# Below it log-emissions are cut, so that an impossible observation divides out as a finite number.
_LEAST_LOG = -1e300


class Chain(NamedTuple):
    """A hidden Markov chain in discrete time, its models in one leading dimension ``B``."""

    p: Tensor  # (B, G or 2 G, S, S): transitions, and densities of exact entries after them
    log_e: Tensor  # (B, n, L, S): log-emissions
    initial: Tensor  # (B, S)
    batch: torch.Size


def log_likelihoods(chain: Chain, data: HiddenPaths) -> Tensor:
    """Log-likelihoods ``(B, n)`` of all paths, differentiable in every part of the chain."""
    function: Any = _Stepwise
    if _is_compiled(chain):
        function = _Compiled
    elif are_worth_it(chain.log_e):
        function = _Blockwise
    return function.apply(
        chain.p,
        chain.log_e,
        chain.initial,
        data,
    )


def smoothed(chain: Chain, data: HiddenPaths) -> Tensor:
    """Distributions ``(B, n, L, S)`` of the state at every time given the whole path."""
    p = chain.p
    e, _ = _scaled(chain.log_e)
    # Weights only scale the slopes, which are not asked for.
    weight = p.new_ones(e.shape[:2])
    if _is_compiled(chain):
        past = _compiled_forward(p, e, chain.initial, data)
        return _compiled_backward(p, e, past, weight, data).gamma
    if are_worth_it(e):
        blocks = Blocks.of(p, e, data)
        products = Products.of(blocks)
        starts, _ = products.starts(chain.initial)
        return smooth_blocks(blocks, starts, products.ends(), weight).gamma
    steps = _forward(p, e, chain.initial, data)
    return _backward(p, e, steps, weight, data).gamma


def _is_compiled(chain: Chain) -> bool:
    return chain.p.dtype == torch.float64 and can_run_on(chain.p)


def _slopes(of: Smoothed, weight: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
    """Slopes in the parts of a chain, and none in the data."""
    # Fisher's identity: the slope in a log-emission is the probability of its state.
    slope_log_e = torch.einsum("bnls,bn->bnls", of.gamma, weight)
    return of.slope_p, slope_log_e, of.slope_initial, None


def _scaled(log_e: Tensor) -> tuple[Tensor, Tensor]:
    """Emissions divided by the largest of each time, and the log ``(B, n)`` of what was divided."""
    largest = log_e.amax(-1).clamp(min=_LEAST_LOG)
    e = (log_e - largest.unsqueeze(-1)).exp()
    return e, largest.sum(-1)


class _Compiled(torch.autograd.Function):
    """Log-likelihoods ``(B, n)`` by compiled recursions, path after path."""

    @staticmethod
    def forward(ctx: Any, p: Tensor, log_e: Tensor, initial: Tensor, data: HiddenPaths) -> Tensor:
        e, shift = _scaled(log_e)
        past = _compiled_forward(p, e, initial, data)
        ctx.save_for_backward(p, e, past.alpha, past.scale)
        ctx.data = data
        return past.log_likelihood + shift

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        p, e, alpha, scale = ctx.saved_tensors
        (weight,) = slopes
        past = _CompiledPast(
            log_likelihood=weight,
            alpha=alpha,
            scale=scale,
        )
        smooth = _compiled_backward(p, e, past, weight, ctx.data)
        return _slopes(smooth, weight)


class _CompiledPast(NamedTuple):
    """What the compiled forward recursion says."""

    log_likelihood: Tensor  # (B, n), without what the emissions were divided by
    alpha: Tensor  # (B, n, L, S): distribution of the state given the past
    scale: Tensor  # (B, n, L): probability of the new observation


def _compiled_forward(p: Tensor, e: Tensor, initial: Tensor, data: HiddenPaths) -> _CompiledPast:
    compiled = compiled_module("recursion")
    assert compiled is not None
    alpha = torch.empty_like(e, memory_format=torch.contiguous_format)
    scale = e.new_empty(e.shape[:3])
    log_likelihood = compiled.forward_all(
        _array(p),
        _array(e),
        _array(initial),
        data.incoming_gap,
        alpha.numpy(),
        scale.numpy(),
    )
    return _CompiledPast(torch.from_numpy(log_likelihood), alpha, scale)


def _compiled_backward(
    p: Tensor, e: Tensor, past: _CompiledPast, weight: Tensor, data: HiddenPaths
) -> Smoothed:
    compiled = compiled_module("recursion")
    assert compiled is not None
    slope_p = torch.zeros_like(p, memory_format=torch.contiguous_format)
    # The recursion overwrites it, and the graph may be walked once more.
    gamma = past.alpha.clone(memory_format=torch.contiguous_format)
    slope_initial = compiled.backward_all(
        _array(p),
        _array(e),
        data.incoming_gap,
        gamma.numpy(),
        past.scale.numpy(),
        _array(weight),
        slope_p.numpy(),
    )
    return Smoothed(gamma, slope_p, torch.from_numpy(slope_initial))


def _array(tensor: Tensor) -> np.ndarray:
    """The numbers in the one layout that was compiled for."""
    return tensor.detach().contiguous().numpy()


class _Blockwise(torch.autograd.Function):
    """The same in torch, by blocks; between the passes only what lies between blocks is kept."""

    @staticmethod
    def forward(ctx: Any, p: Tensor, log_e: Tensor, initial: Tensor, data: HiddenPaths) -> Tensor:
        e, shift = _scaled(log_e)
        products = Products.of(Blocks.of(p, e, data))
        starts, log_likelihood = products.starts(initial)
        ctx.save_for_backward(p, log_e, starts, products.ends())
        ctx.data = data
        return log_likelihood + shift

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        p, log_e, starts, ends = ctx.saved_tensors
        (weight,) = slopes
        e, _ = _scaled(log_e)
        smooth = smooth_blocks(Blocks.of(p, e, ctx.data), starts, ends, weight)
        return _slopes(smooth, weight)


class _Stepwise(torch.autograd.Function):
    """The same in torch, all paths and models at once, time after time."""

    @staticmethod
    def forward(ctx: Any, p: Tensor, log_e: Tensor, initial: Tensor, data: HiddenPaths) -> Tensor:
        e, shift = _scaled(log_e)
        past = _forward(p, e, initial, data)
        ctx.save_for_backward(p, e, *past.alpha, *past.scale)
        ctx.data = data
        # Probabilities of whole paths underflow; the logs of their factors do not.
        log_scale = torch.stack(past.scale).log()
        return log_scale.sum(0) + shift

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        p, e, *saved = ctx.saved_tensors
        # Autograd saves a flat list: a distribution for every time, then as many scales.
        n_times = len(saved) // 2
        past = _Past(
            alpha=list(saved[:n_times]),
            scale=list(saved[n_times:]),
        )
        (weight,) = slopes
        smooth = _backward(p, e, past, weight, ctx.data)
        return _slopes(smooth, weight)


class _Past(NamedTuple):
    """What the forward recursion says, time by time."""

    alpha: list[Tensor]  # (B, n, S): distribution of the state given the past
    scale: list[Tensor]  # (B, n): probability of the new observation


def _forward(p: Tensor, e: Tensor, initial: Tensor, data: HiddenPaths) -> _Past:
    state = initial.unsqueeze(1)
    alpha: list[Tensor] = []
    scale: list[Tensor] = []
    for k, e_k in enumerate(e.unbind(2)):
        if k > 0:
            state = data.propagate(state, p, k - 1)
        joint = state * e_k
        total = joint.sum(-1)
        state = joint / _positive(total)
        alpha.append(state)
        scale.append(total)
    return _Past(alpha, scale)


def _backward(p: Tensor, e: Tensor, past: _Past, weight: Tensor, data: HiddenPaths) -> Smoothed:
    slope_p = torch.zeros_like(p)
    weight = weight.unsqueeze(-1)
    e_of = e.unbind(2)
    alpha = past.alpha
    divisor = [_positive(scale) for scale in past.scale]
    beta = torch.ones_like(alpha[0])
    gamma = [alpha[-1]]
    for k in range(len(alpha) - 1, 0, -1):
        future = e_of[k] * beta / divisor[k]
        before = alpha[k - 1]
        weighted = before * weight
        shared = data.shared_gap[k - 1]
        if shared >= 0:
            slope_p[:, shared] += weighted.mT @ future
            beta = future @ p[:, shared].mT
        else:
            number = data.gap_number[k - 1]
            outer = weighted.unsqueeze(-1) * future.unsqueeze(-2)
            slope_p.index_add_(1, number, outer)
            of_path = p[:, number]
            beta = torch.einsum("bnij,bnj->bni", of_path, future)
        gamma.append(before * beta)
    future = e_of[0] * beta / divisor[0]
    gamma.reverse()
    return Smoothed(
        gamma=torch.stack(gamma, dim=2),
        slope_p=slope_p,
        slope_initial=(weight * future).sum(1),
    )


def _positive(scale: Tensor) -> Tensor:
    """Divisors ``(B, n, 1)``: the probabilities, and 1 where data are impossible."""
    divisor = torch.where(scale > 0, scale, 1.0)
    return divisor.unsqueeze(-1)
