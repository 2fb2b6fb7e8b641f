"""Jumps and states by name."""

import numpy as np
import pytest
import torch

from dyninfer.data.paths import Paths
from dyninfer.jumps.likelihood.structure import named_scheme, names_of, numbers_of, state_number

NAMES = ("stem", "red", "white")


def test_jumps_are_allowed_by_name():
    mask = named_scheme("free", ["stem>red", " red > white"], NAMES).allowed
    assert mask.nonzero().tolist() == [[0, 1], [1, 2]]
    assert int(named_scheme("free", None, NAMES).allowed.sum()) == 6
    assert named_scheme("birth-death", None, NAMES).allowed.nonzero().tolist() == [
        [0, 1],
        [1, 0],
        [1, 2],
        [2, 1],
    ]


def test_a_reversible_scheme_balances_whatever_its_parameters():
    scheme = named_scheme("reversible", ["stem>red", "red>stem", "red>white", "white>red"], NAMES)
    q = scheme.generator(torch.tensor([0.3, -1.0, 0.7, 0.2], dtype=torch.float64))
    pi = torch.tensor([0.0, 0.7, 0.2], dtype=torch.float64).softmax(0)
    flux = pi[:, None] * q
    torch.testing.assert_close(flux, flux.T)
    assert float(q[0, 2]) == float(q[2, 0]) == 0.0
    with pytest.raises(ValueError, match="without its reverse"):
        named_scheme("reversible", ["stem>red"], NAMES)


@pytest.mark.parametrize(
    ("jump", "words"),
    [
        ("stem-red", "'from>to', found 'stem-red'"),
        ("stem>blue", "no state 'blue'; the states are stem, red, white"),
    ],
)
def test_jumps_that_make_no_sense_are_refused(jump, words):
    with pytest.raises(ValueError, match=words):
        named_scheme("free", [jump], NAMES)


def test_states_beyond_those_seen_are_numbered():
    seen = Paths(times=[[0, 1]], states=[[0, 1]], state_names=["a", "b"])
    assert names_of(seen, None) == ("a", "b")
    assert names_of(seen, 4) == ("a", "b", "2", "3")
    with pytest.raises(ValueError, match="n_states=1, but the data name 2 states: a, b"):
        names_of(seen, 1)


def test_states_by_name_or_number():
    np.testing.assert_array_equal(numbers_of(["white", "stem"], NAMES), [2, 0])
    np.testing.assert_array_equal(numbers_of(np.array([2, 0]), NAMES), [2, 0])
    assert state_number("red", NAMES) == 1
    for wrong in ([0.5], [3], [-1], [[0]]):
        with pytest.raises(ValueError, match="by name or number below 3"):
            numbers_of(wrong, NAMES)


def test_a_single_state_is_refused():
    paths = Paths(times=[[0, 1]], states=[[0, 0]])
    with pytest.raises(ValueError, match="the data name one state only, '0'"):
        names_of(paths, None)
    assert names_of(paths, 2) == ("0", "1")
