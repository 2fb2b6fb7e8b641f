"""Fits of generators against closed forms, msm's published fit, and the flashing ratchet."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
import torch
from jumps import cases

from dyninfer.jumps.likelihood.pairs import PanelPairs
from dyninfer.jumps.likelihood.panel import panel_counts, stack_counts
from dyninfer.jumps.likelihood.scheme import RateScheme
from dyninfer.jumps.posterior.fitting import fit_panel
from dyninfer.jumps.process import MarkovJump
from dyninfer.jumps.skeleton import draw_skeletons
from dyninfer.simulators import BirthDeath, FlashingRatchet


def simulated(q, n_paths, times, seed):
    states = draw_skeletons(MarkovJump(q), n_paths, torch.as_tensor(times), seed)
    return panel_counts(cases.regular(times, states.numpy()), n_states=len(q))


def test_two_state_fit_matches_the_matrix_logarithm():
    counts = simulated(cases.random_generator(2, 0), 200, np.arange(20) * 0.4, 0)
    n = counts.pairs[0]
    a, b = (n[0, 1] / n[0].sum()).item(), (n[1, 0] / n[1].sum()).item()
    scale = -math.log(1 - a - b) / 0.4 / (a + b)
    fit = fit_panel(counts)
    np.testing.assert_allclose(
        fit.generator.numpy(), [[-a * scale, a * scale], [b * scale, -b * scale]], rtol=1e-5
    )
    assert bool(fit.converged)
    exact = (n * torch.tensor([[1 - a, a], [b, 1 - b]], dtype=torch.float64).log()).sum()
    assert float(fit.log_likelihood) == pytest.approx(float(exact), rel=1e-9)
    assert float(fit.aic) == pytest.approx(4 - 2 * float(exact), rel=1e-9)
    assert float(fit.bic) == pytest.approx(2 * math.log(200 * 19) - 2 * float(exact), rel=1e-9)


def test_cav_fit_is_that_of_msm():
    fit = fit_panel(panel_counts(cases.cav(), exact=(3,)), RateScheme.free(cases.cav_edges()))
    assert float(-2 * fit.log_likelihood) == pytest.approx(3968.79789, abs=2e-3)
    rates = fit.generator[[0, 0, 1, 1, 1, 2, 2], [1, 3, 0, 2, 3, 1, 3]]
    np.testing.assert_allclose(
        rates, [0.1279, 0.0425, 0.2251, 0.3426, 0.0403, 0.1306, 0.3065], atol=6e-5
    )
    low, high = fit.interval()
    assert [float(low[0, 1]), float(high[0, 1])] == pytest.approx([0.1114, 0.1468], abs=1e-4)
    assert [float(low[1, 3]), float(high[1, 3])] == pytest.approx([0.0113, 0.1431], abs=2e-4)
    assert int(fit.n_flat) == 0


@pytest.mark.parametrize(
    ("n_paths", "batch", "published"), [(30, 30, 0.30), (300, 30, 0.09), (5000, 2, 0.020)]
)
def test_flashing_ratchet_is_found_as_well_as_published(n_paths, batch, published):
    data = np.load(cases.shared_file("flashing_ratchet/dfr_V1.npz"))
    states = data["paths"].astype(np.int64)
    panels = [
        panel_counts(
            cases.regular(data["times"], states[n_paths * b : n_paths * (b + 1)]), n_states=6
        )
        for b in range(batch)
    ]
    began = time.process_time()
    fit = fit_panel(stack_counts(panels))
    assert time.process_time() - began < 1.0
    off = ~torch.eye(6, dtype=torch.bool)
    rmse = (fit.generator - torch.from_numpy(data["Q"]))[:, off].square().mean(-1).sqrt()
    assert float(rmse.mean()) == pytest.approx(published, rel=0.2)
    assert bool(fit.converged.all())


def test_rough_start_and_truth_lead_to_the_same_maximum():
    """A rate sent towards zero by a long step has no slope left in its logarithm, and stays there for good."""
    ratchet = FlashingRatchet().process().generator
    counts = stack_counts(
        [simulated(ratchet, 300, np.linspace(0, 2.5, 100), seed) for seed in range(12)]
    )
    rough, near = (
        fit_panel(counts),
        fit_panel(counts, start=ratchet.clamp(min=1e-2).expand(12, 6, 6)),
    )
    # Of the order of −10⁴: maxima of so flat a likelihood agree to about 1e-8 of it.
    torch.testing.assert_close(rough.log_likelihood, near.log_likelihood, rtol=2e-8, atol=0)
    torch.testing.assert_close(rough.generator, near.generator, rtol=0, atol=1e-3)


def test_intervals_cover_the_truth_as_often_as_they_say():
    q = cases.random_generator(3, 1)
    panels = [simulated(q, 150, np.arange(12) * 0.5, seed) for seed in range(60)]
    low, high = fit_panel(stack_counts(panels)).interval(0.9)
    off = ~torch.eye(3, dtype=torch.bool)
    covered = ((low <= q) & (q <= high))[:, off].double().mean()
    assert 0.84 < float(covered) < 0.95


def test_reversible_fit_obeys_detailed_balance_and_finds_the_law():
    s, f = 0.7, torch.tensor([0.0, 0.5, -0.4], dtype=torch.float64)
    q = RateScheme.reversible(3).generator(
        torch.tensor([math.log(s)] * 3 + f[1:].tolist(), dtype=torch.float64)
    )
    torch.testing.assert_close(MarkovJump(q).stationary(), f.softmax(0))
    counts = simulated(q, 2000, np.arange(20) * 0.5, 3)
    fit, free = fit_panel(counts, RateScheme.reversible(3)), fit_panel(counts)
    assert float(fit.process().detailed_balance_residual()) < 1e-12
    assert float((fit.process().stationary() - f.softmax(0)).abs().max()) < 0.01
    # Wilks: one constraint was lifted, so twice the gain is chi-square with one degree of freedom.
    assert 0 <= float(2 * (free.log_likelihood - fit.log_likelihood)) < 11


def test_birth_death_fit_has_no_other_jumps():
    q = RateScheme.birth_death(5).generator(torch.zeros(8, dtype=torch.float64))
    fit = fit_panel(simulated(q, 500, np.arange(20) * 0.5, 4), RateScheme.birth_death(5))
    far = (torch.arange(5)[:, None] - torch.arange(5)).abs() > 1
    assert (fit.generator[far] == 0).all()
    assert float((fit.generator - q).abs().max()) < 0.25


def test_a_scheme_can_tie_rates():
    """All jumps of a ring share one rate: its fit is that of a number of jumps in a span of time."""
    ring = torch.tensor([[0, 1, 0], [0, 0, 1], [1, 0, 0]], dtype=torch.bool)
    free = RateScheme.free(ring)
    tied = RateScheme(3, free.edges, torch.ones(3, 1, dtype=torch.float64), free.offset)
    q = tied.generator(torch.tensor([math.log(0.8)], dtype=torch.float64))
    fit = fit_panel(simulated(q, 1000, np.arange(10) * 0.3, 5), tied)
    assert fit.theta.shape == (1,)
    assert abs(float(fit.theta) - math.log(0.8)) < 4 * float(fit.covariance[0, 0].sqrt())


def test_unseen_states_leave_flat_directions_that_are_named_and_a_prior_settles():
    counts = panel_counts(
        cases.regular([0.0, 1.0, 2.0, 3.0], [[0, 1, 0, 0], [1, 1, 0, 1]]), n_states=3
    )
    fit = fit_panel(counts)
    flat = fit.flat_edges()
    assert int(fit.n_flat) >= 2
    assert flat[2, 0] or flat[2, 1]
    assert all(bound.isfinite().all() for bound in fit.interval())
    prior = torch.distributions.Normal(-1.0, 1.0)
    settled = fit_panel(counts, prior=lambda x: prior.log_prob(x).sum(-1))
    assert int(settled.n_flat) == 0
    assert float(settled.log_likelihood) <= float(fit.log_likelihood)
    # The rates out of a state never seen stay near their prior's mean.
    assert float(settled.generator[2, 0].log()) == pytest.approx(-1.0, abs=0.5)


def test_fits_do_not_depend_on_the_unit_of_time_or_the_order_of_states():
    q, order = cases.random_generator(3, 6), [2, 0, 1]
    states = draw_skeletons(MarkovJump(q), 300, torch.arange(10) * 0.5, 6).numpy()
    fit = fit_panel(panel_counts(cases.regular(np.arange(10) * 0.5, states)))
    slow = fit_panel(panel_counts(cases.regular(np.arange(10) * 500.0, states)))
    torch.testing.assert_close(slow.generator * 1000, fit.generator, rtol=1e-5, atol=1e-6)
    moved = fit_panel(panel_counts(cases.regular(np.arange(10) * 0.5, np.argsort(order)[states])))
    torch.testing.assert_close(
        moved.generator, fit.generator[order][:, order], rtol=1e-5, atol=1e-6
    )


def test_impossible_starts_and_schemes_are_named():
    counts = panel_counts(cases.regular([0.0, 1.0, 2.0], [[0, 1, 0]]))
    with pytest.raises(ValueError, match="impossible there"):
        fit_panel(counts, RateScheme.free(torch.tensor([[0, 1], [0, 0]])))
    with pytest.raises(ValueError, match="without its reverse"):
        RateScheme.reversible(torch.tensor([[0, 1], [0, 0]]))
    with pytest.raises(ValueError, match="positive rate for every allowed jump"):
        fit_panel(counts, start=torch.zeros(2, 2))


def long_gaps(largest, seed):
    """States that change unseen about as often as they are looked at."""
    queue = BirthDeath(birth=1, death=2, largest=largest)
    return queue.paths(np.arange(10.0), 200, seed=seed)


@pytest.mark.parametrize(("largest", "seed"), [(2, 0), (2, 1), (3, 0), (3, 4), (3, 5)])
def test_more_jumps_never_explain_less(largest, seed):
    """From crude rates, too low by half, fits of all jumps ended up to 14 below these."""
    paths = long_gaps(largest, seed)
    n_states = largest + 1
    counts = panel_counts(paths)
    every = fit_panel(counts)
    neighbours = fit_panel(counts, RateScheme.birth_death(n_states))
    assert float(every.log_likelihood) >= float(neighbours.log_likelihood) - 1e-6
    pairs = PanelPairs.of(paths, n_states)
    # Rates of absent jumps run to 0, where both searches end a little apart.
    highest = float(every.log_likelihood)
    assert float(fit_panel(pairs).log_likelihood) == pytest.approx(highest, abs=1e-3)


def test_every_panel_of_a_batch_has_its_own_highest_maximum():
    panels = [panel_counts(long_gaps(3, seed)) for seed in (3, 4)]
    together = fit_panel(stack_counts(panels)).log_likelihood
    alone = [fit_panel(panel).log_likelihood for panel in panels]
    torch.testing.assert_close(together, torch.stack(alone), rtol=0, atol=1e-3)
