"""Jumps and states by name."""

import numpy as np
import pytest
import torch

from dyninfer.data.paths import Paths
from dyninfer.jumps.likelihood.state_names import jump_mask, names_of, state_number
from dyninfer.jumps.process import MarkovJump
from dyninfer.jumps.settings import AllJumps, BirthDeath, Only, Reversible
from dyninfer.jumps.starting import as_state_numbers

NAMES = ("stem", "red", "white")


def test_jumps_are_allowed_by_name():
    mask = Only(["stem>red", " red > white"]).scheme(NAMES).allowed
    assert mask.nonzero().tolist() == [[0, 1], [1, 2]]
    assert int(AllJumps().scheme(NAMES).allowed.sum()) == 6
    assert BirthDeath().scheme(NAMES).allowed.nonzero().tolist() == [
        [0, 1],
        [1, 0],
        [1, 2],
        [2, 1],
    ]


def test_a_reversible_scheme_balances_whatever_its_parameters():
    scheme = Reversible(["stem>red", "red>stem", "red>white", "white>red"]).scheme(NAMES)
    q = scheme.generator(torch.tensor([0.3, -1.0, 0.7, 0.2], dtype=torch.float64))
    pi = torch.tensor([0.0, 0.7, 0.2], dtype=torch.float64).softmax(0)
    flux = pi[:, None] * q
    torch.testing.assert_close(flux, flux.T)
    assert float(q[0, 2]) == float(q[2, 0]) == 0.0
    with pytest.raises(ValueError, match="without its reverse"):
        Reversible(["stem>red"]).scheme(NAMES)


@pytest.mark.parametrize(
    ("jump", "words"),
    [
        ("stem-red", "'from>to', found 'stem-red'"),
        ("stem>blue", "no state 'blue'; the states are stem, red, white"),
    ],
)
def test_jumps_that_make_no_sense_are_refused(jump, words):
    with pytest.raises(ValueError, match=words):
        jump_mask([jump], NAMES)


def test_states_beyond_those_seen_are_numbered():
    seen = Paths(times=[[0, 1]], states=[[0, 1]], state_names=["a", "b"])
    assert names_of(seen, None) == ("a", "b")
    assert names_of(seen, 4) == ("a", "b", "2", "3")
    with pytest.raises(ValueError, match="n_states=1, but the data name 2 states: a, b"):
        names_of(seen, 1)


def test_states_by_name_or_number():
    process = MarkovJump([[-1.0, 1.0, 0.0], [0.0, -1.0, 1.0], [1.0, 0.0, -1.0]], state_names=NAMES)
    assert as_state_numbers(process, ["white", "stem"]).tolist() == [2, 0]
    assert as_state_numbers(process, np.array([2, 0])).tolist() == [2, 0]
    assert state_number("red", NAMES) == 1
    for wrong in ([0.5], [3], [-1]):
        with pytest.raises((TypeError, ValueError), match="start in"):
            as_state_numbers(process, wrong)


def test_a_single_state_is_refused():
    paths = Paths(times=[[0, 1]], states=[[0, 0]])
    with pytest.raises(ValueError, match="the data name one state only, '0'"):
        names_of(paths, None)
    assert names_of(paths, 2) == ("0", "1")
