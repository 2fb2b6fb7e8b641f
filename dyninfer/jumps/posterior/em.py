"""Expectation-maximisation: the classical way to the same fits, a check on the gradient's."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dyninfer.jumps.likelihood.hidden import HiddenPaths
from dyninfer.jumps.likelihood.observation import LabelNoise
from dyninfer.jumps.likelihood.panel import PanelCounts
from dyninfer.jumps.posterior.optimise import value_and_slope
from dyninfer.jumps.process.chain import off_diagonal


def expected_jumps(
    log_likelihood: Callable[[Tensor], Tensor], generator: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Numbers of jumps and times spent that are expected given the data, from one gradient.

    The complete log-likelihood is ``Σ N_ij log Q_ij + Σ T_i Q_ii``, so by Fisher's identity the slope of the observed
    one in a free entry ``Q_ij`` is ``E[N_ij] / Q_ij``, and in ``Q_ii`` it is ``E[T_i]``.

    Parameters
    ----------
    log_likelihood : callable, ``(..., S, S) -> (...)``
        Of matrices whose rows need not sum to zero.
    generator : Tensor, ``(..., S, S)``
        Where to expect.

    Returns
    -------
    value : Tensor, ``(...)``
        Log-likelihood.
    jumps : Tensor, ``(..., S, S)``
        Expected numbers of jumps.
    spent : Tensor, ``(..., S)``
        Expected times spent in each state.
    """
    value, slope = value_and_slope(log_likelihood, generator)
    return value, off_diagonal(generator * slope), torch.diagonal(slope, dim1=-2, dim2=-1)


def em_panel(
    counts: PanelCounts, start: Tensor, max_iter: int = 10_000, tol: float = 1e-9
) -> tuple[Tensor, Tensor]:
    """Maximum-likelihood generators of panels by expectation and maximisation.

    ``Q_ij ← E[N_ij] / E[T_i]`` (Bladt and Sørensen 2005, J. R. Stat. Soc. B 67, 395). Jumps that start at rate 0
    stay there. Stops when no panel gains more than ``tol`` in log-likelihood.

    Returns
    -------
    generator : Tensor, ``(..., S, S)``
        Fits.
    values : Tensor, ``(iteration, ...)``
        Log-likelihood before each update, which never falls.
    """
    q, values = start.to(torch.float64), []
    for _ in range(max_iter):
        value, jumps, spent = expected_jumps(counts.log_likelihood, q)
        values.append(value)
        if len(values) > 1 and bool((value - values[-2] < tol).all()):
            break
        q = _maximised(jumps, spent)
    return q, torch.stack(values)


def em_label_noise(
    data: HiddenPaths,
    start: Tensor,
    rate: float,
    initial: Tensor,
    max_iter: int = 10_000,
    tol: float = 1e-9,
) -> tuple[Tensor, float, Tensor, Tensor]:
    """Maximum-likelihood generator ``(S, S)``, rate of wrong labels and first law ``(S,)`` by Baum and Welch.

    Returns
    -------
    generator : Tensor, ``(S, S)``
        Fit.
    rate : float
        Probability of a wrong label.
    initial : Tensor, ``(S,)``
        Law of the first state.
    values : Tensor, ``(iteration,)``
        Log-likelihood before each update, which never falls.
    """
    q, law, values = start.to(torch.float64), initial.to(torch.float64), []
    label = data.observed[..., None]
    for _ in range(max_iter):
        emission = LabelNoise.uniform(len(q), rate)

        def likelihood(
            matrix: Tensor, emission: LabelNoise = emission, law: Tensor = law
        ) -> Tensor:
            return data.log_likelihood(matrix, emission, law).sum(-1)

        value, jumps, spent = expected_jumps(likelihood, q)
        values.append(value)
        if len(values) > 1 and bool(value - values[-2] < tol):
            break
        smoothed = data.smooth(q, emission, law)
        right = smoothed.gather(-1, label)[..., 0][data.mask]
        rate, law = 1 - float(right.mean()), smoothed[:, 0].mean(0)
        q = _maximised(jumps, spent)
    return q, rate, law, torch.stack(values)


def _maximised(jumps: Tensor, spent: Tensor) -> Tensor:
    rates = jumps / torch.where(spent > 0, spent, 1.0)[..., None]
    return rates - torch.diag_embed(rates.sum(-1))
