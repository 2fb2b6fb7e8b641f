"""One price of growth for pairs and potential, and the one that data suggest."""

import numpy as np
import pytest

from dyninfer.transport.couplings import priced_couplings, suggested_growth_penalty


def snapshots(shift=2.0, n=4000):
    rng = np.random.default_rng(0)
    samples = [rng.normal(size=(n, 3)) + k * shift for k in range(2)]
    return samples, [np.full(n, 1 / n)] * 2


def test_mass_costs_four_over_lambda_in_mean_squared_distances():
    # Three features of variance one on either side, two apart in each: 3 + 3 + 12.
    (coupling,) = priced_couplings(0.5, *snapshots())
    assert coupling.mass_penalty == pytest.approx(4 / (0.5 * 18), rel=0.03)


def test_a_price_above_all_distances_is_held_where_plans_conserve_mass():
    (coupling,) = priced_couplings(1e-9, *snapshots())
    assert coupling.mass_penalty == 100
    still = [np.zeros((5, 1))] * 2
    (coupling,) = priced_couplings(1.0, still, [np.full(5, 0.2)] * 2)
    assert coupling.mass_penalty == 100


def test_the_suggested_price_is_that_of_the_way_between_random_cells():
    samples, weights = snapshots()
    assert suggested_growth_penalty(samples, weights) == pytest.approx(4 / 18, rel=0.03)
    (coupling,) = priced_couplings(suggested_growth_penalty(samples, weights), samples, weights)
    assert coupling.mass_penalty == pytest.approx(1.0)


def test_the_suggested_price_goes_with_the_unit_of_the_data():
    samples, weights = snapshots()
    hundredfold = [100 * x for x in samples]
    assert 1e4 * suggested_growth_penalty(hundredfold, weights) == pytest.approx(
        suggested_growth_penalty(samples, weights)
    )


def test_samples_count_by_their_weight():
    samples = [np.array([[0.0], [50.0]]), np.array([[2.0], [-70.0]])]
    assert suggested_growth_penalty(samples, [np.array([1.0, 0.0])] * 2) == pytest.approx(1.0)
