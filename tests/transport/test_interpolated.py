"""The interpolated process against its network: units, heads, conditions."""

import copy

import numpy as np
import pytest
import torch

from dyninfer.data.conditions import ConditionCode
from dyninfer.data.mixing import Mixing
from dyninfer.diffusions import BoundedGrowth, ScaledDiffusion
from dyninfer.diffusions.conditioned_growth import GrowthByCondition
from dyninfer.learning.networks import VectorNetwork
from dyninfer.learning.scaling import Scaling
from dyninfer.transport.interpolants import BrownianNoise, LinearInterpolant, OneSidedInterpolant
from dyninfer.transport.interpolated import GaussianBase, InterpolatedDiffusion, SecondNetwork
from dyninfer.transport.objectives.settling import mass_of_run
from dyninfer.transport.schedule import Schedule

SCALING = Scaling(
    shift=np.array([1.0, -2.0]), scale=np.array([3.0, 3.0]), start=5.0, duration=4.0, unit=3.0
)
UNEVEN = Scaling(shift=[1.0, -2.0], scale=[0.5, 2.0], start=5.0, duration=4.0, unit=1.0)
KNOTS = np.array([0.0, 0.25, 1.0])


def law_of(code, knots):
    if code is None:
        return BoundedGrowth(knots, np.zeros(len(knots)))
    names = code.labels
    unchanged = np.zeros((len(names), len(knots)))
    return GrowthByCondition(knots, unchanged, Mixing(code, names), 2, mass_of_run)


def process(head="score", grows=True, code=None, interpolant=None, scaling=SCALING):
    torch.manual_seed(0)
    interpolant = interpolant or LinearInterpolant()
    noise = None if interpolant.gaussian_base else BrownianNoise()
    knots = np.array([0.0, 1.0]) if interpolant.gaussian_base else KNOTS
    told = code.size if code else 0
    network = VectorNetwork(2, 2 + grows, 16, 2, n_conditions=told)
    second = None
    if head:
        second = SecondNetwork(VectorNetwork(2, 2, 16, 2, n_conditions=told), head)
    schedule = Schedule(interpolant, noise, knots, a=0.5)
    base = None
    if interpolant.gaussian_base:  # standard normal in the units of the data
        base = GaussianBase(-scaling.shift / scaling.scale, 1 / scaling.scale)
    law = law_of(code, knots) if grows else None
    inner = InterpolatedDiffusion(network, schedule, second=second, law=law, code=code, base=base)
    return ScaledDiffusion(inner, scaling).double()


def denoiser(p, t, x):
    return p.inner.denoiser((t - 5) / 4, (x - p.scaling.shift) / p.scaling.scale)


def points(n=7):
    g = torch.Generator().manual_seed(1)
    return torch.linspace(5.1, 8.9, n).double(), torch.randn(n, 2, generator=g).double() * 3


def outputs(p, t, x):
    return p.inner.fields((t - 5) / 4, (x - p.scaling.shift) / p.scaling.scale, None)


def test_fields_are_the_network_in_the_units_of_the_data():
    p, (t, x) = process(), points()
    out = outputs(p, t, x)
    torch.testing.assert_close(p.drift(t, x), out[:, :2] * 3 / 4)
    torch.testing.assert_close(p.growth(t, x), out[:, 2] / 4)
    torch.testing.assert_close(p.score(t, x), out[:, 3:] / 3)


def test_all_fields_together_are_the_fields_one_by_one():
    for head in ("score", "denoiser"):
        p, (t, x) = process(head), points()
        drift, growth, score = p.drift_growth_and_score(t, x)
        torch.testing.assert_close(drift, p.drift(t, x))
        torch.testing.assert_close(growth, p.growth(t, x))
        torch.testing.assert_close(score, p.score(t, x))
        torch.testing.assert_close(p.drift_and_growth(t, x)[0], drift)


@pytest.mark.parametrize("head", ["score", "denoiser"])
def test_denoiser_is_minus_gamma_times_score_away_from_the_ends(head):
    p = process(head)
    x = points()[1]
    for t, knot, end in ((5.5, 5.0, 6.0), (8.0, 6.0, 9.0)):
        # γ² = a (t − t_k)(t_{k+1} − t)/Δ in scaled time, one scaled unit being 3
        gamma = 3 * (0.5 * (t - knot) * (end - t) / (end - knot) / 4) ** 0.5
        torch.testing.assert_close(denoiser(p, t, x), -gamma * p.score(t, x), rtol=1e-6, atol=1e-9)


def test_score_is_finite_at_every_snapshot():
    for head in ("score", "denoiser"):
        p, x = process(head), points()[1]
        for t in (5.0, 6.0, 9.0):
            assert bool(p.score(t, x).isfinite().all())


def test_score_from_the_denoiser_is_that_of_the_margin_within_it():
    p, x = process("denoiser"), points()[1]
    inside = 5.0 + 0.02 * 1.0
    torch.testing.assert_close(p.score(5.0, x), p.score(inside, x))
    torch.testing.assert_close(p.score(5.001, x), p.score(inside, x))
    assert not torch.allclose(p.score(5.03, x), p.score(inside, x))


def test_noise_of_a_one_sided_start_is_standard_in_the_units_of_the_data():
    p, x = process(interpolant=OneSidedInterpolant()), points()[1]
    torch.testing.assert_close(denoiser(p, 7.0, x), -0.5 * p.score(7.0, x), rtol=1e-6, atol=1e-9)


def test_without_noise_there_is_no_score_and_without_growth_none():
    p, (t, x) = process(None, grows=False), points()
    assert p.score(t, x) is None
    assert denoiser(p, t, x) is None
    assert p.growth(t, x) is None
    assert p.diffusion(t, x) is None


def test_divergence_is_the_trace_of_the_jacobian():
    for scaling in (SCALING, UNEVEN):
        p, (t, x) = process(scaling=scaling), points()
        jacobian = torch.func.vmap(
            torch.func.jacrev(lambda u, y, p=p: p.drift(u[None], y[None])[0], 1)
        )(t, x)
        torch.testing.assert_close(p.divergence(t, x), jacobian.diagonal(dim1=1, dim2=2).sum(1))


def test_hutchinson_divergence_of_the_network_is_right_in_the_mean():
    network = process().inner.network
    t, x = torch.full((1,), 0.3).double(), points(1)[1]
    exact = network.divergence(t, x, torch.eye(2).double())
    signs = (
        torch.randint(0, 2, (20_000, 1, 2), generator=torch.Generator().manual_seed(0)).double() * 2
        - 1
    )
    found = network.divergence(t.expand(20_000), x.expand(20_000, 2), signs)
    found, exact = found.detach(), exact.detach()
    assert abs(float(found.mean() - exact)) < 4 * float(found.std()) / 20_000**0.5


def test_time_derivative_of_the_network_is_that_of_finite_differences():
    network = process().inner.network
    t, x = points()
    t, h = (t - 5) / 4, 1e-6
    value, rate = network.with_rate(t, x)
    torch.testing.assert_close(value, network(t, x))
    torch.testing.assert_close(
        rate, (network(t + h, x) - network(t - h, x)) / (2 * h), atol=1e-7, rtol=1e-6
    )


def test_conditions_reach_the_network_and_share_its_parameters():
    p, (t, x) = process(code=ConditionCode.of(["a", "b"])), points()
    a, b = p.given("a"), p.given("b")
    assert not torch.allclose(a.drift(t, x), b.drift(t, x))
    assert a.inner.network is p.inner.network
    assert p.inner.condition is None
    with pytest.raises(ValueError, match="name one"):
        p.drift(t, x)
    with pytest.raises(ValueError, match="has no conditions"):
        process().given("a")


def test_code_of_numbers_is_standardised_and_takes_any_number():
    code = ConditionCode.of([0, 1, 2.0, 5e0])
    assert code.size == 1
    np.testing.assert_allclose(code.encode([0, "1", 2, 5]).std(), 1.0)
    np.testing.assert_allclose(code.encode([2.0]), 0.0)
    with pytest.raises(ValueError, match="'high' is not a number"):
        code.encode(["high"])


def test_code_of_combinations_is_the_sum_of_their_parts():
    code = ConditionCode.of(["control", "A", "B"])
    np.testing.assert_array_equal(code.encode(["A+B"]), code.encode(["A"]) + code.encode(["B"]))
    with pytest.raises(ValueError, match="'C' was not in the data; known are 'A', 'B', 'control'"):
        code.encode(["A+C"])


def test_a_copy_moves_between_precisions_with_its_condition():
    p = copy.deepcopy(process(code=ConditionCode.of(["a", "b"]))).float()
    assert p.given("b").drift(6.0, torch.zeros(2, 2)).dtype == torch.float32
