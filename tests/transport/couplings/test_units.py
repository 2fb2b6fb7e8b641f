"""Couplings in any unit: the same pairs and masses."""

import numpy as np
import pytest

from dyninfer.transport.couplings import (
    ConeCoupling,
    DensityRatio,
    EntropicOTCoupling,
    GrowthFirstCoupling,
    IndependentCoupling,
    OTCoupling,
    SparseOTCoupling,
    UnbalancedOTCoupling,
)

MAKERS = {
    "independent": lambda unit: IndependentCoupling(),
    "optimal": lambda unit: OTCoupling(),
    "entropic": lambda unit: EntropicOTCoupling(),
    "bridge": lambda unit: EntropicOTCoupling(sigma=0.7 * unit),
    "unbalanced": lambda unit: UnbalancedOTCoupling(),
    "sparse": lambda unit: SparseOTCoupling(),
    "cone": lambda unit: ConeCoupling(growth_penalty=0.5 / unit**2),
    "cone with noise": lambda unit: ConeCoupling(growth_penalty=0.5 / unit**2, sigma=0.7 * unit),
    "growth first": lambda unit: GrowthFirstCoupling(axes=2),
    "growth first by odds": lambda unit: GrowthFirstCoupling(weigh=DensityRatio(neighbors=10)),
}


def samples():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 3))
    y = rng.normal(0.5, 1.2, size=(40, 3))
    a, b = rng.random(50) + 0.1, rng.random(40) + 0.1
    return x, y, a / a.sum(), b / b.sum()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("power", [-40, 40])
@pytest.mark.parametrize("name", MAKERS)
def test_a_power_of_two_as_unit_changes_no_pair(name, power):
    """2^40 is about 1e12; powers of two change no digit, so that even draws are the same."""
    unit = 2.0**power
    x, y, a, b = samples()
    plain = MAKERS[name](1.0).plan(x, y, a, b, 3)
    other = MAKERS[name](unit).plan(x * unit, y * unit, a, b, 3)
    assert np.array_equal(other.source, plain.source)
    assert np.array_equal(other.target, plain.target)
    assert np.allclose(other.mass, plain.mass, rtol=1e-9)
    assert np.allclose(other.log_source, plain.log_source, atol=1e-9)
    assert np.allclose(other.log_target, plain.log_target, atol=1e-9)


def test_short_distances_survive_beside_a_group_far_away():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 40, 10))
    x[20:] += 2.0**30
    y[20:] += 2.0**30
    equal = np.full(40, 1 / 40)
    plan = OTCoupling().plan(x, y, equal, equal, 0)
    alone = OTCoupling().plan(x[:20], y[:20], equal[:20] * 2, equal[:20] * 2, 0)
    pairs = dict(zip(plan.source, plan.target, strict=True))
    assert all(pairs[i] == j for i, j in zip(alone.source, alone.target, strict=True))
