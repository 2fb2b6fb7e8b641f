"""Distances wait for the device a few times, however large the samples are."""

from __future__ import annotations

import pytest
import torch
from device.measure import whole
from device.pretend import WAITS_OF_HOST, pretend_gpu

from dyninfer import metrics

# Whether both samples are finite, their common unit, and the result. The median of MMD has a unit of
# its own, and exact transport is solved on the CPU.
MOST = {"wasserstein": 3, "sliced_wasserstein": 3, "mmd": 5, "energy_distance": 3}


def waits(name, n):
    x = torch.randn(n, 10, generator=torch.Generator().manual_seed(0))
    distance = getattr(metrics, name)
    with pretend_gpu() as counts:
        a = x.to("cuda")
        b = a + 1
        call = whole(counts, lambda: distance(a, b, max_samples=None))
    assert not call.total("mixture"), call.places("mixture")
    return call.total(*WAITS_OF_HOST)


@pytest.mark.parametrize("name", MOST)
def test_a_distance_waits_as_often_for_small_samples_as_for_large_ones(name):
    few = waits(name, 200)
    assert few <= MOST[name]
    assert waits(name, 1500) == few
