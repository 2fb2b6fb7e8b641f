"""Batches shared out over processes."""

from typing import NamedTuple

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
