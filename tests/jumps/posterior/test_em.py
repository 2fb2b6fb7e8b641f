"""EM rises at every step and ends where the gradient does; its expectations are integrals of the bridge."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from jumps import cases
from scipy.integrate import quad_vec
from scipy.linalg import expm

from dyninfer.jumps.likelihood.hidden import HiddenPaths
from dyninfer.jumps.likelihood.observation import LabelNoise
from dyninfer.jumps.likelihood.observe import observe
from dyninfer.jumps.likelihood.panel import panel_counts, stack_counts
from dyninfer.jumps.likelihood.scheme import RateScheme
from dyninfer.jumps.posterior.em import em_label_noise, em_panel, expected_jumps
from dyninfer.jumps.posterior.fitting import fit_panel
from dyninfer.jumps.posterior.fitting_hidden import HiddenProblem, fit_hidden
from dyninfer.jumps.process import MarkovJump
from dyninfer.simulation import simulate


def noisy_paths(seed, rate=0.05, n_states=3):
    q = cases.random_generator(n_states, seed)
    runs = simulate(MarkovJump(q), None, np.arange(30) * 0.4, n_paths=100, seed=seed)
    return observe(runs, LabelNoise.uniform(n_states, rate), keep=0.7, seed=seed)


def test_expected_jumps_and_times_are_integrals_of_the_bridge():
    q = cases.random_generator(3, 0)
    counts = panel_counts(cases.regular([0.0, 0.8], [[0, 2], [1, 1]]), n_states=3)
    _, jumps, spent = expected_jumps(counts.log_likelihood, q)
    m, p = q.numpy(), expm(0.8 * q.numpy())
    exact_jumps, exact_spent = np.zeros((3, 3)), np.zeros(3)
    for a, b in ((0, 2), (1, 1)):
        both = (
            quad_vec(
                lambda s, a=a, b=b: np.outer(expm(m * s)[a], expm(m * (0.8 - s))[:, b]), 0, 0.8
            )[0]
            / p[a, b]
        )
        exact_spent += np.diag(both)
        exact_jumps += both * m * (1 - np.eye(3))
    np.testing.assert_allclose(spent.numpy(), exact_spent, rtol=1e-9)
    np.testing.assert_allclose(jumps.numpy(), exact_jumps, rtol=1e-9, atol=1e-15)


def test_panel_em_rises_and_ends_at_the_gradients_maximum():
    counts = stack_counts([panel_counts(noisy_paths(k, rate=0.0)) for k in (1, 2)])
    start = counts.crude_generator(least=0.5)
    q, values = em_panel(counts, start, tol=1e-10)
    assert (values.diff(dim=0) > -1e-9).all()
    torch.testing.assert_close(q, fit_panel(counts).generator, rtol=1e-4, atol=1e-6)


def test_panel_em_reaches_msm_with_exact_death_times():
    counts = panel_counts(cases.cav(), exact=(3,))
    q, values = em_panel(counts, torch.tensor(cases.CAV_START, dtype=torch.float64), tol=1e-6)
    assert (values.diff() > -1e-9).all()
    assert float(-2 * values[-1]) == pytest.approx(3968.79789, abs=2e-3)
    assert (q[~cases.cav_edges() & ~torch.eye(4, dtype=torch.bool)] == 0).all()


def test_label_noise_em_rises_and_ends_at_the_gradients_maximum():
    data = HiddenPaths.of(noisy_paths(3))
    start = panel_counts(noisy_paths(3)).crude_generator(least=0.5)
    law = torch.full((3,), 1 / 3, dtype=torch.float64)
    q, rate, law, values = em_label_noise(data, start, 0.1, law, tol=1e-9, max_iter=400)
    assert (values.diff() > -1e-9).all()
    fit = fit_hidden(HiddenProblem(data, LabelNoise.uniform(3, 0.1), RateScheme.free(3)), start)
    assert float(values[-1]) == pytest.approx(float(fit.log_likelihood), abs=1e-3)
    assert rate == pytest.approx(1 - float(fit.emission.confusion[0, 0]), abs=1e-3)
    torch.testing.assert_close(law, fit.initial, atol=2e-3, rtol=0)
    torch.testing.assert_close(q, fit.generator, atol=1e-2, rtol=0)
