"""The linear part of an interpolant's velocity: right for normal populations, before training."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import dyninfer as di
from dyninfer.learning.networks import VectorNetwork
from dyninfer.transport.couplings import Coupled
from dyninfer.transport.interpolants import Interpolant
from dyninfer.transport.linear_part import PairMoments
from dyninfer.transport.objectives.rows import SameRows


class Curve(Interpolant):
    """Straight lines, of which only points are known."""

    def position(self, t, x0, x1):
        return x0 + t * (x1 - x0)


# Mean and standard deviation of two populations with independent features. The third is small
# beside the others, as the last principal components are.
STARTS = np.array([[1.0, 1.0], [2.0, 3.0], [0.0, 0.01]])
ENDS = np.array([[2.0, 2.0], [0.0, 1.5], [0.0, 0.02]])
# Of two samples of 4,000 and of 16,384 pairs: three standard errors of a variance.
PRECISION = 0.05


def samples_of(moments: np.ndarray, seed: int) -> np.ndarray:
    """4,000 normal samples."""
    rng = np.random.default_rng(seed)
    mean, std = moments.T
    return rng.normal(mean, std, (4000, len(mean)))


def normal_pairs() -> di.Snapshots:
    return di.Snapshots(times=[10.0, 12.0], samples=[samples_of(STARTS, 0), samples_of(ENDS, 1)])


def without_network(snapshots: di.Snapshots, **settings: object) -> di.StochasticInterpolant:
    """A fit of one step whose network then answers zero: the linear part is left."""
    model = di.StochasticInterpolant(linear_part=True, coupling="independent", **settings)
    model.fit(snapshots, max_steps=1, progress=False)
    for parameter in model.process_.inner.network.network.parameters():
        parameter.data.zero_()
    return model


def untrained(**settings: object) -> di.StochasticInterpolant:
    return without_network(normal_pairs(), **settings)


@pytest.mark.parametrize("part", [0.0, 0.3, 0.5, 1.0])
def test_velocity_of_independent_normal_pairs_is_that_of_the_closed_form(part):
    velocity = untrained(gamma="none").process_.drift(10 + 2 * part, torch.zeros(1, 3))
    (m0, s0), (m1, s1) = STARTS.T, ENDS.T
    variance = (1 - part) ** 2 * s0**2 + part**2 * s1**2
    slope = part * s1**2 - (1 - part) * s0**2
    center = (1 - part) * m0 + part * m1
    expected = (m1 - m0 - slope / variance * center) / 2
    scale = np.maximum(s0, s1)
    np.testing.assert_allclose(velocity[0].numpy() / scale, expected / scale, atol=PRECISION)


@pytest.mark.parametrize("interpolant", ["linear", "trigonometric"])
def test_it_carries_normal_populations_into_each_other(interpolant):
    model = untrained(gamma="none", interpolant=interpolant)
    run = model.simulate(samples_of(STARTS, 2), [10.0, 11.0, 12.0], seed=0)
    _, middle, end = run.states.numpy().swapaxes(0, 1)
    (_, s0), (_, s1) = STARTS.T, ENDS.T
    np.testing.assert_allclose(end.std(0) / s1, 1, atol=PRECISION)
    np.testing.assert_allclose((end.mean(0) - ENDS[:, 0]) / s1, 0, atol=PRECISION)
    # Partners know nothing of each other, and half of either's deviation is left, or √½ of it.
    part = 0.5 if interpolant == "linear" else np.sqrt(0.5)
    halfway = part * np.sqrt(s0**2 + s1**2)
    np.testing.assert_allclose(middle.std(0) / halfway, 1, atol=PRECISION)


def test_a_feature_that_is_narrow_beside_the_noise_is_left_to_the_network():
    coefficients = untrained().process_.inner.network.coefficients
    of_features = coefficients.unflatten(2, (2, 3)).abs().sum((0, 1, 2))
    assert (of_features > 0).tolist() == [True, True, False]


def test_divergence_is_the_trace_of_the_jacobian():
    inner = untrained().process_.inner
    x = torch.randn(4, 3, dtype=torch.float64)
    t = torch.tensor([0.1, 0.4, 0.5, 0.9], dtype=torch.float64)
    inner = inner.double()

    def velocity(states: torch.Tensor) -> torch.Tensor:
        return inner.drift(t, states)

    jacobian = torch.autograd.functional.jacobian(velocity, x)
    trace = torch.einsum("nini->n", jacobian)
    torch.testing.assert_close(inner.divergence(t, x), trace)


def test_one_time_for_all_states_is_as_good_as_one_for_each():
    process = untrained(interpolant="encoder-decoder").process_
    x = torch.randn(6, 3)
    each = process.drift(torch.full((6,), 11.3), x)
    torch.testing.assert_close(process.drift(11.3, x), each)


def test_what_never_changes_and_what_meets_in_a_point_is_finite():
    rng = np.random.default_rng(0)
    start = rng.normal(size=(200, 2))
    start[:, 1] = 3.0
    # Partners on opposite sides of zero meet there halfway.
    pairs = di.Snapshots(times=[0.0, 1.0], samples=[start, [-1, 1] * start])
    model = di.StochasticInterpolant(linear_part=True, gamma="none", coupling=SameRows())
    model.fit(pairs, max_steps=1, progress=False)
    run = model.simulate(start, [0.0, 0.5, 1.0], seed=0)
    assert run.states.isfinite().all()


def test_chains_through_all_snapshots_are_followed_too():
    times = [0.0, 1.0, 2.0]
    samples = [samples_of(moments, seed) for seed, moments in enumerate((STARTS, ENDS, STARTS))]
    snapshots = di.Snapshots(times=times, samples=samples)
    model = without_network(snapshots, gamma="none", interpolant="spline")
    run = model.simulate(samples[0], times, seed=0)
    for k in (1, 2):
        states = run.states[:, k].numpy()
        std = samples[k].std(0)
        np.testing.assert_allclose(states.std(0) / std, 1, atol=PRECISION)
        shift = states.mean(0) - samples[k].mean(0)
        np.testing.assert_allclose(shift / std, 0, atol=PRECISION)


def test_pairs_count_with_their_mass():
    # Of two groups of cells that stay where they are, one grows to four times its number.
    states = np.repeat([[-1.0], [1.0]], 50, axis=0)
    grown = np.repeat([1.0, 4.0], 50)
    pairs = Coupled(
        interval=torch.zeros(100, dtype=torch.long),
        knots=torch.as_tensor(np.stack([states, states], 1)),
        log_start=torch.zeros(100),
        log_end=torch.as_tensor(np.log(grown)),
        code=None,
    )
    mean, covariance, _ = PairMoments.of(pairs, torch.ones(1))
    # Halfway the groups weigh 1 and 2.5, half of what they are before and after.
    share = 2.5 / 3.5
    torch.testing.assert_close(mean, torch.full((2, 1), 2 * share - 1).double())
    expected = torch.full((2, 2, 1), 4 * share * (1 - share)).double()
    torch.testing.assert_close(covariance, expected)


def test_a_file_brings_the_linear_part_back(tmp_path):
    model = untrained()
    path = tmp_path / "model.safetensors"
    model.save(path)
    again = di.load(path)
    x = torch.randn(5, 3)
    assert again.linear_part
    assert torch.equal(again.process_.drift(10.7, x), model.process_.drift(10.7, x))


def test_a_network_of_ones_own_stands_on_it_too():
    own = VectorNetwork(3, 3, width=4, depth=1)
    plain = untrained().process_
    x = torch.zeros(4, 3)
    added = untrained(network=own).process_
    torch.testing.assert_close(added.drift(11.0, x), plain.drift(11.0, x))


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"bridge_sigma": 0.5}, "bridge_sigma=0.5"),
        ({"interpolant": "one-sided"}, "interpolant='one-sided'"),
        ({"interpolant": Curve()}, "interpolant=Curve"),
    ],
)
def test_where_pairs_have_no_moments_it_is_refused(settings, name):
    with pytest.raises(ValueError, match=f"linear_part=True .*found {name}.*leave one"):
        di.StochasticInterpolant(linear_part=True, **settings).fit(normal_pairs())
    assert "linear_part" not in di.StochasticInterpolant(**settings).search_space()
