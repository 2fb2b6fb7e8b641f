"""Growth with a known mean and bounds: totals, and what happens away from the data."""

import numpy as np
import pytest
import torch

from dyninfer.diffusions import BoundedGrowth

KNOTS = np.array([0.0, 0.25, 1.0])
MASSES = np.array([1.0, 8.0, 2.0])


def settled(seed=0, n=20_000):
    """A law that knows a network of mean 5 and rates in [3, 7] at all times."""
    law = BoundedGrowth(KNOTS, np.log(MASSES))
    generator = torch.Generator().manual_seed(seed)
    time = torch.rand(n, generator=generator)
    value = 3 + 4 * torch.rand(n, generator=generator)
    law.settle(time, value)
    return law


def total(law, value, first, last, n=20_001):
    """Integral of the growth rate at one value of the network, by the trapezoidal rule."""
    t = torch.linspace(first, last, n, dtype=torch.float64)
    return float(torch.trapezoid(law(t, torch.full_like(t, value)), t))


def test_without_a_learned_part_the_masses_of_the_data_are_met():
    law = BoundedGrowth(KNOTS, np.log(MASSES))
    # The rate passes from one interval to the next over a hundredth of the shorter one.
    assert total(law, 0.0, 0.0, 0.25) == pytest.approx(np.log(8), abs=0.02)
    assert total(law, 0.0, 0.0, 1.0) == pytest.approx(np.log(2), abs=1e-3)


def test_what_the_network_says_on_average_does_not_count():
    law = settled()
    assert total(law, 5.0, 0.0, 1.0) == pytest.approx(np.log(2), abs=0.03)


def test_growth_is_the_networks_within_its_range_and_saturates_half_a_range_beyond():
    law = settled()
    t = torch.full((6,), 0.6)
    value = torch.tensor([3.1, 5.0, 6.9, 1e4, -1e4, 7.5])
    deviation = law(t, value) - law.mean(t)
    torch.testing.assert_close(deviation[:3], value[:3])
    torch.testing.assert_close(deviation[3:5], torch.tensor([9.0, 1.0]), atol=0.02, rtol=0)
    assert 7 < float(deviation[5]) < 7.5


def test_the_bound_has_no_kink():
    law = settled()
    value = law.high[-1] + torch.tensor([-1e-3, 1e-3])
    value.requires_grad_()
    (slope,) = torch.autograd.grad(law(torch.full((2,), 0.6), value).sum(), value)
    torch.testing.assert_close(slope, torch.ones(2), atol=1e-4, rtol=0)


def test_samples_count_by_their_weight():
    law = BoundedGrowth([0.0, 1.0], [0.0, 0.0])
    time = torch.linspace(0, 1, 4000)
    value = torch.arange(4000) % 2.0
    law.settle(time, value, torch.where(value > 0, 3.0, 1.0))
    # Three quarters of the mass grow by one.
    np.testing.assert_allclose(law.mean(time), -0.75, atol=1e-3)


def test_values_of_a_run_that_diverged_leave_the_law_as_it_was():
    law = BoundedGrowth(KNOTS, np.log(MASSES))
    before = law.rate.clone()
    law.settle(torch.rand(3), torch.tensor([0.0, torch.nan, 1.0]))
    torch.testing.assert_close(law.rate, before)
