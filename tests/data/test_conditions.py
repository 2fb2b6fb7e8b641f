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


def test_parts_have_a_one_each_and_combinations_are_their_sum():
    code = ConditionCode.of(["A+B", "C", "B", "B+A"])
    assert code.parts == ("A", "B", "C")
    assert code.size == 3
    assert code.encode(["C", "B+A", "A+C"]).tolist() == [[0, 0, 1], [1, 1, 0], [1, 0, 1]]
    assert ConditionCode.of(DOSES).size == 1
    with pytest.raises(ValueError, match="condition 'D' was not in the data; known are"):
        code.encode(["A+D"])
    with pytest.raises(ValueError, match="condition 'much' is not a number"):
        ConditionCode.of(DOSES).encode([1.0, "much"])


def test_a_combination_is_new_where_no_label_has_its_parts():
    code = ConditionCode.of(["A+B", "B+C", "C"])
    assert [code.is_new(label) for label in ("B+A", "C", "A", "A+C")] == [False, False, True, True]
    assert code.strangers("A+B+C") == [("A", "C")]
    assert code.strangers("B+A") == []
    # Any dose may be asked for.
    assert not ConditionCode.of(DOSES).is_new(3.0)
