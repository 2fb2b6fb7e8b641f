"""Fits under a normal prior of the log-rates, from crude starts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.jumps.likelihood.complete import JumpRecord
from dyninfer.jumps.likelihood.observation import LabelNoise
from dyninfer.jumps.likelihood.pairs import PanelPairs
from dyninfer.jumps.likelihood.panel import PanelCounts, panel_counts
from dyninfer.jumps.likelihood.scheme import RateScheme
from dyninfer.jumps.posterior.fitting import JumpFit, PanelProblem, fit_panel
from dyninfer.jumps.posterior.fitting_hidden import HiddenProblem, fit_hidden
from dyninfer.jumps.posterior.optimise import maximise
from dyninfer.jumps.posterior.result import JumpResult, NormalPosterior, history_of
from dyninfer.jumps.posterior.starts import LEAST_JUMPS, log_rate_prior


def maximise_exact(
    paths: Paths, scheme: RateScheme, entries: Sequence[int], width: float | None, max_steps: int
) -> JumpResult:
    """Fit to labels that are never wrong.

    Parameters
    ----------
    paths : Paths
        Labels.
    scheme : RateScheme
        Which jumps can happen.
    entries : sequence of int
        States whose entry is observed when it happens.
    width : float, optional
        Standard deviation of the prior of every log-rate.
    max_steps : int
        Most steps of the maximisation.
    """
    counts = _counted(paths, scheme.n_states, entries)
    start = counts.crude_generator(scheme.allowed, least=LEAST_JUMPS)
    # Half a first observation of every state: none of them is impossible.
    initial = counts.starts + 0.5
    theta = scheme.parameters_of(start)
    generator = scheme.generator(theta)
    likelihood_before = float(counts.log_likelihood(generator))
    prior = log_rate_prior(counts, scheme, width)
    fit = fit_panel(counts, scheme, prior=prior, max_iter=max_steps)
    return JumpResult(
        generator=fit.generator,
        initial=initial / initial.sum(),
        emission=LabelNoise.perfect(scheme.n_states),
        history=history_of(fit, [likelihood_before]),
        posterior=NormalPosterior(fit.generator, fit),
        fit=fit,
    )


def maximise_complete(
    paths: Paths, scheme: RateScheme, names: Sequence[str], width: float | None, max_steps: int
) -> JumpResult:
    """Fit to paths of which every jump is observed.

    Parameters are those of :func:`maximise_exact`, with ``names`` of the states.

    Raises
    ------
    ValueError
        If a jump is observed that cannot happen.
    """
    record = JumpRecord.of(paths, scheme.n_states)
    impossible = ((record.jumps > 0) & ~scheme.allowed).nonzero().tolist()
    if impossible:
        source, target = impossible[0]
        raise ValueError(
            f"a path jumps from {names[source]} to {names[target]}, which cannot happen; allow it "
            f"by jumps=, as '{names[source]}>{names[target]}'"
        )
    start = record.crude_generator(scheme.allowed, LEAST_JUMPS)
    prior = log_rate_prior(record, scheme, width)
    problem = PanelProblem(record, scheme, prior)
    theta = scheme.parameters_of(start).unsqueeze(0)
    likelihood_before = problem.log_likelihood(theta).tolist()
    best = maximise(problem.log_posterior, theta, max_iter=max_steps, columns=theta.shape[-1])
    fit = JumpFit.of(problem, best, torch.Size())
    initial = record.starts + 0.5
    return JumpResult(
        generator=fit.generator,
        initial=initial / initial.sum(),
        emission=LabelNoise.perfect(scheme.n_states),
        history=history_of(fit, likelihood_before),
        posterior=NormalPosterior(fit.generator, fit),
        fit=fit,
    )


def _counted(paths: Paths, n_states: int, entries: Sequence[int]) -> PanelCounts | PanelPairs:
    """Transitions by their waiting times, or one by one where those are nearly all different."""
    if not entries:
        pairs = PanelPairs.of(paths, n_states)
        if pairs.is_cheaper:
            return pairs
    return panel_counts(paths, n_states, entries)


def maximise_hidden(problem: HiddenProblem, generators: Tensor, max_steps: int) -> JumpResult:
    """Fit to states that are hidden: behind labels or numbers, or as ancestors of clones.

    Parameters
    ----------
    problem : HiddenProblem
        Prepared paths, and the models that are to explain them.
    generators : Tensor, ``(k, S, S)``
        Generators to begin with.
    max_steps : int
        Most steps of the maximisation.
    """
    n_states = problem.scheme.n_states
    initial = problem.initial
    if initial is None:
        initial = torch.ones(n_states, dtype=torch.float64) / n_states
    of_paths = problem.data.log_likelihood(generators, problem.emission, initial)
    fits = fit_hidden(problem, generators, max_steps)
    return JumpResult.of_fit(fits, of_paths.sum(-1).tolist())
