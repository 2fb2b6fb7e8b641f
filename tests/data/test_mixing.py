"""Numbers of known conditions, carried over to one that was never measured."""

import numpy as np
import pytest

from dyninfer.data.conditions import ConditionCode
from dyninfer.data.mixing import Mixing

LINES = ["high+A", "high+C", "low+A", "low+B", "low+C"]
DOSE = {"low": 0.3, "high": 1.1}
LINE = {"A": 0.5, "B": -0.4, "C": 0.2}


def mixing(names, control=None):
    return Mixing(ConditionCode.of(names), names, control)


def mixed(names, values, asked, control=None, known=None):
    is_known = np.ones(len(names), bool) if known is None else np.array(known)
    weights = mixing(names, control).weights(asked, is_known)
    assert weights.sum() == pytest.approx(1)
    return weights @ np.where(is_known, values, 0.0)


def test_effects_that_add_in_two_columns_are_added_where_they_never_met():
    rates = [DOSE[name.split("+")[0]] + LINE[name.split("+")[1]] for name in LINES]
    assert mixed(LINES, rates, "high+B") == pytest.approx(DOSE["high"] + LINE["B"])
    # As it does in another order, and where a condition that is known elsewhere has no number.
    assert mixed(LINES, rates, "B+high") == pytest.approx(DOSE["high"] + LINE["B"])
    known = [True, False, True, True, True]
    assert mixed(LINES, rates, "high+C", known=known) == pytest.approx(DOSE["high"] + LINE["C"])


def test_effects_of_two_drugs_add_relative_to_the_control():
    names = ["A", "B", "dmso"]
    rates = [0.7, -0.1, 0.2]
    assert mixed(names, rates, "A+B", control="dmso") == pytest.approx(0.7 - 0.1 - 0.2)
    # Without a control nothing says what no drug does: a part of the sum.
    assert mixed(names, rates, "A+B") == pytest.approx(2 / 3 * (0.7 - 0.1) - 0.2 / 3)


def test_a_part_of_which_nothing_is_known_has_the_mean():
    names = ["A", "B", "C"]
    rates = [1.0, 3.0, 7.0]
    assert mixed(names, rates, "C", known=[True, True, False]) == pytest.approx(2.0)


def test_doses_are_interpolated_and_held_beyond_the_last():
    names = ["0", "10", "40"]
    code = ConditionCode.of([0.0, 10.0, 40.0])
    weights = Mixing(code, names).weights
    everything = np.ones(3, bool)
    rates = np.array([0.0, 1.0, 4.0])
    assert weights("25", everything) @ rates == pytest.approx(2.5)
    assert weights("90", everything) @ rates == pytest.approx(4.0)
    assert weights("5", np.array([True, False, True])) @ rates == pytest.approx(0.5)
