"""Named streams: equal for equal names, unrelated otherwise, and the global state is left alone."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from dyninfer.learning.random import mix64, numpy_stream, seeded_modules, stream, subseed


def test_mixing_is_splitmix64():
    """The first output of splitmix64 from state 0, as published with the generator (Vigna, 2015)."""
    assert mix64(0) == 0xE220A8397B1DCDAF
    words = np.array([0, 1, 2**63, 2**64 - 1], dtype=np.uint64)
    assert mix64(words).tolist() == [mix64(int(word)) for word in words]


@pytest.mark.parametrize(
    "other",
    [
        (1, "batches"),
        (0, "batches", 0),
        (0, "batches", 1),
        (0, "b", "atches"),
        (0, "validation"),
        (0,),
    ],
)
def test_streams_of_other_names_or_seeds_share_no_numbers(other):
    one = torch.rand(1000, generator=stream(0, "batches"), dtype=torch.float64)
    two = torch.rand(1000, generator=stream(*other), dtype=torch.float64)
    assert not np.isin(one, two).any()
    # The correlation of 1,000 independent pairs has standard deviation 0.032.
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.13


def test_the_same_names_give_the_same_numbers():
    draws = [torch.rand(5, generator=stream(3, "noise", 7)) for _ in range(2)]
    assert torch.equal(*draws)
    assert np.array_equal(*(numpy_stream(3, "noise", 7).random(5) for _ in range(2)))


def test_neighbouring_seeds_and_numbers_are_all_distinct():
    seeds = {subseed(seed, "condition", number) for seed in range(100) for number in range(100)}
    # 10,000 draws of 32 bits collide 0.01 times on average; a sum of seed and number, 9,801 times.
    assert len(seeds) >= 9_999


def test_modules_get_the_same_weights_in_any_thread_and_leave_the_global_state():
    def weights(seed):
        with seeded_modules(seed, "weights"):
            return nn.Linear(20, 20).weight.detach().clone()

    torch.manual_seed(1)
    before = torch.get_rng_state()
    alone = [weights(seed) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(weights, range(8)))
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))
    assert torch.equal(torch.get_rng_state(), before)
