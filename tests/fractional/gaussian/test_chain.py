"""Kalman's filter and the backward filter against dense Gaussian conditioning."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.linalg import expm
from torch.distributions import MultivariateNormal

from dyninfer.fractional import MarkovApproximation
from dyninfer.fractional.gaussian.backward import BackwardFilter
from dyninfer.fractional.gaussian.chain import Chain, Observations, Start
from dyninfer.fractional.gaussian.kalman import log_likelihood
from dyninfer.fractional.gaussian.linear import (
    LinearEquation,
    state_covariance,
    stationary_memory,
    transitions,
)
from dyninfer.fractional.gaussian.matrices import apply

DOUBLE = torch.float64
HURST, RATE, SCALE = (torch.tensor(v, dtype=DOUBLE) for v in ([0.3, 0.8], [0.0, 1.3], [1.0, 0.5]))


def by_van_loan(nodes, weights, rate, scale, gap):
    """Transition and noise of one coordinate by the matrix exponential of a small step, doubled twenty times."""
    g, w = (v[nodes > 0].numpy() for v in (nodes, weights))
    drift = np.diag(np.concatenate([[-rate], -g]))
    drift[0, 1:] = -scale * w * np.sqrt(g / 2)
    push = np.concatenate([[scale * float(weights.sum())], np.sqrt(2 * g)])
    block = np.block([[-drift, np.outer(push, push)], [np.zeros_like(drift), drift.T]])
    both = expm(block * gap / 2**20)
    phi = both[len(push) :, len(push) :].T
    noise = phi @ both[: len(push), len(push) :]
    for _ in range(20):
        noise, phi = phi @ noise @ phi.T + noise, phi @ phi
    return phi, noise


@pytest.mark.parametrize("kind", ["I", "II"])
@pytest.mark.parametrize("meeting", [False, True])
def test_transitions_match_the_matrix_exponential_also_where_the_rate_meets_a_node(kind, meeting):
    approximation = MarkovApproximation(5, horizon=3.0, dt=0.01, kind=kind)
    nodes, weights = approximation.nodes, approximation.weights(HURST)
    rate = torch.stack([RATE[0], nodes[3]]) if meeting else RATE
    gaps = torch.tensor([0.01, 0.3, 2.5], dtype=DOUBLE)
    phi, noise = transitions(LinearEquation(nodes, weights, rate, SCALE), gaps)
    for i in range(2):
        for u, gap in enumerate(gaps.tolist()):
            exact = by_van_loan(nodes, weights[i], float(rate[i]), float(SCALE[i]), gap)
            np.testing.assert_allclose(phi[u, i], exact[0], atol=1e-8)
            np.testing.assert_allclose(noise[u, i], exact[1], atol=2e-4 if meeting else 1e-8)


def model(n_times=30, n_paths=4, noise=0.3, even=False, seed=0):
    """Chain of two coordinates, its observations with gaps, and what is needed to condition densely."""
    generator = torch.Generator().manual_seed(seed)
    approximation = MarkovApproximation(5, horizon=3.0, dt=0.01)
    times = torch.linspace(0, 3, n_times, dtype=DOUBLE)
    if not even:
        times = torch.cat(
            [times[:1], times[1:] + 0.05 * torch.rand(n_times - 1, generator=generator).double()]
        )
    nodes, weights = approximation.nodes, approximation.weights(HURST)
    phi, q = transitions(LinearEquation(nodes, weights, RATE, SCALE), times.diff())
    size = phi.shape[-1]
    cov = torch.zeros(2, size, size, dtype=DOUBLE)
    cov[:, 0, 0], cov[:, 1:, 1:] = 0.5, stationary_memory(nodes, "I")
    mean = torch.zeros(2, size, dtype=DOUBLE)
    mean[:, 0] = 0.4
    loading = torch.zeros(2, 1, size, dtype=DOUBLE)
    loading[:, 0, 0] = 1
    seen = Observations(
        torch.randn(n_paths, n_times, 2, 1, generator=generator, dtype=DOUBLE),
        torch.rand(n_paths, n_times, 2, 1, generator=generator) < 0.8,
        loading,
        torch.full((2, 1), noise**2, dtype=DOUBLE),
    )
    gap = torch.arange(n_times - 1).expand(n_paths, -1)
    prior = dense(phi, q, cov)
    return times, approximation, Start(mean, cov), phi, q, gap, seen, prior


def dense(phi, q, start):
    """Covariance of the first state at all times, by carrying covariances forward pair by pair."""
    n = len(phi) + 1
    full = torch.zeros(start.shape[0], n, n, dtype=DOUBLE)
    spread = start
    for a in range(n):
        spread = phi[a - 1] @ spread @ phi[a - 1].mT + q[a - 1] if a else spread
        ahead = spread
        for b in range(a, n):
            ahead = phi[b - 1] @ ahead if b > a else ahead
            full[:, a, b] = full[:, b, a] = ahead[:, 0, 0]
    return full


def test_covariance_of_pure_noise_is_that_of_the_approximation():
    times, approximation, _, _, _, _, _, prior = model()
    np.testing.assert_allclose(prior[0] - 0.5, approximation.covariance(times, 0.3), atol=1e-8)


def test_covariance_at_even_times_is_the_carried_one():
    times, approximation, start, _, _, _, _, prior = model(even=True)
    weights = approximation.weights(HURST)
    equation = LinearEquation(approximation.nodes, weights, RATE, SCALE)
    np.testing.assert_allclose(
        state_covariance(equation, start.covariance, times), prior, atol=1e-9
    )


def evidence(backward, observations):
    """Log-likelihood ``(P,)`` of all groups: each step gives ``½ |T'N'η|² + ½ log det V``."""
    _, slope = observations.information()
    chain, eta = backward.chain, backward.slopes(slope)
    about = eta[0] - apply(backward.precision[0], chain.mean)
    at_mean = 0.5 * ((eta[0] + about) * chain.mean).sum((-1, -2))
    total = at_mean + backward.start.cost + backward.steps.cost
    for noise, root, late in (
        (backward.start, chain.start_root, about[None]),
        (backward.steps, chain.root, eta[1:]),
    ):
        white = apply(noise.spread.mT @ root.mT, late)
        total = total + 0.5 * white.square().sum((0, 2, 3))
    density = observations.values**2 / observations.variance + observations.variance.log()
    density = (density + math.log(2 * math.pi)) * observations.mask
    return total - 0.5 * density.sum((1, 2, 3))


def test_both_filters_give_the_dense_likelihood():
    times, _, start, phi, q, gap, seen, prior = model()
    filtered = log_likelihood(start, phi, q, gap, seen)
    backward = BackwardFilter.of(Chain.of(start, phi, q, gap), seen.information()[0])
    np.testing.assert_allclose(evidence(backward, seen), filtered.sum(-1), atol=1e-7)
    for p in range(len(gap)):
        for i in range(2):
            o = seen.mask[p, :, i, 0]
            spread = prior[i][o][:, o] + 0.09 * torch.eye(int(o.sum()), dtype=DOUBLE)
            exact = MultivariateNormal(0.4 * torch.exp(-RATE[i] * times[o]), spread)
            assert filtered[p, i].item() == pytest.approx(
                exact.log_prob(seen.values[p, o, i, 0]).item(), abs=1e-8
            )


def test_draws_have_the_conditional_mean_and_variance():
    times, _, start, phi, q, gap, seen, prior = model()
    n = 4000
    information, slope = seen.information()
    backward = BackwardFilter.of(Chain.of(start, phi, q, gap), information)
    z = backward.draw(slope, n, torch.Generator().manual_seed(1))[:, 0, :, 0]  # (time, group, n)
    exact_mean = backward.mean(slope)[:, 0, :, 0]
    for i in range(2):
        o = seen.mask[0, :, i, 0]
        gain = prior[i][:, o] @ torch.linalg.inv(prior[i][o][:, o] + 0.09 * torch.eye(int(o.sum())))
        before = 0.4 * torch.exp(-RATE[i] * times)
        mean = before + gain @ (seen.values[0, o, i, 0] - before[o])
        variance = (prior[i] - gain @ prior[i][o]).diag()
        np.testing.assert_allclose(exact_mean[:, i], mean, atol=1e-7)
        assert ((z[:, i].mean(-1) - mean).abs() < 4 * (variance / n).sqrt()).all()
        np.testing.assert_allclose(z[:, i].var(-1), variance, rtol=4.5 * math.sqrt(2 / n))


def test_control_is_the_closed_form_of_one_observation_at_the_end():
    """u* = −(a·G)(a·z − o)/(v + s²) with a = e^{F'(T−t)} e_0 and v = ∫ (a·G)²."""
    approximation = MarkovApproximation(nodes=[0.1, 1.0, 10.0])
    nodes, weights = approximation.nodes, approximation.weights([0.7])
    left, s, o, theta = 0.8, 0.1, 0.6, 0.9
    rate, scale = torch.tensor([theta], dtype=DOUBLE), torch.tensor([1.0], dtype=DOUBLE)
    equation = LinearEquation(nodes, weights, rate, scale)
    phi, q = transitions(equation, torch.tensor([left], dtype=DOUBLE))
    loading = torch.eye(1, phi.shape[-1], dtype=DOUBLE)[None]
    seen = Observations(
        torch.tensor([[0.0, o]], dtype=DOUBLE)[..., None, None],
        torch.tensor([[False, True]])[..., None, None],
        loading,
        torch.tensor([[s**2]], dtype=DOUBLE),
    )
    start = Start(torch.zeros(1, phi.shape[-1], dtype=DOUBLE), torch.zeros_like(q[0]))
    chain = Chain.of(start, phi, q, torch.zeros(1, 1, dtype=torch.int64))
    information, slope = seen.information()
    backward = BackwardFilter.of(chain, information)
    push = torch.cat([weights.sum(-1, keepdim=True), (2 * nodes[1:]).sqrt()[None]], dim=1)
    z = torch.randn(1, 1, phi.shape[-1], generator=torch.Generator().manual_seed(0), dtype=DOUBLE)

    def impulse(r):
        memory = [
            float(w) * (g * math.exp(-g * r) - theta * math.exp(-theta * r)) / (g - theta)
            for w, g in zip(weights[0], nodes.tolist(), strict=True)
        ]
        return sum(memory)

    v = quad(lambda r: impulse(r) ** 2, 0, left, epsabs=1e-13)[0]
    exact = -impulse(left) * ((phi[0, 0, 0] * z[0, 0]).sum().item() - o) / (v + s**2)
    # u* = G' ∇_z log p(observations | z)
    gradient = backward.slopes(slope)[0] - apply(backward.precision[0], z)
    assert (gradient * push).sum().item() == pytest.approx(exact, rel=1e-7)


def test_gradients_of_the_likelihood_match_central_differences():
    times, approximation, start, _, _, gap, seen, _ = model(n_times=12)

    def loss(x):
        weights = approximation.weights(x[:2])
        equation = LinearEquation(approximation.nodes, weights, x[2:4], x[4:6])
        phi, q = transitions(equation, times.diff())
        seen_so = Observations(seen.values, seen.mask, seen.loading, x[6:8, None] ** 2)
        return log_likelihood(start, phi, q, gap, seen_so).sum()

    x = torch.cat([HURST, RATE + 0.5, SCALE, torch.tensor([0.3, 0.2], dtype=DOUBLE)])
    slopes = torch.autograd.functional.jacobian(loss, x)
    for k in range(8):
        e = 1e-5 * torch.eye(8, dtype=DOUBLE)[k]
        assert slopes[k].item() == pytest.approx(
            float(loss(x + e) - loss(x - e)) / 2e-5, rel=2e-5, abs=1e-5
        )


def test_a_step_without_noise_only_moves_the_message():
    _, _, start, phi, q, gap, seen, _ = model(n_times=3)
    information, _ = seen.information()
    chain = Chain.of(start, phi, q, gap)
    still = chain._replace(root=torch.cat([0 * chain.root[:1], chain.root[1:]]))
    backward = BackwardFilter.of(still, information)
    moved = phi[0].mT @ backward.precision[1] @ phi[0] + information[0]
    np.testing.assert_allclose(backward.precision[0], moved, atol=1e-10)
    assert torch.equal(
        backward.steps.spread[0],
        torch.eye(phi.shape[-1]).expand_as(backward.steps.spread[0]).double(),
    )
