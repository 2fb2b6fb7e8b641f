"""How long a jump process stays where, and whether it has been somewhere, until a time."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dyninfer.jumps.process import chain
from dyninfer.jumps.process.process import MarkovJump


def occupation(process: MarkovJump, until: float) -> Tensor:
    """Mean time in the column's state until a horizon, from the row's state ``(..., S, S)``.

    ``∫₀ᵗ e^{Qu} du``, the upper right block of ``exp([[Q, I], [0, 0]] t)`` (Van Loan 1978, IEEE
    Trans. Autom. Control 23, 395). The process starts at time 0.

    Parameters
    ----------
    process : MarkovJump
        One, or a batch of them.
    until : float
        Horizon, not negative. With ``inf`` it is the time until absorption: ``inf`` for states that
        are visited again and again.
    """
    if math.isinf(until):
        return _total_occupation(process.generator)
    n_periods = len(process.breaks) + 1
    if n_periods == 1:
        return _integral(process.generator, until)
    bounds = [0.0, *process.breaks.clamp(0, until).tolist(), until]
    total = torch.zeros_like(process.generator.select(-3, 0))
    for period in range(n_periods):
        start, end = bounds[period : period + 2]
        generator = process.generator.select(-3, period)
        arrival = process.transition(start)
        total = total + arrival @ _integral(generator, end - start)
    return total


def unreached(process: MarkovJump, target: Tensor, times: Tensor) -> Tensor:
    """Probability ``(..., S, time)`` that no state of ``target`` was entered by each of the times.

    Parameters
    ----------
    process : MarkovJump
        One, or a batch of them.
    target : Tensor of bool, ``(S,)``
        States; a path that starts in one has reached it.
    times : Tensor, ``(time,)``
        Since the start at time 0, not negative.
    """
    outside = ~target
    # Paths end where they enter the target.
    stopped = process.generator * outside.unsqueeze(-1)
    breaks = process.breaks if len(process.breaks) else None
    ended = MarkovJump(stopped, breaks=breaks)
    probabilities = []
    # One time after the other: a batch of draws at all times would fill the memory.
    for time in times:
        p = ended.transition(time)
        elsewhere = p[..., outside].sum(-1)
        probabilities.append(elsewhere * outside)
    return torch.stack(probabilities, dim=-1)


def _integral(generator: Tensor, duration: float) -> Tensor:
    """``∫₀ᵗ e^{Qu} du`` ``(..., S, S)``."""
    n_states = generator.shape[-1]
    eye = chain.identity(generator).expand_as(generator)
    upper = torch.cat([generator * duration, eye], dim=-1)
    block = torch.cat([upper, torch.zeros_like(upper)], dim=-2)
    # In units of the duration, so that no unit of time matters.
    integral = torch.linalg.matrix_exp(block)[..., :n_states, n_states:]
    return duration * integral


def _total_occupation(generator: Tensor) -> Tensor:
    """Mean time in the column's state ever, from the row's ``(..., S, S)``."""
    is_recurrent = chain.recurrent(generator)
    size = generator.shape[-1]
    shape = generator.shape[:-2] + (size, size)
    # Q u = −1 in one transient state and 0 in the others: a problem for every state.
    problems = generator.unsqueeze(-3).expand(*shape, size)
    is_fixed = is_recurrent.unsqueeze(-2).expand(shape)
    right = -chain.identity(generator)
    right = right.expand(shape).masked_fill(is_fixed, 0.0)
    solutions = chain.solve_outside(problems, is_fixed, right)
    is_endless = chain.reachable(generator) & is_recurrent.unsqueeze(-2)
    return solutions.mT.masked_fill(is_endless, torch.inf)
