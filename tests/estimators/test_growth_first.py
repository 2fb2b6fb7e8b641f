"""Growth that is known, learned from two snapshots reweighted by growth before they are paired."""

import numpy as np
import pytest

import dyninfer as di


def two_groups(factors, n=300, seed=0):
    """Two groups at rest that grow by these factors, and the group of every first cell."""
    rng = np.random.default_rng(seed)
    centres = np.array([[0.0, 0.0], [6.0, 0.0]])
    groups, masses = [], []
    for time in (0.0, 1.0):
        sizes = 0.5 * np.array(factors) ** time
        masses.append(sizes.sum())
        groups.append((np.arange(n) >= n * sizes[0] / sizes.sum()).astype(int))
    samples = [centres[group] + rng.normal(size=(n, 2)) for group in groups]
    return di.Snapshots(times=[0.0, 1.0], samples=samples, masses=masses), groups[0]


METHODS = {
    "interpolant": di.StochasticInterpolant(coupling="growth_first", gamma="none", width=48),
    "action": di.ActionMatching(growth_penalty=1.0, coupling="growth_first", width=48),
    "flow": di.WassersteinLagrangianFlow(
        lagrangian=di.UnbalancedTransport(growth_penalty=1.0),
        coupling="growth_first",
        width=32,
        curve_width=16,
    ),
}


@pytest.mark.parametrize("name", METHODS)
def test_growth_of_two_groups_and_their_total_mass_are_learned(name):
    data, group = two_groups((4.0, 1.0))
    model = METHODS[name].fit(data, max_steps=500, progress=False)
    run = model.simulate(data, [0.0, 1.0])
    growth = np.diff(run.log_weights.numpy(), axis=1)[:, 0]
    assert np.corrcoef(growth, np.log([4.0, 1.0])[group])[0, 1] > 0.85
    assert float(run.mass[1] / run.mass[0]) == pytest.approx(2.5, rel=0.1)


def test_mass_that_is_constant_stays_within_one_percent():
    data, _ = two_groups((1.0, 1.0))
    model = METHODS["interpolant"].fit(data, max_steps=500, progress=False)
    run = model.simulate(data, [0.0, 0.5, 1.0])
    np.testing.assert_allclose(run.mass / run.mass[0], 1.0, atol=0.01)
