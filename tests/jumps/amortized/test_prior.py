"""The prior over jump processes: laws of rates, exact paths, wrong labels."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch
from jumps.cases import shared_file

from dyninfer.jumps.amortized.draws import Draws
from dyninfer.jumps.amortized.observations import Grid, simulate_on_grid, with_wrong_labels
from dyninfer.jumps.amortized.prior import JumpPrior, draw_from_mixture
from dyninfer.jumps.amortized.prior_rates import (
    RATE_DISTRIBUTIONS,
    absorbing_rates,
    arrhenius_rates,
    beta_rates,
    long_run_distribution,
    near_uniform_distribution,
)
from dyninfer.jumps.process import MarkovJump


def generator(seed=0):
    return Draws(torch.Generator().manual_seed(seed))


def beta_mixture_cdf(x):
    return np.mean([scipy.stats.beta.cdf(x, a, b) for a in (1, 2) for b in (1, 3, 5, 10)], axis=0)


def test_rates_of_the_papers_law_are_a_mixture_of_eight_beta_laws():
    rates = beta_rates(400, 6, generator())
    assert scipy.stats.kstest(rates[rates > 0].numpy(), beta_mixture_cdf).pvalue > 1e-3


def test_rates_and_graphs_are_those_of_the_published_draws():
    published = np.load(shared_file("flashing_ratchet/fim_prior_samples.npz"))["rand6_train_Q"]
    off = ~np.eye(6, dtype=bool)
    theirs, ours = published[:, off], beta_rates(2000, 6, generator())[:, off].numpy()
    assert scipy.stats.ks_2samp(theirs[theirs > 0], ours[ours > 0]).pvalue > 1e-3
    missing, drawn = (theirs == 0).sum(1), (ours == 0).sum(1)
    assert abs((missing == 0).mean() - (drawn == 0).mean()) < 4 * 0.5 / 20
    assert abs(missing[missing > 0].mean() - drawn[drawn > 0].mean()) < 1
    assert abs(missing[missing > 0].std() - drawn[drawn > 0].std()) < 0.5


@pytest.mark.parametrize("law", RATE_DISTRIBUTIONS)
@pytest.mark.parametrize("n", [2, 3, 7])
def test_every_law_gives_finite_rates_and_no_jump_from_a_state_to_itself(law, n):
    rates = RATE_DISTRIBUTIONS[law](50, n, generator(n)) * (1 - torch.eye(n))
    assert rates.isfinite().all()
    assert (rates >= 0).all()
    assert (rates.sum((-1, -2)) > 0).float().mean() > 0.8


def test_energy_landscapes_are_in_detailed_balance():
    rates = arrhenius_rates(200, 5, generator(1)).double()
    whole = rates[(rates > 0).sum((-1, -2)) == 20]
    assert len(whole) > 50
    assert MarkovJump.from_rates(whole).detailed_balance_residual().max() < 1e-5


def test_the_long_run_is_the_stationary_law():
    rates = RATE_DISTRIBUTIONS["ring"](20, 4, generator(2))
    assert torch.allclose(
        long_run_distribution(rates).double(), MarkovJump.from_rates(rates).stationary(), atol=1e-5
    )


def test_ends_are_never_left_and_nobody_starts_there():
    for n, most in ((2, 1), (3, 1), (7, 2)):
        rates = absorbing_rates(200, n, generator(n)) * (1 - torch.eye(n))
        n_ends = (rates.sum(-1) == 0).sum(-1)
        assert n_ends.min() >= 1
        assert (n_ends <= most).float().mean() > 0.9
    prior = replace(JumpPrior.wider(), distributions=("absorbing",))
    for seed in range(4):
        tasks = prior.draw(16, seed, n_states=5, n_paths=10)
        is_end = tasks.rates.sum(-1) == 0
        is_start = tasks.initial > 0
        assert not (is_end & is_start).any()
        assert torch.allclose(tasks.initial.sum(-1), torch.ones(len(tasks.noise)))
        # Whoever is at an end stays there, unless a label is wrong.
        for k in (tasks.noise == 0).nonzero().flatten():
            labels = tasks.labels[:, k]
            at_end = is_end[k][labels]
            assert (labels[1:] == labels[:-1])[at_end[:-1]].all()


def test_near_uniform_distribution_has_the_moments_of_a_dirichlet_law():
    law = near_uniform_distribution(20_000, 4, generator(3))
    assert torch.allclose(law.mean(0), torch.full((4,), 0.25), atol=2e-3)
    assert law[:, 0].var().item() == pytest.approx(0.25 * 0.75 / 201, rel=0.05)


def test_paths_step_by_the_rows_of_the_matrix_exponential():
    g = generator(4)
    rates = beta_rates(2, 4, g) + 0.3 * (1 - torch.eye(4))
    grid = Grid(np.array([0.3, 2.0]), np.array([1, 0, 1]), np.arange(4))
    initial = torch.full((2, 4), 0.25)
    states = simulate_on_grid(rates, initial, 20_000, grid, g)
    for process in range(2):
        q = rates[process].double().numpy()
        q = q - np.diag(q.sum(1))
        for step, gap in enumerate([2.0, 0.3, 2.0]):
            a, b = states[step, process], states[step + 1, process]
            seen = torch.bincount(a * 4 + b, minlength=16).reshape(4, 4).double().numpy()
            expected = scipy.linalg.expm(q * gap) * seen.sum(1, keepdims=True)
            chi2 = ((seen - expected) ** 2 / expected).sum()
            assert scipy.stats.chi2.sf(chi2, 12) > 1e-4


def test_wrong_labels_come_at_their_rate_and_are_any_other_one_alike():
    states = torch.full((300_000,), 2)
    seen = torch.bincount(
        with_wrong_labels(states, torch.tensor(0.1), 5, generator(5)), minlength=5
    )
    expected = torch.tensor([7500.0, 7500, 270_000, 7500, 7500])
    assert scipy.stats.chi2.sf(float(((seen - expected) ** 2 / expected).sum()), 4) > 1e-3
    assert torch.equal(with_wrong_labels(states, torch.tensor(0.0), 5, generator(5)), states)


@pytest.mark.parametrize(
    "prior", [JumpPrior.paper(), JumpPrior.widened(), JumpPrior.wide(), JumpPrior.wider()]
)
def test_draws_are_what_their_settings_say(prior):
    for seed in range(6):
        tasks = prior.draw(8, seed, most_numbers=2**16)
        n = tasks.rates.shape[-1]
        assert n in prior.sizes
        assert prior.paths[0] <= tasks.labels.shape[2] <= prior.paths[1]
        assert tasks.labels.shape[:2] == (len(tasks.times), len(tasks.noise))
        assert 0 <= tasks.labels.min() <= tasks.labels.max() < n
        assert (tasks.times.diff() > 0).all()
        assert tasks.times[-1] <= 10 + 1e-9
        assert torch.allclose(tasks.initial.sum(-1), torch.ones(len(tasks.noise)))
        assert ((tasks.noise == 0) | (tasks.noise <= 0.2)).all()


def test_a_mixture_repeats_with_its_seed_and_leaves_global_randomness_alone():
    before = torch.get_rng_state()
    priors = ((1.0, JumpPrior.widened()), (1.0, JumpPrior.wide()))
    for seed in range(3):
        a, b, c = (
            draw_from_mixture(priors, 4, s, most_numbers=2**14) for s in (seed, seed, seed + 100)
        )
        assert torch.equal(a.labels, b.labels)
        assert a.rates.shape != c.rates.shape or not torch.equal(a.rates, c.rates)
    assert torch.equal(before, torch.get_rng_state())


def test_an_unknown_grid_is_refused_by_name():
    with pytest.raises(ValueError, match="grids names 'hourly'"):
        JumpPrior(grids=("hourly",)).draw(4, 0)
