"""Fits of generators whose states are hidden, with the noise of their observation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dyninfer.jumps.likelihood.clones import ClonePaths
from dyninfer.jumps.likelihood.hidden import HiddenPaths
from dyninfer.jumps.likelihood.observation import Confusion, Emission
from dyninfer.jumps.likelihood.scheme import RateScheme
from dyninfer.jumps.posterior.fitting import JumpFit, LogDensity, finished
from dyninfer.jumps.posterior.optimise import maximise


@dataclass(frozen=True, eq=False, kw_only=True)
class HiddenFit(JumpFit):
    """Fitted generator, observation model and first law.

    Attributes
    ----------
    emission : LabelNoise or GaussianEmission
        Fitted, or as given.
    initial : Tensor, ``(..., S)``
        Law of the state at the first time, fitted or as given.
    """

    emission: Emission
    initial: Tensor


def fit_hidden(
    data: HiddenPaths | ClonePaths,
    emission: Emission,
    start: Tensor,
    scheme: RateScheme | None = None,
    initial: Tensor | None = None,
    fit_emission: bool = True,
    prior: LogDensity | None = None,
    max_iter: int = 300,
) -> HiddenFit:
    """Fit a generator to paths seen through an observation model, from one start or from several at once.

    Parameters
    ----------
    data : HiddenPaths or ClonePaths
        Prepared paths.
    emission : LabelNoise or GaussianEmission
        Observation model to start from, or to keep. Label noise that is fitted has one rate; a :class:`Confusion` has
        a probability for every pair, and its own weak prior.
    start : Tensor, ``(..., S, S)``
        Generators to start from; every allowed jump needs a positive rate.
    scheme : RateScheme, optional
        Which jumps are allowed and how their rates hang together; by default all, each with its own rate.
    initial : Tensor, ``(S,)``, optional
        Law of the first state; by default it is fitted too.
    fit_emission : bool
        Whether the observation model is fitted.
    prior : callable, ``(..., E) -> (...)``, optional
        Log-density of the log-rates of the allowed jumps.
    max_iter : int
        Most steps of BFGS.
    """
    scheme = RateScheme.free(emission.n_states) if scheme is None else scheme
    rates = scheme.parameters_of(start.to(torch.float64))
    batch, p = rates.shape[:-1], scheme.n_parameters
    noise = emission.parameters().to(rates) if fit_emission else rates.new_zeros(0)
    law = rates.new_zeros(scheme.n_states - 1) if initial is None else rates.new_zeros(0)
    begin = torch.cat([part.expand(*batch, -1) for part in (rates, noise, law)], dim=-1)
    cut = p + len(noise)

    def model(theta: Tensor) -> tuple[Tensor, Emission, Tensor]:
        seen = emission.with_parameters(theta[..., p:cut]) if fit_emission else emission
        logits = torch.nn.functional.pad(theta[..., cut:], (1, 0))
        return (
            scheme.generator(theta[..., :p]),
            seen,
            logits.softmax(-1) if initial is None else initial,
        )

    def likelihood(theta: Tensor) -> Tensor:
        return data.log_likelihood(*model(theta)).sum(-1)

    def objective(theta: Tensor) -> Tensor:
        total = likelihood(theta)
        if fit_emission and isinstance(emission, Confusion):
            total = total + emission.with_parameters(theta[..., p:cut]).log_prior()
        return total if prior is None else total + prior(scheme.log_rates(theta[..., :p]))

    best = maximise(objective, begin.reshape(-1, begin.shape[-1]), max_iter=max_iter)
    fit = finished(best, scheme, batch, likelihood, data.n_observed)
    _, seen, first = model(fit.theta)
    return HiddenFit(**vars(fit), emission=seen, initial=first)
