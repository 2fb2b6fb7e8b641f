"""Conditions as vectors: doses in any unit, and names."""

import numpy as np
import pytest

from dyninfer.data.conditions import ConditionCode

DOSES = np.array([0.5, 1.0, 10.0, 25.0])


@pytest.mark.parametrize("unit", [1e-300, 1e-160, 1e-12, 1.0, 1e12, 1e160, 1e300])
def test_doses_in_another_unit_have_the_same_vectors(unit):
    expected = (DOSES - DOSES.mean()) / DOSES.std()
    vectors = ConditionCode.of(unit * DOSES).encode(unit * DOSES)
    np.testing.assert_allclose(vectors[:, 0], expected, rtol=1e-12)


def test_one_dose_alone_is_zero():
    assert ConditionCode.of([7, 7]).encode([7, 8]).tolist() == [[0.0], [1.0]]
