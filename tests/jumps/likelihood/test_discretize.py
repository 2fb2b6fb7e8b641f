"""Rules from numbers to states, on clusters whose members are known."""

import numpy as np
import pandas as pd
import pytest

from dyninfer.data.paths import Paths
from dyninfer.jumps.likelihood.discretize import KMeansStates, MixtureStates

RULES = [KMeansStates, MixtureStates]


def clusters(seed=0):
    """Three far clusters of 30, 60 and 90 values, in mixed order, and which of them each value is of."""
    g = np.random.default_rng(seed)
    owner = g.permutation(np.repeat([0, 1, 2], [30, 60, 90]))
    values = np.array([-5.0, 1.0, 7.0])[owner] + 0.3 * g.standard_normal(180)
    return owner, values


@pytest.mark.parametrize("rule", RULES)
def test_far_clusters_are_found_and_numbered_from_low_to_high(rule):
    owner, values = clusters()
    paths = Paths(
        times=[np.arange(90)] * 2, states=[values[:90], values[90:]], features=["current"]
    )
    one = rule(n_states=3)
    table = one.learn(paths, seed=0)
    np.testing.assert_allclose(table["share"], [1 / 6, 1 / 3, 1 / 2])
    np.testing.assert_allclose(
        table["current"], [values[owner == k].mean() for k in range(3)], atol=1e-4
    )
    np.testing.assert_allclose(
        table["current_std"], [values[owner == k].std() for k in range(3)], rtol=1e-2
    )
    labels = one.label(paths, table)
    np.testing.assert_array_equal(np.concatenate(labels.states), owner)
    assert labels.state_names == ("0", "1", "2")


@pytest.mark.parametrize("rule", RULES)
def test_missing_values_are_missing_states(rule):
    owner, values = clusters()
    values[[3, 17]] = np.nan
    paths = Paths(times=[np.arange(180)], states=[values])
    labels = rule(n_states=3).label(paths, rule(n_states=3).learn(paths, seed=0)).states[0]
    np.testing.assert_array_equal(np.flatnonzero(labels == -1), [3, 17])
    known = labels >= 0
    np.testing.assert_array_equal(labels[known], owner[known])


def test_a_mixture_weighs_width_and_share_as_bayes_does():
    # A value belongs to the component with the larger share × density: between N(0, 1) with 0.9 and N(4, 2²) with 0.1.
    table = pd.DataFrame({"share": [0.9, 0.1], "x0": [0.0, 4.0], "x0_std": [1.0, 2.0]})
    x = np.linspace(-10, 10, 81)
    density = [0.9 * np.exp(-(x**2) / 2), 0.1 / 2 * np.exp(-((x - 4) ** 2) / 8)]
    labels = MixtureStates(n_states=2).label(Paths(times=[x], states=[x]), table).states[0]
    np.testing.assert_array_equal(labels, np.argmax(density, axis=0))


def test_what_cannot_be_clustered_is_refused():
    with pytest.raises(TypeError, match="leave the rule out"):
        KMeansStates(n_states=2).learn(Paths(times=[[0, 1]], states=[[0, 1]]), 0)
    with pytest.raises(ValueError, match="fewer than n_states=3 different values"):
        KMeansStates(n_states=3).learn(Paths(times=[[0, 1, 2]], states=[[0.0, 1.0, 1.0]]), 0)
    with pytest.raises(ValueError, match="KMeansStates.n_states must be at least 2, found 1"):
        KMeansStates(n_states=1).check()
