"""`noise_scale`: noise of a bridge between snapshots, in the units of the data."""

import numpy as np
import pytest

import dyninfer as di
from dyninfer.transport.couplings import EntropicOTCoupling
from dyninfer.transport.couplings.problem import TransportProblem, squared_distances


def gaussian(shift, std=1.0, n=20_000, dimension=3, seed=0):
    rng = np.random.default_rng(seed)
    return (shift + std * rng.normal(size=(n, dimension))).astype(np.float32)


def snapshots(speed=1.0, unit=1.0, clock=1.0):
    times = [0.0, 1.0, 3.0]
    samples = [unit * gaussian(speed * t, seed=k) for k, t in enumerate(times)]
    return di.Snapshots(times=[clock * t for t in times], samples=samples)


def test_it_is_that_of_the_bridge_whose_plan_has_this_entropy():
    # D is |shift|² + 2 d: over one unit of time 3 + 6, over the next two 12 + 6.
    expected = np.sqrt(0.1 * (9 + 18) / (2 * 3))
    assert di.tl.noise_scale(snapshots()) == pytest.approx(expected, rel=0.01)
    twice = di.tl.noise_scale(snapshots(), regularization=0.2)
    assert twice == pytest.approx(np.sqrt(2) * expected, rel=0.01)


def test_a_coupling_with_this_noise_has_the_plan_of_that_regularization():
    x, y = gaussian(0, n=60, seed=1), gaussian(0.5, n=60, seed=2)
    sigma = di.tl.noise_scale(di.Snapshots(times=[2.0, 5.0], samples=[x, y]))
    problem = TransportProblem(squared_distances(x, y), np.full(60, 1 / 60), np.full(60, 1 / 60))
    by_noise = EntropicOTCoupling(sigma=sigma, duration=3.0).solution(problem)
    by_share = EntropicOTCoupling(regularization=0.1).solution(problem)
    assert by_noise.epsilon == pytest.approx(by_share.epsilon, rel=1e-5)


def test_it_has_the_units_of_the_states_and_of_time():
    sigma = di.tl.noise_scale(snapshots())
    assert di.tl.noise_scale(snapshots(unit=10)) == pytest.approx(10 * sigma, rel=1e-5)
    # Days as hours.
    assert di.tl.noise_scale(snapshots(clock=24)) == pytest.approx(sigma / 24**0.5, rel=1e-5)


def test_cells_that_are_held_out_have_no_part_in_it():
    data = snapshots()
    spoilt = [data.samples[0], np.full_like(data.samples[1], np.nan), data.samples[2]]
    broken = di.Snapshots(times=data.times, samples=spoilt)
    of_two = di.Snapshots(times=data.times[[0, 2]], samples=[data.samples[0], data.samples[2]])
    sigma = di.tl.noise_scale(broken, hold_out=1.0)
    assert sigma == di.tl.noise_scale(of_two)
    with pytest.raises(ValueError, match="1"):
        di.tl.noise_scale(broken)


def test_columns_of_an_anndata_are_those_of_the_fit():
    data = snapshots().subsample(200)
    weights = [np.linspace(0, 1, len(sample)) for sample in data.samples]
    weighted = di.Snapshots(times=data.times, samples=data.samples, weights=weights)
    adata = weighted.to_anndata()
    adata.obs["part"] = np.concatenate(weights)
    keys = {"time_key": "time", "use_rep": "X"}
    assert di.tl.noise_scale(adata, **keys) == pytest.approx(di.tl.noise_scale(data))
    by_weight = di.tl.noise_scale(adata, **keys, weight_key="part")
    assert by_weight == pytest.approx(di.tl.noise_scale(weighted))
    assert by_weight != pytest.approx(di.tl.noise_scale(data))


@pytest.mark.parametrize("regularization", [0, -1, np.nan, np.inf, "much", True])
def test_a_regularization_is_positive(regularization):
    with pytest.raises(ValueError, match="regularization must be positive"):
        di.tl.noise_scale(snapshots(), regularization=regularization)


def test_cells_without_a_spread_set_no_scale():
    same = di.Snapshots(times=[0.0, 1.0], samples=[np.ones((30, 2)), np.ones((30, 2))])
    with pytest.raises(ValueError, match="so no scale can be found"):
        di.tl.noise_scale(same)
