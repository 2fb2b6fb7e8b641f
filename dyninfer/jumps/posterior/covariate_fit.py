"""Fits of rates that depend on covariates and periods."""

from __future__ import annotations

from dataclasses import replace

import torch
from numpy import ndarray
from torch import Tensor

from dyninfer.jumps.compiled.loading import can_run_on
from dyninfer.jumps.posterior.ascent import information
from dyninfer.jumps.posterior.covariate_objective import CovariateObjective, CovariateProblem
from dyninfer.jumps.posterior.curvature import Curvature
from dyninfer.jumps.posterior.fitting import CovariateFit, JumpFit, ascended
from dyninfer.jumps.posterior.result import JumpResult, NormalPosterior, history_of


def fit_covariates(
    problem: CovariateProblem, starts: Tensor, n_observed: Tensor, max_steps: int
) -> JumpResult:
    """Fit rates, effects and the observation model from generators ``(k, S, S)``.

    All effects begin at 0. The result has the rates where all covariates are 0.
    """
    if not can_run_on(problem.data.gaps):
        raise ImportError("covariates need compiled recursions; install numba: pip install numba")
    design = problem.design
    scheme = design.scheme
    observed = problem.data.x[problem.data.n_intervals > 0]
    design.check_identified(observed)
    objective = CovariateObjective(problem)
    log_rates = scheme.parameters_of(starts)
    others = [
        log_rates.new_zeros(design.n_effects),
        problem.emission.parameters().to(log_rates),
        log_rates.new_zeros(objective.first.size),
    ]
    of_others = torch.cat(others).expand(len(starts), -1)
    theta = torch.cat([log_rates, of_others], dim=1)
    before = [objective.at(start).log_likelihood for start in theta.numpy()]
    fits = ascended(objective, scheme, theta, theta.shape[:1], n_observed, max_steps)
    best = fits.member(int(fits.log_likelihood.argmax()))
    fit = _in_user_units(best, objective)
    of_emission, logits = best.theta.tensor_split(objective.ends)[1:]
    weights = objective.first.reference(logits.numpy())
    initial = torch.from_numpy(weights)
    return JumpResult(
        generator=fit.generator,
        initial=initial / initial.sum(),
        emission=problem.emission.with_parameters(of_emission),
        history=history_of(fits, before),
        posterior=NormalPosterior(fit.generator, fit),
        fit=fit,
    )


def _in_user_units(fit: JumpFit, objective: CovariateObjective) -> CovariateFit:
    """The fit with rates at covariates 0 and effects per unit."""
    to_user = torch.from_numpy(objective.to_user)
    standardised = fit.theta

    def curvature_at(theta: ndarray) -> ndarray:
        return information(objective, standardised.numpy())

    fields = vars(fit) | {"theta": to_user @ standardised}
    own = CovariateFit(**fields, to_user=to_user)
    return replace(own, curvature=Curvature.later(curvature_at, own.theta))
