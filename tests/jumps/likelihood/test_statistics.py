"""Counted transitions: against loops, additive, without a unit of time."""

import numpy as np
import pytest
import torch

from dyninfer.data.paths import Paths
from dyninfer.jumps.likelihood.statistics import FINE_BINS, LAGS, JumpStatistics


def ragged(seed=0, n_paths=6, missing=True, scale=1.0, relabel=None):
    rng = np.random.default_rng(seed)
    times, states = [], []
    for _ in range(n_paths):
        length = rng.integers(2, 40)
        times.append(scale * np.cumsum(rng.exponential(size=length)))
        labels = rng.integers(4, size=length)
        if missing:
            labels[1:][rng.random(length - 1) < 0.2] = -1
        if relabel is not None:
            labels = np.where(labels < 0, -1, relabel[labels])
        states.append(labels)
    return Paths(times=times, states=states, state_names=tuple("abcd"))


def counted_by_loops(paths, unit):
    counts, sums = np.zeros((FINE_BINS, 4, 4)), np.zeros(FINE_BINS)
    for times, labels in zip(paths.times, paths.states, strict=True):
        times, labels = times[labels >= 0], labels[labels >= 0]
        for lag in LAGS:
            for k in range(len(times) - lag):
                gap = times[k + lag] - times[k]
                b = int(np.floor(4 * np.log2(gap / unit) + 0.5)) + FINE_BINS // 2
                counts[b, labels[k], labels[k + lag]] += 1
                sums[b] += gap
    return counts, sums


def test_counts_of_ragged_paths_with_missing_labels_are_those_of_loops():
    paths = ragged()
    found = JumpStatistics.of(paths)
    counts, sums = counted_by_loops(paths, float(found.unit))
    assert np.array_equal(found.counts.numpy(), counts)
    assert np.allclose(found.gap_sums.numpy(), sums)
    seen = [x[x >= 0] for x in paths.states]
    assert found.changes == sum((np.diff(x) != 0).sum() for x in seen)
    assert found.steps == sum(len(x) - 1 for x in seen)
    assert np.array_equal(found.starts.numpy(), np.bincount([x[0] for x in seen], minlength=4))


def test_statistics_of_two_sets_of_paths_add_up_to_those_of_all():
    paths = ragged(1)
    whole = JumpStatistics.of(paths)
    unit = float(whole.unit)
    parts = JumpStatistics.of(paths[:2], 4, unit) + JumpStatistics.of(paths[2:], 4, unit)
    assert torch.equal(parts.counts, whole.counts)
    assert torch.equal(parts.changes, whole.changes)
    for name in ("gap_sums", "span", "starts", "steps"):
        assert torch.allclose(getattr(parts, name), getattr(whole, name), rtol=1e-14)
    a, b = parts.coarse(), whole.coarse()
    assert torch.equal(a.counts, b.counts)
    assert torch.allclose(a.log_gap, b.log_gap, atol=1e-6)


def test_a_batch_of_processes_counts_as_each_of_them_does():
    g = torch.Generator().manual_seed(2)
    times = torch.rand(30, generator=g, dtype=torch.float64).cumsum(0)
    labels = torch.randint(3, (30, 4, 7), generator=g)
    batch = JumpStatistics.of_batch(labels, times, 3)
    for b in range(4):
        paths = Paths(
            times=[times.numpy()] * 7, states=list(labels[:, b].T.numpy()), state_names=tuple("abc")
        )
        one = JumpStatistics.of(paths, unit=float(batch.unit[b]))
        for name, value in vars(one).items():
            assert torch.allclose(getattr(batch, name)[b], value, rtol=1e-12), name


@pytest.mark.parametrize("scale", [7.3, 1e-6, 3600.0])
def test_what_the_network_reads_does_not_depend_on_the_unit_of_time(scale):
    one, two = (JumpStatistics.of(ragged(3, scale=c)).coarse() for c in (1.0, scale))
    for name, value in vars(one).items():
        assert torch.allclose(getattr(two, name), value, atol=1e-6), name


def test_relabelling_the_states_relabels_the_counts():
    order = np.array([2, 0, 3, 1])
    one, two = JumpStatistics.of(ragged(4)), JumpStatistics.of(ragged(4, relabel=order))
    assert torch.equal(two.counts[:, order][:, :, order], one.counts)
    assert torch.equal(two.starts[order], one.starts)


def test_bins_keep_every_pair_and_their_mean_time():
    found = JumpStatistics.of(ragged(5))
    coarse = found.coarse()
    assert coarse.counts.sum() == found.counts.sum()
    total = (coarse.counts.sum((-1, -2)) * coarse.log_gap.exp()).sum() * found.tau
    assert float(total) == pytest.approx(float(found.gap_sums.sum()), rel=1e-5)


def test_what_cannot_be_counted_is_refused_in_words():
    with pytest.raises(TypeError, match="continuous"):
        JumpStatistics.of(Paths(times=[[0, 1]], states=[[0.1, 0.2]]))
    with pytest.raises(ValueError, match="no path has two labels"):
        JumpStatistics.of(Paths(times=[[0.0], [1.0]], states=[[0], [1]]))
    with pytest.raises(ValueError, match="n_states is 2"):
        JumpStatistics.of(ragged(), n_states=2)
    with pytest.raises(ValueError, match="do not add up; make the second"):
        _ = JumpStatistics.of(ragged(), unit=1.0) + JumpStatistics.of(ragged(), unit=2.0)
    with pytest.raises(ValueError, match="do not add up; count both with the same n_states"):
        _ = JumpStatistics.of(ragged(), unit=1.0) + JumpStatistics.of(ragged(), 5, unit=1.0)
