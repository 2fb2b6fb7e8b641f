"""Devices, CPU threads, and batches shared out over processes."""

from threading import Event, Thread
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch

from dyninfer.learning import parallel


class Inner(NamedTuple):
    x: torch.Tensor
    nothing: None = None


class Outer(NamedTuple):
    inner: Inner
    t: torch.Tensor


@pytest.fixture
def three_processes(monkeypatch):
    monkeypatch.setattr(parallel, "world", lambda: 3)
    return lambda number: monkeypatch.setattr(parallel, "rank", lambda: number)


def test_shares_are_disjoint_whole_and_weighted_by_their_rows(three_processes):
    batch = Outer(Inner(torch.arange(8)), torch.arange(8.0))
    rows, mean = [], 0.0
    for number in range(3):
        three_processes(number)
        mine, portion = parallel.share(batch)
        assert mine.inner.nothing is None
        assert torch.equal(mine.inner.x, mine.t.long())
        rows += mine.inner.x.tolist()
        mean += portion * float(mine.t.mean()) / 3
    assert sorted(rows) == list(range(8))
    assert mean == pytest.approx(3.5)


@pytest.mark.parametrize("device", [np.array(["cpu", "cpu"]), pd.NA, 3])
def test_a_device_is_one_name(device):
    with pytest.raises(TypeError, match="device must be text, such as 'cpu', found"):
        parallel.pick_device(device)


def in_new_thread(function):
    results = []
    thread = Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    return results[0]


@pytest.fixture
def three_threads():
    """Three CPU threads, here and in Python threads to come."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_the_number_of_threads_is_that_of_one_python_thread(three_threads):
    with parallel.threads(1):
        assert torch.get_num_threads() == 1
        assert in_new_thread(torch.get_num_threads) == 3
        with parallel.threads(2):
            assert torch.get_num_threads() == 2
            assert in_new_thread(torch.get_num_threads) == 3
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3
    assert in_new_thread(torch.get_num_threads) == 3


def test_runs_at_once_leave_the_number_of_threads_as_it_was(three_threads):
    is_inside, may_end = Event(), Event()

    def first():
        with parallel.threads(1):
            is_inside.set()
            may_end.wait()

    def second():
        # Begins while the first is inside, and ends after it.
        with parallel.threads(1):
            may_end.set()
            thread.join()
        return torch.get_num_threads()

    thread = Thread(target=first)
    thread.start()
    is_inside.wait()
    assert in_new_thread(second) == 3
    assert in_new_thread(torch.get_num_threads) == 3
