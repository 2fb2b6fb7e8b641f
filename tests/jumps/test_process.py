"""Markov jump processes against closed forms, scipy and mpmath."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import torch
from scipy.linalg import expm
from scipy.stats import poisson

from dyninfer.jumps.process import MarkovJump, transition_matrix, with_diagonal

TIMES = torch.logspace(-4, 2, 25, dtype=torch.float64)


def random_generator(n, seed, *batch):
    g = torch.Generator().manual_seed(seed)
    return with_diagonal(torch.rand(*batch, n, n, generator=g, dtype=torch.float64))


def queue(lam=0.8, mu=1.3, n=8):
    return MarkovJump.from_rates(np.diag([lam] * (n - 1), 1) + np.diag([mu] * (n - 1), -1))


def ratchet(potential, switch=1.0, off=1.0):
    rates = np.zeros((6, 6))
    for i in range(3):
        for j in range(3):
            rates[i, j], rates[3 + i, 3 + j] = math.exp(-potential * (j - i) / 2), off
        rates[i, i + 3] = rates[i + 3, i] = switch
    return MarkovJump.from_rates(rates)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
def test_two_state_transitions_match_closed_form(dtype, tolerance):
    a, b = 0.7, 1.9
    q = torch.tensor([[-a, a], [b, -b]], dtype=dtype)
    pi = torch.tensor([b, a], dtype=torch.float64) / (a + b)
    decay = torch.exp(-(a + b) * TIMES)[:, None, None]
    exact = pi + (torch.eye(2, dtype=torch.float64) - pi) * decay
    assert (transition_matrix(q, TIMES).double() - exact).abs().max() < tolerance


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 5e-6)])
def test_transition_matrices_are_stochastic_and_a_semigroup(dtype, tolerance):
    q = random_generator(6, 1, 20).to(dtype)
    s, t = 0.37, torch.linspace(0.0, 9.0, 20, dtype=dtype)
    p = transition_matrix(q, t)
    assert (p >= 0).all()
    assert (p.sum(-1) - 1).abs().max() < tolerance
    assert (transition_matrix(q, s) @ p - transition_matrix(q, s + t)).abs().max() < tolerance


def test_transitions_match_scipy_and_uniformisation():
    q = random_generator(6, 2)
    rate = -float(q.diagonal().min())
    for t in (0.01, 0.5, 2 / rate):
        p = transition_matrix(q, t).numpy()
        np.testing.assert_allclose(p, expm(q.numpy() * t), atol=1e-12)
        step = np.eye(6) + q.numpy() / rate
        terms = [poisson.pmf(k, rate * t) * np.linalg.matrix_power(step, k) for k in range(24)]
        np.testing.assert_allclose(p, sum(terms), atol=1e-12)


def test_probabilities_of_many_rare_jumps_keep_their_digits():
    q = MarkovJump.from_rates(
        np.diag([1e-3, 1e-4, 1e-5, 1e-6], 1) + np.diag([2.0, 1.0, 3.0, 1.0], -1)
    ).generator
    mpmath.mp.dps = 60
    for t in (1e-2, 1.0, 300.0):
        exact = mpmath.expm(mpmath.matrix((q * t).tolist()), method="taylor")
        exact = np.array([[float(exact[i, j]) for j in range(5)] for i in range(5)])
        np.testing.assert_allclose(transition_matrix(q, t).numpy(), exact, rtol=1e-10)


def test_gradients_of_transitions_match_finite_differences():
    q = random_generator(3, 3).requires_grad_()
    t = torch.tensor([0.2, 3.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda r: transition_matrix(with_diagonal(r), t), q)


def test_queue_has_its_known_law_spectrum_and_passage_time():
    lam, mu, n = 0.8, 1.3, 8
    process = queue(lam, mu, n)
    law = (lam / mu) ** torch.arange(n, dtype=torch.float64)
    assert (process.stationary() - law / law.sum()).abs().max() < 1e-12
    k = torch.arange(1, n, dtype=torch.float64)
    rates = lam + mu - 2 * math.sqrt(lam * mu) * torch.cos(math.pi * k / n)
    torch.testing.assert_close(1 / process.relaxation_times(), rates, rtol=0, atol=1e-10)
    passage = sum(mu ** (k - j) / lam ** (k - j + 1) for k in range(n - 1) for j in range(k + 1))
    assert passage == pytest.approx(136.38828754, rel=1e-9)
    assert float(process.mean_first_passage(n - 1)[0]) == pytest.approx(passage, rel=1e-9)
    assert float(process.first_passage_matrix()[0, n - 1]) == pytest.approx(passage, rel=1e-9)


def test_queue_commits_as_the_gambler_is_ruined():
    lam, mu, n = 0.8, 1.3, 8
    ratio = (mu / lam) ** np.arange(n)
    exact = (ratio - 1) / (ratio[-1] - 1)
    np.testing.assert_allclose(queue(lam, mu, n).committor(0, n - 1).numpy(), exact, atol=1e-13)


def test_stationary_law_is_right_in_every_digit_over_many_decades():
    up, down = 10.0 ** np.array([-9, 3, -6, 2]), 10.0 ** np.array([5, -7, 4, -3])
    process = MarkovJump.from_rates(np.diag(up, 1) + np.diag(down, -1))
    law = np.concatenate([[1.0], np.cumprod(up / down)])
    np.testing.assert_allclose(process.stationary().numpy(), law / law.sum(), rtol=1e-13)


def test_detailed_balance_of_a_birth_death_process_and_not_of_a_ring():
    flux = queue().fluxes()
    assert (flux - flux.T).abs().max() < 1e-12
    assert bool(queue().is_detailed_balance())
    p, q = 2.0, 0.5
    ring = MarkovJump.from_rates([[0, p, q], [q, 0, p], [p, q, 0]])
    assert not bool(ring.is_detailed_balance())
    assert float(ring.entropy_production()) == pytest.approx((p - q) * math.log(p / q), abs=1e-10)


@pytest.mark.parametrize(("potential", "rate"), [(0, 0.0), (1, 0.1792), (2, 0.5656), (3, 0.9927)])
def test_flashing_ratchet_dissipates_and_relaxes_as_published(potential, rate):
    process = ratchet(potential)
    assert float(process.entropy_production()) == pytest.approx(rate, abs=1e-4)
    assert float(process.relaxation_times()[0]) == pytest.approx(0.5, abs=1e-10)


def test_everything_is_batched_and_follows_the_names_of_states():
    q = random_generator(5, 4, 2, 3)
    order = torch.tensor([3, 0, 4, 1, 2])
    for method in (
        "stationary",
        "holding_times",
        "first_passage_matrix",
        "embedded_chain",
        "fluxes",
    ):
        whole = getattr(MarkovJump(q), method)()
        one = getattr(MarkovJump(q[1, 2]), method)()
        torch.testing.assert_close(whole[1, 2], one)
        moved = getattr(MarkovJump(q[1, 2][order][:, order]), method)()
        torch.testing.assert_close(moved, one[order] if one.ndim == 1 else one[order][:, order])


def test_relaxation_and_entropy_scale_with_the_unit_of_time():
    q = random_generator(4, 5)
    slow, fast = MarkovJump(q), MarkovJump(10 * q)
    torch.testing.assert_close(slow.relaxation_times(), 10 * fast.relaxation_times())
    torch.testing.assert_close(slow.entropy_production(), fast.entropy_production() / 10)


def test_piecewise_generators_compose():
    q = random_generator(4, 6, 3)
    process = MarkovJump(q, initial=[1.0, 0, 0, 0], breaks=[1.0, 2.5])
    legs = [expm(q[k].numpy() * dt) for k, dt in enumerate((0.5, 1.5, 0.7))]
    np.testing.assert_allclose(
        process.transition(2.7, start=0.5).numpy(), legs[0] @ legs[1] @ legs[2], atol=1e-13
    )
    np.testing.assert_allclose(process.marginal(0.5).numpy(), legs[0][0], atol=1e-13)
    torch.testing.assert_close(process.at(2.5).generator, q[2])
    with pytest.raises(ValueError, match="constant in time"):
        process.stationary()


def test_reducible_chains_are_reported():
    apart = MarkovJump.from_rates(
        np.array([[0, 1, 0, 0], [2, 0, 0, 0], [0, 0, 0, 3], [0, 0, 1, 0.0]])
    )
    assert apart.communicating_classes() == [((0, 1), True), ((2, 3), True)]
    with pytest.raises(ValueError, match=r"closed classes \{0, 1\}, \{2, 3\}"):
        apart.stationary()
    assert apart.relaxation_times()[0].isinf()
    assert apart.relaxation_times()[1:].tolist() == pytest.approx([1 / 3, 1 / 4])
    assert apart.mean_first_passage(0).tolist() == [0.0, 0.5, math.inf, math.inf]
    with pytest.raises(ValueError, match="2, 3, which may never reach"):
        apart.committor(0, 1)
    dying = MarkovJump.from_rates(
        [[0, 1.0, 0], [1.0, 0, 0.5], [0, 0, 0]], state_names=["a", "b", "dead"]
    )
    assert dying.stationary().tolist() == [0.0, 0.0, 1.0]
    assert dying.mean_first_passage("dead").tolist() == pytest.approx([5.0, 4.0, 0.0])
    assert dying.mean_first_passage("a")[1].isinf()
    assert dying.holding_times()[2].isinf()
    assert dying.embedded_chain()[2].tolist() == [0.0, 0.0, 1.0]
    assert dying.entropy_production() == 0.0


def test_one_way_jumps_of_a_stationary_state_produce_infinite_entropy():
    ring = MarkovJump.from_rates([[0, 1.0, 0], [0, 0, 1.0], [1.0, 0, 0]])
    assert ring.entropy_production().isinf()


def test_lumping_keeps_the_stationary_law_and_is_exact_for_lumpable_chains():
    process = ratchet(0, switch=0.4)
    both = process.lump([[0, 1, 2], [3, 4, 5]], state_names=["on", "off"])
    np.testing.assert_allclose(both.generator.numpy(), [[-0.4, 0.4], [0.4, -0.4]], atol=1e-14)
    lumped = MarkovJump(random_generator(5, 7)).lump([[0, 4], [1], [2, 3]])
    law = MarkovJump(random_generator(5, 7)).stationary()
    torch.testing.assert_close(
        lumped.stationary(), torch.stack([law[0] + law[4], law[1], law[2] + law[3]])
    )


def test_restricting_drops_the_jumps_out():
    kept = queue().restrict([0, 1, 2])
    np.testing.assert_allclose(kept.generator.numpy(), queue(n=3).generator.numpy(), atol=1e-15)


@pytest.mark.parametrize(
    ("generator", "message"),
    [
        ([[-1.0, 1.0], [2.0, -1.0]], "row that sums to 1, row 1"),
        ([[1.0, -1.0], [1.0, -1.0]], r"negative rate -1 at \(0, 1\)"),
        ([[-1.0, 1.0], [math.nan, -1.0]], r"holds nan at \(1, 0\)"),
        ([[-1.0, 1.0, 0.0], [1.0, -1.0, 0.0]], r"got shape \(2, 3\)"),
    ],
)
def test_bad_generators_are_named(generator, message):
    with pytest.raises(ValueError, match=message):
        MarkovJump(generator)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="initial must hold 8"):
        MarkovJump(queue().generator, initial=[0.5, 0.5])
    with pytest.raises(ValueError, match="target names the state 'x'"):
        queue().mean_first_passage("x")
    with pytest.raises(ValueError, match="dt must not be negative"):
        queue().transition(-1.0)
    with pytest.raises(ValueError, match="need 3 generators"):
        MarkovJump(queue().generator, breaks=[1.0, 2.0])


def test_times_and_states_that_are_none_are_refused():
    process = queue()
    for dt in (math.nan, math.inf):
        with pytest.raises(ValueError, match="dt must be finite"):
            process.transition(dt)
    with pytest.raises(ValueError, match="too many for double precision; ask stationary"):
        process.transition(1e39)
    for state in (0.5, None, 1j):
        with pytest.raises(ValueError, match="target names the state"):
            process.mean_first_passage([state])
    with pytest.raises(ValueError, match=r"rates must be \(S, S\)"):
        MarkovJump.from_rates(3.0)
    assert torch.equal(process.mean_first_passage({0, 1}), process.mean_first_passage([1, 0]))
