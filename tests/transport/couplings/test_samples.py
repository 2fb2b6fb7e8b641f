"""Coupled samples: pairs, chains, masses and conditions from one place."""

import numpy as np
import pytest
import torch

from dyninfer.data.conditions import ConditionCode
from dyninfer.data.snapshots import Snapshots
from dyninfer.learning.scaling import Scaling
from dyninfer.transport.couplings import CoupledSamples, IndependentCoupling, OTCoupling

TIMES = (0.0, 1.0, 4.0)


def snapshots(sizes=(30, 40, 50), **extra):
    rng = np.random.default_rng(0)
    samples = [rng.normal(k, 1, (n, 2)) for k, n in enumerate(sizes)]
    return Snapshots(times=TIMES, samples=samples, **extra)


def coupled(data, coupling=None, **options):
    scaling = Scaling.from_samples(data.times, list(data.samples), None)
    coupling = coupling or OTCoupling()
    return CoupledSamples(data, scaling, coupling, 0, torch.device("cpu"), torch.float64, **options)


def draw(samples, k, n=4000):
    return samples.draw(torch.full((n,), k), torch.Generator().manual_seed(0))


@pytest.mark.parametrize("chains", [False, True])
@pytest.mark.parametrize("masses", [None, (1.0, 4.0, 2.0)])
def test_draws_weighted_at_either_end_have_the_mass_of_the_snapshot(chains, masses):
    samples = coupled(snapshots(masses=masses), chains=chains)
    relative = np.ones(3) if masses is None else np.array(masses) / np.mean(masses)
    for k in (0, 1):
        batch = draw(samples, k)
        np.testing.assert_allclose(batch.log_start.exp(), relative[k])
        np.testing.assert_allclose(batch.log_end.exp(), relative[k + 1])
    assert samples.weighted == (masses is not None)


@pytest.mark.parametrize("chains", [False, True])
def test_the_knots_of_a_draw_are_samples_of_their_snapshots(chains):
    data = snapshots()
    samples = coupled(data, chains=chains)
    for k in (0, 1):
        knots = draw(samples, k, 200).knots
        columns = range(3) if chains else (k, k + 1)
        assert knots.shape == (200, len(columns), 2)
        for column, snapshot in enumerate(columns):
            gap = np.abs(knots[:, column, None].numpy() - data.samples[snapshot][None])
            assert gap.max(-1).min(1).max() < 1e-12


def test_times_fall_into_their_intervals_and_spans():
    samples = coupled(snapshots())
    t = torch.tensor([0.0, 0.1, 0.25, 0.9, 1.0], dtype=torch.float64)
    interval = samples.interval(t)
    assert interval.tolist() == [0, 0, 1, 1, 1]
    start, gap = samples.span(interval)
    np.testing.assert_allclose(start, [0, 0, 0.25, 0.25, 0.25])
    np.testing.assert_allclose(gap, [0.25, 0.25, 0.75, 0.75, 0.75])


def test_conditions_share_neither_samples_nor_the_luck_of_the_draw():
    labels = [np.repeat(["a", "b"], 20)] * 3
    x = np.random.default_rng(0).normal(size=(20, 2))
    # The same cells under both conditions: with the same numbers they would have the same pairs.
    data = Snapshots(times=TIMES, samples=[np.concatenate([x, x])] * 3, conditions=labels)
    samples = coupled(data, IndependentCoupling(), code=ConditionCode.of(["a", "b"]))
    rows = samples.rows.numpy() % 40
    own = [rows[samples.condition.numpy() == number] for number in (0, 1)]
    assert own[0].max() < 20 <= own[1].min()
    assert not np.array_equal(own[0], own[1] - 20)
