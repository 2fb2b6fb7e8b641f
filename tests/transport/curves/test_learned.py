"""The learned curve of pairs: exact at the data, its motion the derivative of its position, its noise a bridge's."""

import math

import numpy as np
import pytest
import torch

from dyninfer.data.snapshots import Snapshots
from dyninfer.learning.scaling import Scaling
from dyninfer.transport.couplings import CoupledSamples, as_coupling, natural_couplings
from dyninfer.transport.curves.learned import LearnedCurve, PairBatch
from dyninfer.transport.lagrangians import ScaledLagrangian

CPU, F64 = torch.device("cpu"), torch.float64
TIMES = (2.0, 3.0, 7.0)
MASSES = (1.0, 4.0, 2.0)
KINDS = {
    "transport": ({}, None),
    "bridge": ({"sigma": 0.7}, None),
    "unbalanced": ({"growth_penalty": 2.0}, None),
    "unbalanced with masses": ({"growth_penalty": 2.0}, MASSES),
    "constrained": ({"growth_penalty": 2.0, "constrained": True}, None),
    "constrained with masses": ({"growth_penalty": 2.0, "constrained": True}, MASSES),
    "unbalanced bridge": ({"growth_penalty": 2.0, "sigma": 0.7}, MASSES),
}


def made(kind, bent=True, coupling=None):
    """A curve with a correction that is far from zero."""
    settings, masses = KINDS[kind]
    rng = np.random.default_rng(0)
    samples = [rng.normal([k, -2.0 * k], 1 + 0.3 * k, (n, 2)) for k, n in enumerate((40, 50, 60))]
    data = Snapshots(times=TIMES, samples=samples, masses=masses)
    scaling = Scaling.from_samples(data.times, samples)
    lagrangian = ScaledLagrangian(**settings)
    gaps = np.diff(scaling.times(data.times))
    found = natural_couplings(lagrangian, gaps)
    if coupling is not None:
        found = as_coupling(coupling)
    torch.manual_seed(0)
    curve = LearnedCurve(CoupledSamples(data, scaling, found, 0, CPU, F64), lagrangian, width=16)
    if bent:
        with torch.no_grad():
            curve.output.weight.normal_(std=0.5)
            curve.output.bias.normal_()
    return curve.requires_grad_(False), data, scaling


def batch_at(curve, t, seed=0, noise=True):
    t = torch.as_tensor(t, dtype=F64)
    g = torch.Generator().manual_seed(seed)
    pairs = curve.samples.draw(curve.samples.interval(t), g)
    z = torch.randn(len(t), 2, generator=g, dtype=F64) if noise and curve.lagrangian.sigma else None
    return PairBatch(t, torch.ones_like(t), pairs, z, None)


def inner_times(n=200):
    """Times away from the snapshots, which scaled lie at 0, 0.2 and 1."""
    t = torch.rand(n, generator=torch.Generator().manual_seed(3), dtype=F64)
    return t[(t - 0.2).abs() > 1e-3].clamp(1e-3, 1 - 1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_the_curve_is_at_the_data_at_the_times_of_the_data_whatever_it_has_learned(kind):
    curve, data, scaling = made(kind)
    for k, t in enumerate(scaling.times(data.times)):
        batch = batch_at(curve, np.full(300, t))
        point = curve.point(batch)
        last = k == len(TIMES) - 1
        wanted = batch.pairs.target if last else batch.pairs.source
        log_weight = batch.pairs.log_end if last else batch.pairs.log_start
        carried = log_weight.exp() > 1e-6  # what is about to be created has no place yet
        torch.testing.assert_close(point.state[carried], wanted[carried], rtol=0, atol=1e-6)
        torch.testing.assert_close(point.weight, log_weight.exp(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_curve_arrives_where_the_next_interval_begins(kind):
    curve, _, scaling = made(kind)
    batch = batch_at(curve, np.full(300, 0.2 - 1e-9))
    point = curve.point(batch)
    carried = batch.pairs.log_end.exp() > 1e-6
    slack = 1e-6 + 5e-4 * (batch.noise is not None)  # σ √(δ Δt) of the bridge
    torch.testing.assert_close(
        point.state[carried], batch.pairs.target[carried], rtol=0, atol=slack
    )
    torch.testing.assert_close(point.weight, batch.pairs.log_end.exp(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_velocity_and_mass_rate_are_derivatives_in_time(kind):
    curve, _, _ = made(kind)
    batch = batch_at(curve, inner_times(), noise=False)
    here = curve.point(batch)

    def place(t):
        point = curve.point(batch._replace(time=t))
        return point.state, point.weight

    _, (velocity, weight_rate) = torch.func.jvp(
        place, (batch.time,), (torch.ones_like(batch.time),)
    )
    torch.testing.assert_close(here.velocity, velocity, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(here.weight_rate, weight_rate, rtol=1e-6, atol=1e-6)
    assert float(here.velocity.abs().mean()) > 0.1


@pytest.mark.parametrize("kind", ["transport", "bridge"])
def test_the_velocity_of_an_uncorrected_pair_leads_straight_to_its_end(kind):
    # The drift of a Brownian bridge is (x1 − x)/(t1 − t), noise or none.
    curve, _, _ = made(kind, bent=False)
    batch = batch_at(curve, inner_times())
    point, pairs = curve.point(batch), batch.pairs
    start, gap = curve.samples.span(pairs.interval)
    left = start + gap - batch.time
    torch.testing.assert_close(point.velocity, (pairs.target - point.state) / left[:, None])


@pytest.mark.parametrize("kind", ["bridge", "unbalanced bridge"])
def test_noise_has_the_variance_and_the_pull_of_a_brownian_bridge(kind):
    curve, _, _ = made(kind)
    for t in (0.05, 0.19, 0.4, 0.9):
        batch = batch_at(curve, np.full(20_000, t))
        point, mean = curve.point(batch), curve.point(batch._replace(noise=None))
        gap = point.state - mean.state
        start, length = (0.0, 0.2) if t < 0.2 else (0.2, 0.8)
        tau = (t - start) / length
        assert float(gap.var()) == pytest.approx(0.7**2 * tau * (1 - tau) * length, rel=0.03)
        pull = -gap / (start + length - t)
        torch.testing.assert_close(point.velocity - mean.velocity, pull)
        torch.testing.assert_close(point.weight, mean.weight)


@pytest.mark.parametrize("kind", ["constrained", "constrained with masses"])
def test_the_total_mass_of_the_arcs_is_the_one_that_is_prescribed(kind):
    curve, data, scaling = made(kind, bent=False)
    for t in (0.0, 0.1, 0.15, 0.5, 0.8, 1.0):
        batch = batch_at(curve, np.full(40_000, t), seed=1)
        weight = curve.point(batch).weight
        relative = np.ones(3) if data.masses is None else data.masses / data.masses.mean()
        given = math.exp(np.interp(t, [0.0, 0.2, 1.0], np.log(relative)))
        torch.testing.assert_close(
            curve.prescribed_mass(batch)[:1], torch.tensor([given], dtype=F64)
        )
        assert float(weight.mean()) == pytest.approx(given, rel=0.02)


def test_free_mass_dips_between_snapshots_and_prescribed_mass_does_not():
    free, held = (made(kind, bent=False)[0] for kind in ("unbalanced", "constrained"))
    mass = [float(p.point(batch_at(p, np.full(20_000, 0.6))).weight.mean()) for p in (free, held)]
    assert mass[0] < 0.97
    assert mass[1] == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_pairs_drawn_with_their_weights_reproduce_the_snapshots(kind):
    curve, data, scaling = made(kind)
    for k, t in enumerate(scaling.times(data.times)):
        batch = batch_at(curve, np.full(60_000, t), seed=k)
        point = curve.point(batch)
        z = torch.as_tensor(scaling.states(data.samples[k]))
        relative = 1.0 if data.masses is None else data.masses[k] / data.masses.mean()
        mean = (point.weight[:, None] * point.state).mean(0) / relative
        scatter = (point.weight[:, None] * point.state.square()).mean(0) / relative
        assert float(point.weight.mean()) == pytest.approx(relative, rel=0.02)
        np.testing.assert_allclose(mean, z.mean(0), atol=0.03)
        np.testing.assert_allclose(scatter, z.square().mean(0), rtol=0.05, atol=0.02)
