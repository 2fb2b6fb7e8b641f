"""Masses of the data in every method that learns growth: totals, and times that count alike."""

import numpy as np
import pytest
import torch

import dyninfer as di

TIMES = [0.0, 1.0, 2.0, 3.0]


def snapshots(masses, n=200):
    rng = np.random.default_rng(0)
    centres = [(0, 0), (3, 0), (3, 3), (6, 3)]
    samples = [rng.normal(size=(n, 2)) * 0.3 + c for c in centres]
    return di.Snapshots(times=TIMES, samples=samples, masses=masses)


def fitted(model, data, steps):
    training = di.Training(max_steps=steps, batch_size=256, validation_fraction=0.0)
    return model.set_params(training=training).fit(data, progress=False)


@pytest.mark.parametrize("factor", [2.0, 20.0])
@pytest.mark.filterwarnings("ignore:the scores at")
def test_growth_of_all_cells_alike_is_known_and_moves_early_times_as_late_ones(factor):
    def model():
        return di.StochasticInterpolant(width=32, depth=2)

    data = snapshots([factor**k for k in range(4)])
    table = fitted(model(), data, 400).evaluate(data, metrics=["w1"])
    even = snapshots(None)
    plain = fitted(model(), even, 400).evaluate(even, metrics=["w1"])
    np.testing.assert_allclose(table.mass, factor, rtol=0.01)
    # Weighed by mass, the first interval would be one part in 400 of the loss.
    assert (table.w1 < 1.5 * plain.w1 + 0.1).all()


@pytest.mark.filterwarnings("ignore:the scores at")
def test_action_matching_keeps_the_total_of_a_population_that_moves():
    for masses, right in ((None, 1.0), ([1.0, 8.0, 64.0, 512.0], 8.0)):
        data = snapshots(masses)
        model = di.ActionMatching(growth_penalty=0.05, width=32, depth=2)
        table = fitted(model, data, 300).evaluate(data, metrics=["w1"])
        # Cells that miss the data by a little still have its growth, on average.
        np.testing.assert_allclose(table.mass, right, rtol=0.1)


def test_growth_far_from_the_data_is_bounded_by_twice_its_range_there():
    data = snapshots(None)
    model = fitted(di.ActionMatching(growth_penalty=1.0, width=32, depth=2), data, 100)
    law = model.process_.inner.law
    far = torch.as_tensor(1e4 * data.samples[1])
    growth = model.process_.growth(1.5, far) * 3  # of the three time units, as inside
    rate, low, high = (float(x[3]) for x in (law.rate, law.low, law.high))
    half = 0.5 * (high - low)
    assert float(growth.max()) <= rate + high + half + 1e-3
    assert float(growth.min()) >= rate + low - half - 1e-3
