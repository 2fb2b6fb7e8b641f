"""The bound of guided paths against closed forms and against plain simulation."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from dyninfer import Paths
from dyninfer.fractional import FractionalBrownianMotion, MarkovApproximation
from dyninfer.fractional.controlled import run_controlled
from dyninfer.fractional.inference import (
    Control,
    Equation,
    LinearPrior,
    Series,
    exact_log_likelihood,
    guided_paths,
)
from dyninfer.fractional.process import FractionalDiffusion
from dyninfer.fractional.solver import FractionalEuler

DOUBLE = torch.float64
REFERENCE = [20.0**p for p in (-1, -0.5, 0, 0.5, 1)]


def prior_of(noise, hurst, seen_with, drift="none", start=1e-7):
    prior = LinearPrior(
        noise,
        1,
        1,
        drift=drift,
        hurst=hurst,
        shared=True,
        tau=1.0,
        observation_noise=torch.tensor([seen_with]),
        latent=False,
        free_start=False,
    ).requires_grad_(False)
    prior.log_start.fill_(math.log(start))
    return prior


def seen(times, values):
    return Series.of(Paths(times=[times], states=[np.array(values, dtype=float)[:, None]]))


def bridge(noise, hurst, n_steps):
    """−log ∫ p(x) exp(−x²/2s²) dx at the end of a bridge from 0, by the bound; and the spread of the weights."""
    prior = prior_of(noise, hurst, 0.1)
    paths = guided_paths(Equation(prior), seen([0.0, 2.0], [np.nan, 0.0]), 50, n_steps=n_steps)
    return -paths.bound[0].item() - 0.5 * math.log(
        2 * math.pi * 0.01
    ), paths.log_weights.std().item()


@pytest.mark.parametrize(
    ("hurst", "published"), [(0.1, 2.880), (0.3, 2.666), (0.5, 2.614), (0.7, 2.642), (0.9, 2.695)]
)
def test_bound_of_the_bridge_is_its_evidence_on_the_references_nodes(hurst, published):
    noise = MarkovApproximation(
        nodes=REFERENCE, horizon=6.0, normalize="kernel", weights="single", zero_node=False
    )
    cost, spread = bridge(noise, hurst, 20)
    assert cost == pytest.approx(published, abs=0.002)
    assert spread < 1e-8


@pytest.mark.parametrize("hurst", [0.1, 0.5, 0.9])
def test_default_approximation_costs_what_exact_motion_does(hurst):
    cost, _ = bridge(MarkovApproximation(10, horizon=2.0, dt=0.01), hurst, 5)
    exact = FractionalBrownianMotion(hurst).variance(2.0).item()
    assert cost == pytest.approx(0.5 * math.log1p(exact / 0.01), abs=0.06)


@pytest.mark.parametrize("drift", ["none", "linear"])
def test_bound_is_the_exact_likelihood_of_several_observations(drift):
    prior = prior_of(MarkovApproximation(4, horizon=2.0, dt=0.05), 0.7, 0.2, drift, start=0.5)
    series = seen([0.0, 0.3, 1.0, 2.0], [0.3, 0.1, np.nan, -0.4])
    exact = exact_log_likelihood(prior, series).item()
    found = guided_paths(Equation(prior), series, 10, n_steps=1 if drift == "none" else 50)
    assert found.bound[0].item() == pytest.approx(exact, abs=1e-7 if drift == "none" else 0.03)
    assert found.log_weights.std() < 1e-8


def test_nothing_seen_costs_nothing_and_leaves_the_law_of_the_prior():
    noise = MarkovApproximation(4, horizon=1.0, dt=0.05)
    series = seen([0.0, 1.0], [0.0, 0.0])
    series = replace(series, mask=torch.zeros_like(series.mask))
    found = guided_paths(Equation(prior_of(noise, 0.7, 0.2)), series, 4000)
    assert (found.log_weights == 0).all()
    exact = noise.covariance([1.0], 0.7).item()
    assert found.states[:, 0, -1].var().item() == pytest.approx(exact, rel=0.1)


def test_later_times_cost_nothing_and_have_the_law_that_the_last_observation_leaves():
    """``dX = −θ X dt + σ dW``: from ``x`` at 0.5, mean ``x e^{−θ}`` and variance ``σ² (1 − e^{−2θ}) / 2θ`` a unit later."""
    prior = prior_of(MarkovApproximation(1, horizon=2.0, dt=0.05), 0.5, 0.01, "linear", start=0.5)
    short, long = seen([0.0, 0.5], [0.3, 0.8]), seen([0.0, 0.5, 1.5], [0.3, 0.8, np.nan])
    push = lambda t, x: 0.0 * x  # noqa: E731
    found = guided_paths(Equation(prior, push), long, 4000, n_steps=100)
    assert found.log_weights.std() < 1e-8
    assert found.bound[0].item() == pytest.approx(
        guided_paths(Equation(prior), short, 1, n_steps=100).bound[0].item(), abs=1e-9
    )
    theta, ends = prior.rate.item(), found.states[:, 0, -1, 0]
    level = prior.level.item() + (0.8 - prior.level.item()) * math.exp(-theta)
    variance = prior.scale.item() ** 2 * -math.expm1(-2 * theta) / (2 * theta)
    assert ends.var().item() == pytest.approx(variance, rel=0.1)
    assert ends.mean().item() == pytest.approx(level, abs=4 * (variance / 4000) ** 0.5 + 0.01)


def test_a_residual_that_is_wrong_lowers_the_bound_but_not_the_weighted_likelihood():
    prior = prior_of(MarkovApproximation(4, horizon=1.0, dt=0.05), 0.6, 0.2)
    series = seen([0.0, 0.5, 1.0], [0.0, 0.3, 0.5])
    exact = exact_log_likelihood(prior, series).item()
    push = Control(lambda t, x, y: 0.5 * torch.ones_like(x))
    wrong = guided_paths(Equation(prior), series, 2000, control=push)
    # A shift of W by u costs ½ u² T against the prior, and more against the posterior, which is narrower.
    assert wrong.bound[0].item() < exact - 0.5 * 0.25
    assert wrong.log_likelihood[0].item() == pytest.approx(exact, abs=0.05)


def test_weighted_likelihood_of_a_double_well_is_that_of_plain_simulation():
    noise = MarkovApproximation(4, horizon=1.0, dt=0.05)
    push = lambda t, x: 4 * x * (1 - x**2)  # noqa: E731
    series = seen([0.0, 0.5, 1.0], [0.0, 0.6, 0.9])
    equation = Equation(prior_of(noise, 0.7, 0.3), push)
    found = guided_paths(equation, series, 20_000, n_steps=25)
    run = run_controlled(
        FractionalDiffusion(push, noise, 0.7),
        torch.zeros(20_000, 1, dtype=DOUBLE),
        [0, 0.5, 1],
        solver=FractionalEuler(0.02),
    )
    error = (run.states[:, :, 0] - torch.tensor([0.0, 0.6, 0.9])) / 0.3
    density = (-0.5 * error.square() - math.log(0.3 * math.sqrt(2 * math.pi))).sum(1)
    plain = density.logsumexp(0).item() - math.log(20_000)
    assert found.log_likelihood[0].item() == pytest.approx(plain, abs=0.04)
    assert found.bound[0].item() < found.log_likelihood[0].item()


@pytest.mark.parametrize("part", ["drift", "amplitude"])
def test_gradient_of_a_field_is_the_slope_of_the_bound(part):
    """With the same normals; the field moves the draws by themselves and by what the guide knows of it."""
    noise = MarkovApproximation(3, horizon=1.0, dt=0.05)
    series = seen([0.0, 0.5, 1.0], [0.0, 1.1, -0.4])

    def bound(size):
        fields = {
            "drift": lambda t, x: 3 * size * x * (1 - x**2),
            "amplitude": lambda t, x: (0.5 * size * x.tanh()).exp(),
        }
        equation = Equation(prior_of(noise, 0.7, 0.3), **{part: fields[part]})
        return guided_paths(equation, series, 20, n_steps=5).bound.sum()

    size = torch.tensor(1.0, dtype=DOUBLE, requires_grad=True)
    (slope,) = torch.autograd.grad(bound(size), size)
    difference = (bound(size.detach() + 1e-5) - bound(size.detach() - 1e-5)) / 2e-5
    assert slope.item() == pytest.approx(difference.item(), rel=1e-5)


def test_linear_drift_outside_the_linear_part_leaves_the_bound_exact():
    """The guide linearises the drift: of a linear one it knows all, and every weight is the evidence."""
    noise = MarkovApproximation(4, horizon=2.0, dt=0.05)
    series = seen([0.0, 0.3, 1.0, 2.0], [0.3, 0.1, np.nan, -0.4])
    inside = prior_of(noise, 0.7, 0.2, "linear", start=0.5)
    outside = prior_of(noise, 0.7, 0.2, "none", start=0.5)
    rate, level = inside.rate, inside.level
    equation = Equation(outside, lambda t, x: -rate * (x - level))
    found = guided_paths(equation, series, 20, n_steps=10)
    assert found.log_weights.std() < 1e-8
    assert found.bound[0].item() == pytest.approx(
        guided_paths(Equation(inside), series, 1, n_steps=10).bound[0].item(), abs=1e-8
    )


def test_constant_amplitude_outside_the_linear_part_leaves_the_bound_exact():
    noise = MarkovApproximation(4, horizon=2.0, dt=0.05)
    series = seen([0.0, 0.3, 1.0, 2.0], [0.3, 0.1, np.nan, -0.4])
    loud = prior_of(noise, 0.3, 0.2)
    loud.log_amplitude.fill_(math.log(1.7))
    equation = Equation(prior_of(noise, 0.3, 0.2), amplitude=lambda t, x: 1.7 * torch.ones_like(x))
    found = guided_paths(equation, series, 20)
    assert found.bound[0].item() == pytest.approx(
        exact_log_likelihood(loud, series).item(), abs=1e-7
    )


def test_geometric_noise_has_the_law_that_the_chain_rule_gives():
    """``dX = X ∘ dB̂`` is ``X_0 exp(B̂)``: its logarithm is seen in closed form."""
    noise = MarkovApproximation(4, horizon=1.0, dt=0.05)
    times = [0.0, 0.5, 1.0]
    log_x = torch.tensor([0.0, 0.3, 0.5], dtype=DOUBLE)
    spread = 0.02
    prior = prior_of(noise, 0.7, spread)
    prior.start_mean.fill_(1.0)
    series = seen(times, log_x.exp().tolist())
    equation = Equation(prior, amplitude=lambda t, x: x)
    found = guided_paths(equation, series, 2000, n_steps=32)
    covariance = noise.covariance(times[1:], 0.7) + torch.diag((spread / log_x[1:].exp()) ** 2)
    law = torch.distributions.MultivariateNormal(torch.zeros(2, dtype=DOUBLE), covariance)
    start = -0.5 * math.log(2 * math.pi * spread**2)
    exact = law.log_prob(log_x[1:]) - log_x[1:].sum() + start
    assert found.log_likelihood[0].item() == pytest.approx(exact.item(), abs=0.03)
    assert found.bound[0].item() > exact.item() - 0.5
