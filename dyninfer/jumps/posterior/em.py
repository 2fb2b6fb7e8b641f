"""Expectation-maximisation: the classical way to the same fits, a check on the gradient's."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dyninfer.jumps.likelihood.hidden import HiddenPaths
from dyninfer.jumps.likelihood.observation import LabelNoise
from dyninfer.jumps.likelihood.panel import PanelCounts
from dyninfer.jumps.posterior.optimise import value_and_slope
from dyninfer.jumps.process.chain import off_diagonal, with_diagonal


def expected_jumps(
    log_likelihood: Callable[[Tensor], Tensor], generator: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Numbers of jumps and dwell times that are expected given the data, from one gradient.

    The complete log-likelihood is ``Σ N_ij log Q_ij + Σ T_i Q_ii``, so by Fisher's identity the
    slope of the observed one in a free entry ``Q_ij`` is ``E[N_ij] / Q_ij``, and in ``Q_ii`` it is
    ``E[T_i]``.

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
    dwell_times : Tensor, ``(..., S)``
        Expected times in each state.
    """
    value, slope = value_and_slope(log_likelihood, generator)
    jumps = off_diagonal(generator * slope)
    dwell_times = torch.diagonal(slope, dim1=-2, dim2=-1)
    return value, jumps, dwell_times


def em_panel(
    counts: PanelCounts, start: Tensor, max_iter: int = 10_000, tol: float = 1e-9
) -> tuple[Tensor, Tensor]:
    """Maximum-likelihood generators of panels by expectation and maximisation.

    ``Q_ij ← E[N_ij] / E[T_i]`` (Bladt and Sørensen 2005, J. R. Stat. Soc. B 67, 395). Jumps that
    start at rate 0 stay there. Stops when no panel gains more than ``tol`` in log-likelihood.

    Returns
    -------
    generator : Tensor, ``(..., S, S)``
        Fits.
    values : Tensor, ``(iteration, ...)``
        Log-likelihood before each update, which never falls.
    """
    generator = start.to(torch.float64)
    values: list[Tensor] = []
    for _ in range(max_iter):
        value, jumps, dwell_times = expected_jumps(counts.log_likelihood, generator)
        values.append(value)
        if _has_settled(values, tol):
            break
        generator = _maximised(jumps, dwell_times)
    return generator, torch.stack(values)


def em_label_noise(
    data: HiddenPaths,
    start: Tensor,
    rate: float,
    initial: Tensor,
    max_iter: int = 10_000,
    tol: float = 1e-9,
) -> tuple[Tensor, float, Tensor, Tensor]:
    """Maximum-likelihood generator, rate of wrong labels and initial distribution.

    By the algorithm of Baum and Welch.

    Returns
    -------
    generator : Tensor, ``(S, S)``
        Fit.
    rate : float
        Probability of a wrong label.
    initial : Tensor, ``(S,)``
        Distribution of the first state.
    values : Tensor, ``(iteration,)``
        Log-likelihood before each update, which never falls.
    """
    generator = start.to(torch.float64)
    initial = initial.to(torch.float64)
    label = data.observed[..., None]
    values: list[Tensor] = []
    for _ in range(max_iter):
        emission = LabelNoise.uniform(len(generator), rate)

        def log_likelihood(
            matrix: Tensor, emission: LabelNoise = emission, initial: Tensor = initial
        ) -> Tensor:
            by_path = data.log_likelihood(matrix, emission, initial)
            return by_path.sum(-1)

        value, jumps, dwell_times = expected_jumps(log_likelihood, generator)
        values.append(value)
        if _has_settled(values, tol):
            break
        # The maximum of a share is the mean of the probabilities that it is a share of.
        smoothed = data.smooth(generator, emission, initial)
        chance_correct = smoothed.gather(-1, label)[..., 0]
        correct = chance_correct[data.mask]
        rate = 1 - float(correct.mean())
        initial = smoothed[:, 0].mean(0)
        generator = _maximised(jumps, dwell_times)
    return generator, rate, initial, torch.stack(values)


def _has_settled(values: list[Tensor], tol: float) -> bool:
    if len(values) < 2:
        return False
    gain = values[-1] - values[-2]
    return bool((gain < tol).all())


def _maximised(jumps: Tensor, dwell_times: Tensor) -> Tensor:
    # A state that was never entered has no jumps either: its rates are 0 / 1.
    dwell_times = torch.where(dwell_times > 0, dwell_times, 1.0)
    return with_diagonal(jumps / dwell_times[..., None])
