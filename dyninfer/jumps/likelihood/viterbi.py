"""The likeliest sequence of hidden states (Viterbi), by blocks of times that run side by side.

As for likelihoods, with the largest of sums of logarithms in place of sums of products.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dyninfer.jumps.likelihood.blocks import FEWEST_TIMES, Blocks
from dyninfer.jumps.likelihood.forward_backward import Chain

if TYPE_CHECKING:
    from dyninfer.jumps.likelihood.hidden import HiddenPaths

# Numbers of a step up to which blocks are faster. Fewer than for likelihoods: the largest sum of
# two matrices looks at S³ numbers, and no library multiplies that way.
_SMALL_STEP = 5_000


def likeliest(chain: Chain, data: HiddenPaths) -> tuple[Tensor, Tensor]:
    """Most probable states ``(B, n, L)`` int64, and logarithms ``(B, n)`` of their probabilities.

    Where sequences are equally probable, it is one of them.
    """
    # One block of all times is the recursion time after time.
    length = None if _blocks_are_worth_it(chain.log_e) else chain.log_e.shape[2]
    # In logarithms, for no probability is too small to be the largest.
    blocks = Blocks.of(chain.p, chain.log_e, data, length, empty=0.0)
    blocks = blocks._replace(p=blocks.p.log())
    value, origins = _walk(blocks, _starts(blocks, chain.initial.log()))
    best, last = value[:, -1].max(-1)
    # (B, K, n, 1): the state at the last time of every block.
    state = _block_ends(origins, last).unsqueeze(-1)
    states = []
    for origin in reversed(origins):
        states.append(state)
        state = origin.gather(-1, state)
    states.reverse()
    return blocks.whole(states).squeeze(-1), best


def _blocks_are_worth_it(log_e: Tensor) -> bool:
    """Whether blocks are faster for emissions ``(B, n, L, S)``."""
    n_models, n_paths, n_times, n_states = log_e.shape
    is_long = n_times >= FEWEST_TIMES
    return is_long and n_models * n_paths * n_states**3 < _SMALL_STEP


def _starts(blocks: Blocks, log_initial: Tensor) -> Tensor:
    """Log-probability ``(B, K, n, S)`` of the best way into each state before every block."""
    n_blocks, n_paths = blocks.number.shape[1:]
    value = log_initial.unsqueeze(1).expand(-1, n_paths, -1)
    starts = [value]
    # What the last block leads to is not asked here, and a single block is the last.
    if n_blocks > 1:
        ways = _ways(blocks)
        for way in ways.unbind(1)[:-1]:
            value = (value.unsqueeze(-1) + way).amax(-2)
            starts.append(value)
    return torch.stack(starts, dim=1)


def _ways(blocks: Blocks) -> Tensor:
    """Log-probability ``(B, K, n, S, S)`` of the best way through every block, from and to."""
    way = blocks.transitions(0) + blocks.e[0].unsqueeze(-2)
    for step in range(1, len(blocks.e)):
        joint = way.unsqueeze(-1) + blocks.transitions(step).unsqueeze(-3)
        way = joint.amax(-2) + blocks.e[step].unsqueeze(-2)
    return way


def _walk(blocks: Blocks, starts: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Values ``(B, K, n, S)`` behind every block; of each step, from where its states are reached.

    An origin ``(B, K, n, S)`` is the best state at the time before.
    """
    value = starts
    origins = []
    for step, e in enumerate(blocks.e):
        joint = value.unsqueeze(-1) + blocks.transitions(step)
        best, origin = joint.max(-2)
        value = best + e
        origins.append(origin)
    return value, origins


def _block_ends(origins: list[Tensor], last: Tensor) -> Tensor:
    """States ``(B, K, n)`` at the ends of all blocks, from those ``(B, n)`` at the end of all."""
    n_blocks = origins[0].shape[1]
    ends = [last]
    if n_blocks > 1:
        before = _before_blocks(origins)
        for of_block in reversed(before.unbind(1)[1:]):
            end = of_block.gather(-1, ends[-1].unsqueeze(-1))
            ends.append(end.squeeze(-1))
    ends.reverse()
    return torch.stack(ends, dim=1)


def _before_blocks(origins: list[Tensor]) -> Tensor:
    """State ``(B, K, n, S)`` before a block of the best way to each state at its end.

    Traced step by step: read off the products of matrices, equal sums could be rounded to another
    way, and the parts of a sequence would not meet.
    """
    before = origins[-1]
    for origin in reversed(origins[:-1]):
        before = origin.gather(-1, before)
    return before
