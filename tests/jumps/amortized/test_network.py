"""The network of pairs of states: what it must not see, and what its losses and beliefs mean."""

import math

import numpy as np
import pytest
import scipy.stats
import torch

from dyninfer.jumps.amortized.losses import belief_loss
from dyninfer.jumps.amortized.network import JumpBelief, PairNetwork, pair_features
from dyninfer.jumps.amortized.prior import JumpPrior
from dyninfer.jumps.likelihood.statistics import CoarseStatistics, JumpStatistics
from dyninfer.learning.random import seeded_modules


@pytest.fixture(scope="module")
def network():
    with seeded_modules(0):
        return PairNetwork(width=16, depth=3)


def tasks(n=5, paths=20, seed=3):
    return JumpPrior.widened().draw(6, seed, n_states=n, n_paths=paths)


def read(network, labels, times, n):
    with torch.no_grad():
        return network(JumpStatistics.of_batch(labels, times, n).coarse())


@pytest.mark.parametrize("n", [2, 5, 11])
def test_relabelling_the_states_relabels_the_belief(network, n):
    drawn = tasks(n)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(n))
    one = read(network, drawn.labels, drawn.times, n)
    two = read(network, order.argsort()[drawn.labels], drawn.times, n)
    for name in ("link", "mean", "log_weight", "log_std", "point"):
        moved = getattr(one, name)[:, order][:, :, order]
        assert torch.allclose(getattr(two, name), moved, atol=1e-5), name
    assert torch.allclose(two.initial, one.initial[:, order], atol=1e-5)
    for name in ("noise_mean", "noise_log_std", "clean"):
        assert torch.allclose(getattr(two, name), getattr(one, name), atol=1e-5), name


@pytest.mark.parametrize("scale", [1e-3, 7.3, 1e6])
def test_the_unit_of_time_changes_nothing(network, scale):
    drawn = tasks()
    one, two = (read(network, drawn.labels, drawn.times * c, 5) for c in (1.0, scale))
    for name, value in vars(one).items():
        assert torch.allclose(getattr(two, name), value, atol=1e-5), name


def test_every_process_of_a_batch_is_read_by_itself(network):
    drawn = tasks()
    whole = read(network, drawn.labels, drawn.times, 5)
    alone = read(network, drawn.labels[:, 2:3], drawn.times, 5)
    assert torch.allclose(alone.mean[0], whole.mean[2], atol=1e-5)


def belief(batch=3, n=4, seed=0):
    g = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(batch, *shape, generator=g, dtype=torch.float64)

    return JumpBelief(
        link=draw(n, n),
        log_weight=draw(n, n, 3).log_softmax(-1),
        mean=draw(n, n, 3),
        log_std=0.3 * draw(n, n, 3) - 1,
        point=draw(n, n),
        initial=draw(n).log_softmax(-1),
        noise_mean=draw() - 3,
        noise_log_std=0.3 * draw(),
        clean=draw(),
    )


def test_classical_estimates_are_logarithms_of_matrices_of_shares():
    """Of 10⁷ exact pairs a gap apart, ``log P / gap`` is the generator itself, in every bin that has any."""
    q = torch.tensor([[-0.3, 0.2, 0.1], [0.1, -0.5, 0.4], [0.3, 0.3, -0.6]], dtype=torch.float64)
    gaps = torch.tensor([0.2, 0.8], dtype=torch.float64)
    counts = torch.zeros(12, 3, 3, dtype=torch.float64)
    for place, gap in ((3, gaps[0]), (5, gaps[1])):
        counts[place] = 1e7 * torch.linalg.matrix_exp(q * gap)
    log_gap = torch.zeros(12, dtype=torch.float64)
    log_gap[[3, 5]] = gaps.log()
    one = torch.ones((), dtype=torch.float64)
    statistics = CoarseStatistics(
        counts, log_gap, torch.ones(3, dtype=torch.float64), 3e7 * one, 1e7 * one
    )
    _, observed, estimate = pair_features(statistics)
    assert observed[0, 1].nonzero()[:, 0].tolist() == [3, 5]
    off = ~torch.eye(3, dtype=torch.bool)
    for place, tolerance in ((3, 1e-6), (5, 3e-3)):  # eight terms of the series
        assert torch.allclose(estimate[..., place][off].exp(), q[off], rtol=tolerance)


def test_losses_are_negative_log_likelihoods():
    b = belief()
    g = torch.Generator().manual_seed(1)
    rates = torch.rand(3, 4, 4, generator=g, dtype=torch.float64) * (1 - torch.eye(4))
    rates[:, 0, 1] = 0
    initial = torch.rand(3, 4, generator=g, dtype=torch.float64)
    initial = initial / initial.sum(-1, keepdim=True)
    noise = torch.tensor([0.0, 0.01, 0.1], dtype=torch.float64)
    found = belief_loss(b, rates, initial, noise)
    off = ~np.eye(4, dtype=bool)
    chance, r = 1 / (1 + np.exp(-b.link.numpy())), rates.numpy()
    link = np.where(r > 0, np.log(chance), np.log1p(-chance))[:, off]
    assert float(found["link"]) == pytest.approx(-link.mean())
    log_r = np.log(np.where(r > 0, r, 1))[..., None]
    density = (
        b.log_weight.exp().numpy() * scipy.stats.norm.pdf(log_r, b.mean, b.log_std.exp())
    ).sum(-1)
    assert float(found["rate"]) == pytest.approx(
        -np.where(r > 0, np.log(density), 0)[:, off].mean()
    )
    error = np.square(np.exp(b.point.numpy()) * ~np.eye(4, dtype=bool) - r).sum((1, 2)) / np.square(
        r
    ).sum((1, 2))
    assert float(found["point"]) == pytest.approx(np.minimum(error, 10).mean())
    gain = [
        scipy.stats.entropy(p, q)
        for p, q in zip(initial.numpy(), b.initial.exp().numpy(), strict=True)
    ]
    assert float(found["initial"]) == pytest.approx(np.mean(gain))
    clean = 1 / (1 + np.exp(-b.clean.numpy()))
    logit = np.log([1, 0.01 / 0.99, 0.1 / 0.9])
    normal = scipy.stats.norm.logpdf(logit, b.noise_mean, b.noise_log_std.exp()) + 0.5 * math.log(
        2 * math.pi
    )
    expected = -np.log([clean[0], 1 - clean[1], 1 - clean[2]]) - np.where(
        [False, True, True], normal, 0
    )
    assert float(found["noise"]) == pytest.approx(expected.mean())


def test_gradients_are_finite_where_almost_nothing_was_seen(network):
    labels, times = (
        torch.zeros(2, 4, 1, dtype=torch.long),
        torch.tensor([0.0, 1.0], dtype=torch.float64),
    )
    statistics = JumpStatistics.of_batch(labels, times, 3).coarse()
    parts = belief_loss(
        network(statistics), torch.zeros(4, 3, 3), torch.full((4, 3), 1 / 3), torch.zeros(4)
    )
    sum(parts.values()).backward()
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    assert any(bool(g.abs().sum() > 0) for g in gradients)
    assert all(g.isfinite().all() for g in gradients)
    network.zero_grad()
