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
        model = fitted(di.ActionMatching(growth_penalty=0.05, width=32, depth=2), data, 300)
        times = np.linspace(0, 3, 13)
        run = model.simulate(data.at(0.0), times)
        # At every snapshot, however much has been missed after so few steps.
        np.testing.assert_allclose((run.mass / right**times)[::4], 1, rtol=0.001)
        # Between them the total is learned.
        np.testing.assert_allclose(run.mass / right**times, 1, rtol=0.05)
        # From the cells of each time anew, what was missed counts.
        table = model.evaluate(data, metrics=["w1"])
        np.testing.assert_allclose(table.mass, right, rtol=0.15)


def test_growth_far_from_the_data_is_bounded_by_twice_its_range_there():
    data = snapshots(None)
    model = fitted(di.ActionMatching(growth_penalty=1.0, width=32, depth=2), data, 100)
    law = model.process_.inner.law
    far = torch.as_tensor(1e4 * data.samples[1])
    growth = model.process_.growth(1.5, far) * 3  # of the three time units, as inside
    low, high = (float(x[3]) for x in (law.low, law.high))
    rate = float(law.mean(torch.tensor([0.5])))
    half = 0.5 * (high - low)
    assert float(growth.max()) <= rate + high + half + 1e-3
    assert float(growth.min()) >= rate + low - half - 1e-3


def two_groups(seed, n=200):
    """Both move alike; the upper one grows fourfold a time, the lower one not at all."""
    rng = np.random.default_rng(seed)
    samples, rates = [], []
    for k in range(3):
        is_upper = rng.random(n) < 4**k / (4**k + 1)
        x = rng.normal(size=(n, 2)) * 0.5 + (2.0 * k, 0.0)
        x[is_upper, 1] += 6
        samples.append(x)
        rates.append(np.where(is_upper, np.log(4), 0.0))
    masses = [(4**k + 1) / 2 for k in range(3)]
    return di.Snapshots(times=TIMES[:3], samples=samples, masses=masses), rates


def flow(**settings):
    return di.WassersteinLagrangianFlow(lagrangian=di.UnbalancedTransport(0.1), **settings)


def interpolant(**settings):
    return di.StochasticInterpolant(coupling="unbalanced", **settings)


def suggested(**settings):
    return di.ActionMatching(growth_penalty="auto", **settings)


def suggested_flow(**settings):
    return di.WassersteinLagrangianFlow(lagrangian=di.UnbalancedTransport("auto"), **settings)


@pytest.mark.parametrize("method", [suggested, interpolant, flow])
@pytest.mark.filterwarnings("ignore:the scores at", "ignore:below the floor")
def test_growth_of_two_groups_is_known_cell_by_cell(method):
    data, rates = two_groups(0)
    model = fitted(method(width=32, depth=2), data, 400)
    growth = []
    for time, x in zip(data.times, data.samples, strict=True):
        x = torch.as_tensor(x, dtype=torch.float32)
        growth.append(model.process_.growth(float(time), x).numpy())
    assert np.corrcoef(np.concatenate(growth), np.concatenate(rates))[0, 1] > 0.85
    table = model.evaluate(data, metrics=["w1"])
    np.testing.assert_allclose(table.mass, table.mass_observed, rtol=0.1)


@pytest.mark.parametrize("method", [suggested, suggested_flow])
def test_the_suggested_price_is_kept_with_the_model(tmp_path, method):
    data = snapshots([1.0, 2.0, 4.0, 8.0])
    model = fitted(method(width=16, depth=1), data, 10)
    # Neighbours are three apart, in two features of standard deviation 0.3.
    assert model.growth_penalty_ == pytest.approx(4 / (9 + 4 * 0.09), rel=0.05)
    again = di.load(model.save(tmp_path / "model.safetensors"))
    x = torch.as_tensor(data.samples[0])
    torch.testing.assert_close(again.process_.growth(0.5, x), model.process_.growth(0.5, x))
    assert again.growth_penalty_ == model.growth_penalty_


@pytest.mark.parametrize("scale", ["global", "feature"])
def test_a_flow_at_the_suggested_price_is_the_flow_at_that_number(scale):
    data = snapshots([1.0, 2.0, 4.0, 8.0])
    noise = di.SchrodingerBridge(0.3)

    def learned(growth_penalty):
        lagrangian = noise + di.UnbalancedTransport(growth_penalty)
        model = di.WassersteinLagrangianFlow(lagrangian=lagrangian, width=8, depth=1, scale=scale)
        return fitted(model, data, 3)

    left_to_data = learned("auto")
    given = learned(left_to_data.growth_penalty_)
    assert given.growth_penalty_ == left_to_data.growth_penalty_
    x = torch.as_tensor(data.samples[0])
    assert torch.equal(given.process_.growth(0.5, x), left_to_data.process_.growth(0.5, x))
    assert repr(left_to_data.lagrangian).endswith("UnbalancedTransport(growth_penalty='auto')")
    matching = fitted(di.ActionMatching(growth_penalty="auto", width=8, scale=scale), data, 1)
    assert matching.growth_penalty_ == left_to_data.growth_penalty_


def test_a_price_of_growth_in_another_word_is_refused():
    with pytest.raises(ValueError, match="growth_penalty must be a number, 'auto' or None"):
        di.ActionMatching(growth_penalty="free").fit(snapshots(None), progress=False)
