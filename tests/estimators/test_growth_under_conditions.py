"""Totals of conditions whose growth is known: rates that add, masses given and not given."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

import dyninfer as di

TIMES = [0.0, 1.0, 2.0]
DOSE = {"low": 0.0, "high": 0.9}
LINE = {"A": 0.5, "B": -0.4, "C": 0.2}
FORWARD = {"low": 1.0, "high": 2.0}
SIDEWAYS = {"A": 0.0, "B": 1.5, "C": -1.5}
# "high+B" is left out.
NAMES = ["low+A", "high+A", "low+B", "low+C", "high+C"]


def mass(name, time):
    dose, line = name.split("+")
    return np.exp((DOSE[dose] + LINE[line]) * time)


def population(name, time, n, rng):
    """Two groups, of which the upper one doubles in a time relative to the lower."""
    dose, line = name.split("+")
    moved = time / TIMES[-1] * np.array([FORWARD[dose], SIDEWAYS[line]])
    x = 0.3 * rng.normal(size=(n, 2)) + moved
    n_upper = round(n * 2**time / (2**time + 1))
    x[:n_upper, 1] += 6
    return x


def culture(n=60, names=tuple(NAMES), *, tells_apart):
    """As many cells of every condition; weights and masses say how each has grown."""
    rng = np.random.default_rng(0)
    samples, weights = [], []
    for time in TIMES:
        samples.append(np.concatenate([population(name, time, n, rng) for name in names]))
        weights.append(np.repeat([mass(name, time) for name in names], n))
    conditions = [np.repeat(names, n)] * len(TIMES)
    data = di.Snapshots(times=TIMES, samples=samples, conditions=conditions)
    if not tells_apart:
        return data
    return replace(data, weights=weights, masses=[weight.sum() for weight in weights])


def fitted(method, data, **settings):
    training = di.Training(max_steps=150, batch_size=256, patience=None)
    model = method(width=32, depth=2, training=training, **settings)
    return model.fit(data, progress=False)


def matching(**settings):
    return di.ActionMatching(growth_penalty="auto", **settings)


def flow(**settings):
    return di.WassersteinLagrangianFlow(lagrangian=di.UnbalancedTransport("auto"), **settings)


def growth_first(**settings):
    return di.StochasticInterpolant(coupling="growth_first", gamma="none", **settings)


def total(model, data, name, start):
    is_own = data.conditions[0] == start
    run = model.simulate(data.samples[0][is_own], TIMES, condition=name)
    return run.mass.numpy()


@pytest.mark.parametrize("method", [matching, flow, growth_first])
@pytest.mark.filterwarnings("ignore:condition 'high.B' was not in the data")
def test_every_condition_has_its_own_total_and_rates_that_add_are_added(method, tmp_path):
    data = culture(tells_apart=True)
    model = fitted(method, data)
    for name in NAMES:
        right = [mass(name, time) for time in TIMES]
        np.testing.assert_allclose(total(model, data, name, name), right, rtol=0.01)
    # The whole grows as the masses say, each cell under its own condition and with its weight.
    whole = model.simulate(data, TIMES).mass.numpy()
    np.testing.assert_allclose(whole / whole[0], data.masses / data.masses[0], rtol=0.01)
    # Rates of single conditions lie between e^-0.8 and e^2.8, and their mean is at e^1.3.
    unseen = total(model, data, "high+B", "low+B")
    right = [mass("high+B", time) for time in TIMES]
    np.testing.assert_allclose(unseen, right, rtol=0.25)
    again = di.load(model.save(tmp_path / "model.safetensors"))
    np.testing.assert_allclose(total(again, data, "high+B", "low+B"), unseen, rtol=1e-4)


@pytest.mark.parametrize("method", [matching, flow])
@pytest.mark.parametrize("masses", [None, [1.0, 3.0, 9.0]])
@pytest.mark.filterwarnings("ignore:condition 'high.B' was not in the data")
def test_without_weights_every_condition_grows_as_the_whole(method, masses):
    data = replace(culture(n=17, tells_apart=False), masses=masses)
    model = fitted(method, data)
    right = masses or [1.0, 1.0, 1.0]
    for name in NAMES:
        np.testing.assert_allclose(total(model, data, name, name), right, rtol=0.01)
    np.testing.assert_allclose(total(model, data, "high+B", "low+B"), right, rtol=0.25)


@pytest.mark.filterwarnings("ignore:condition 'A.B' was not in the data")
def test_two_drugs_grow_by_their_effects_on_the_control_which_stands_in_at_the_start():
    rng = np.random.default_rng(0)
    n = 60
    rates = {"dmso": 0.2, "A": 0.8, "B": -0.3}
    x = 0.3 * rng.normal(size=(n, 2))
    later = [x + shift for shift in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))]
    data = di.Snapshots(
        times=[0, 1],
        samples=[x, np.concatenate(later)],
        conditions=[["dmso"] * n, np.repeat(list(rates), n)],
        weights=[np.ones(n), np.repeat(np.exp(list(rates.values())), n)],
        masses=[n, n * np.exp(list(rates.values())).sum()],
    )
    model = fitted(matching, data, control="dmso")
    # The total of what was not measured is settled by a draw of these cells.
    expected = [(name, rate, 0.01) for name, rate in rates.items()]
    for name, rate, error in [*expected, ("A+B", 0.8 - 0.3 - 0.2, 0.03)]:
        run = model.simulate(x, [0.0, 1.0], condition=name)
        assert float(run.log_mass[1] - run.log_mass[0]) == pytest.approx(rate, abs=error)


def test_a_condition_that_was_not_measured_at_a_time_grows_there_as_its_parts_do_elsewhere():
    data = culture(n=40, tells_apart=True)
    late = data.conditions[2] != "high+C"
    rows = [slice(None), slice(None), late]
    columns = {
        name: [values[row] for values, row in zip(getattr(data, name), rows, strict=True)]
        for name in ("samples", "conditions", "weights")
    }
    # The total is that of the cells which were measured.
    masses = [own.sum() for own in columns["weights"]]
    model = fitted(growth_first, replace(data, masses=masses, **columns))
    right = [mass("high+C", time) for time in TIMES]
    np.testing.assert_allclose(total(model, data, "high+C", "high+C"), right, rtol=0.01)


def test_a_total_far_from_that_of_its_own_condition_is_warned_of():
    data = culture(tells_apart=True)
    model = fitted(growth_first, data)
    with warnings.catch_warnings():
        # The whole triples where this one shrinks by half: no warning compares the two.
        warnings.filterwarnings("error", message="the simulated mass is far")
        total(model, data, "low+B", "low+B")
    inner = model.process_.inner
    inner.given("low+B").law.rate.add_(5.0)
    with pytest.warns(UserWarning, match=r"by time 1 \(the data: ×0.67\)"):
        total(model, data, "low+B", "low+B")
