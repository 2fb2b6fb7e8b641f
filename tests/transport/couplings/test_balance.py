"""The order of samples in which every stretch is composed as the whole."""

import numpy as np
import pytest

from dyninfer.transport.couplings.balance import balanced_order
from dyninfer.transport.couplings.blocks import Cut

N, SIZE = 6000, 500


def two_branches(n=N, d=3, seed=0):
    """States of two branches, and which of them each is on."""
    rng = np.random.default_rng(seed)
    branch = rng.random(n) < 0.3
    states = rng.normal(size=(n, d))
    states[:, 1] += 4.0 * branch
    return states, branch


def shares(branch, order, size):
    """Share of a branch in stretches that begin anywhere."""
    begins = range(0, len(order) - size, 137)
    return np.array([branch[order[begin : begin + size]].mean() for begin in begins])


@pytest.mark.parametrize("size", [100, SIZE, 777, 1500])
def test_stretches_of_any_length_hold_a_branch_closer_to_its_share_than_chance_does(size):
    states, branch = two_branches()
    order = balanced_order(states, SIZE, np.random.default_rng(1))
    random = np.random.default_rng(1).permutation(N)
    error = shares(branch, order, size).std()
    assert error < 0.6 * shares(branch, random, size).std()


@pytest.mark.parametrize("n", [1, 2, 15, 16, 17, 33, 1000])
def test_every_sample_is_in_the_order_once(n):
    states, _ = two_branches(n)
    order = balanced_order(states, 64, np.random.default_rng(0))
    np.testing.assert_array_equal(np.sort(order), np.arange(n))


def test_samples_that_are_all_the_same_have_an_order():
    order = balanced_order(np.ones((200, 2)), 50, np.random.default_rng(0))
    np.testing.assert_array_equal(np.sort(order), np.arange(200))


@pytest.mark.parametrize("unit", [1e-12, 1e12])
def test_the_order_is_the_same_in_any_unit(unit):
    states, _ = two_branches()
    one = balanced_order(states, SIZE, np.random.default_rng(2))
    # A power of two times a power of ten: digits change, the order of the numbers does not.
    other = balanced_order(unit * states, SIZE, np.random.default_rng(2))
    np.testing.assert_array_equal(one, other)


def test_blocks_of_unequal_weights_hold_the_mass_of_a_branch():
    states, branch = two_branches()
    rng = np.random.default_rng(3)
    # One branch weighs three times the other, and samples differ besides.
    weights = (1 + 2 * branch) * rng.uniform(0.5, 1.5, N)
    weights /= weights.sum()
    mass = weights[branch].sum()
    balanced = Cut(weights, weights, SIZE, np.random.default_rng(4), (states, states))
    by_chance = Cut(weights, weights, SIZE, np.random.default_rng(4))

    def error(cut):
        blocks = cut.blocks()
        return np.std([block.a[branch[block.rows]].sum() - mass for block in blocks])

    assert error(balanced) < 0.6 * error(by_chance)
