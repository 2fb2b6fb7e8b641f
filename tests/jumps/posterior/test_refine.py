"""Refinement: weighted draws beside quadrature of two rates, the arithmetic of weights, and the laws that are drawn from."""

import itertools

import numpy as np
import pytest
import scipy.stats
import torch
from scipy.linalg import expm

import dyninfer as di
from dyninfer.jumps import HiddenPaths, LabelNoise, infer, observe
from dyninfer.jumps.likelihood.forward import label_log_likelihood
from dyninfer.jumps.posterior import refine
from dyninfer.jumps.posterior.distributions import Mixture, NormalMixtures, Product, StudentT
from dyninfer.jumps.posterior.importance import effective_size, resampled, weighted_draws
from dyninfer.jumps.posterior.labels import ExactLabelLikelihood
from dyninfer.jumps.posterior.network_prior import hardly_left
from dyninfer.jumps.posterior.refine import (
    PooledPosterior,
    RefinementProblem,
    groups_of,
    most_probable,
    proposal_of,
)
from dyninfer.simulation import simulate

GRID = np.linspace(-9.0, 4.0, 521)


def tensor(x):
    return torch.tensor(x, dtype=torch.float64)


def two_state_paths(n=12, seed=0, rates=(0.6, 1.5)):
    process = di.MarkovJump([[-rates[0], rates[0]], [rates[1], -rates[1]]])
    return observe(
        simulate(process, None, 0.5 * np.arange(9), n_paths=n, seed=seed),
        LabelNoise.perfect(2),
        seed=seed,
    )


def two_state_log_likelihood(paths):
    """Closed form on the grid ``(log a, log b)``: ``P_00(t) = (b + a e^{−(a+b)t}) / (a + b)``."""
    a, b = np.exp(GRID)[:, None], np.exp(GRID)[None]
    decay = np.exp(-0.5 * (a + b))
    p = {(0, 1): a / (a + b) * (1 - decay), (1, 0): b / (a + b) * (1 - decay)}
    p[0, 0], p[1, 1] = 1 - p[0, 1], 1 - p[1, 0]
    total = 0.0
    for x in paths.states:
        for pair in zip(x, x[1:], strict=False):
            total = total + np.log(p[int(pair[0]), int(pair[1])])
    return total


def mixture_log_density(law, row, x):
    parts = scipy.stats.norm.pdf(
        np.asarray(x)[..., None], law.mean[row].numpy(), law.std[row].numpy()
    )
    return np.log((law.log_weight[row].exp().numpy() * parts).sum(-1))


PRIORS = (
    NormalMixtures(
        tensor([[0.6, 0.4], [0.5, 0.5]]).log(),
        tensor([[-0.5, -4.5], [0.2, -4.0]]),
        tensor([[0.7, 1.0]] * 2),
    ),
    NormalMixtures(
        tensor([[0.8, 0.2], [0.3, 0.7]]).log(),
        tensor([[-0.9, -4.5], [0.6, -4.0]]),
        tensor([[0.9, 1.0]] * 2),
    ),
)


@pytest.mark.parametrize(
    "seen_rates", [(0.6, 1.5), (0.6, 0.02)], ids=["both jumps seen", "one hardly ever"]
)
def test_weighted_draws_have_the_mean_and_the_spread_of_quadrature(seen_rates):
    paths = two_state_paths(rates=seen_rates)
    labels = ExactLabelLikelihood.of(paths, 2)
    posterior = PooledPosterior(PRIORS, labels, 0.5)
    problem = RefinementProblem(posterior, tensor(96.0))
    fits, _, best = most_probable(problem, tensor([[-0.5, 0.0]]), 100)
    proposal = proposal_of(fits.member(best), PRIORS[0], torch.tensor([False, True]))
    x, weight = weighted_draws(problem.log_posterior, proposal, 4000, seed=1)

    first, second = (
        np.mean([mixture_log_density(law, row, GRID) for law in PRIORS], 0) for row in (0, 1)
    )
    log_prob = first[:, None] + second[None] + 0.5 * two_state_log_likelihood(paths)
    density = np.exp(log_prob - log_prob.max())
    density /= density.sum()
    ess = effective_size(weight)
    assert ess > 400
    for row, marginal in enumerate((density.sum(1), density.sum(0))):
        mean = (marginal * GRID).sum()
        std = np.sqrt((marginal * (GRID - mean) ** 2).sum())
        found = float(weight @ x[:, row])
        spread = float((weight @ (x[:, row] - found).square()).sqrt())
        assert found == pytest.approx(mean, abs=4 * std / np.sqrt(ess))
        assert spread == pytest.approx(std, rel=6 / np.sqrt(ess))
        absent = marginal[GRID < -3].sum()
        error = np.sqrt(absent * (1 - absent) / ess)
        assert float(weight[x[:, row] < -3].sum()) == pytest.approx(absent, abs=4 * error + 1e-3)


def test_the_effective_size_counts_equal_weights():
    assert effective_size(torch.full((7,), 1 / 7)) == pytest.approx(7)
    assert effective_size(tensor([0.5, 0.5, 0.0])) == pytest.approx(2)
    assert effective_size(tensor([1.0, 0.0])) == 1
    assert effective_size(tensor([0.7, 0.2, 0.1])) == pytest.approx(1 / 0.54)


def test_resampling_keeps_every_share_up_to_one_draw():
    weight = torch.rand(
        50, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    ).square()
    weight = weight / weight.sum()
    counts = torch.bincount(resampled(weight, 300, seed=4), minlength=50)
    assert int(counts.sum()) == 300
    assert (counts - 300 * weight).abs().max() < 1


def test_densities_are_those_of_scipy():
    g = torch.Generator().manual_seed(0)
    root = torch.linalg.cholesky(tensor([[1.0, 0.3, 0.0], [0.3, 0.5, 0.1], [0.0, 0.1, 2.0]]))
    student, law = StudentT(tensor([0.1, -0.2, 0.3]), root), PRIORS[0]
    x = torch.randn(5, 3, generator=g, dtype=torch.float64)
    expected = scipy.stats.multivariate_t([0.1, -0.2, 0.3], (root @ root.T).numpy(), df=30).logpdf(
        x
    )
    np.testing.assert_allclose(student.log_prob(x), expected, rtol=1e-10)
    rows = sum(mixture_log_density(law, row, x[:, row]) for row in (0, 1))
    np.testing.assert_allclose(law.log_prob(x[:, :2]), rows, rtol=1e-10)
    wide = law.mixed(0.1, tensor([0.0, 0.0]), tensor([2.0, 2.0]))
    single = np.log(
        0.9 * np.exp(mixture_log_density(law, 0, x[:, 0]))
        + 0.1 * scipy.stats.norm.pdf(x[:, 0], 0, 2)
    )
    np.testing.assert_allclose(
        wide.part(torch.tensor([True, False])).log_prob(x[:, :1]), single, rtol=1e-10
    )
    product = Product(
        torch.tensor([False, True, True]), law, StudentT(tensor([0.0]), tensor([[1.0]]))
    )
    t = scipy.stats.t(30).logpdf(x[:, 0])
    np.testing.assert_allclose(product.log_prob(x), law.log_prob(x[:, 1:]).numpy() + t, rtol=1e-10)
    blend = Mixture((product, student), (0.25, 0.75))
    both = 0.25 * product.log_prob(x).exp() + 0.75 * student.log_prob(x).exp()
    np.testing.assert_allclose(blend.log_prob(x), both.log(), rtol=1e-10)


def test_draws_have_the_density_that_is_claimed():
    law, root = PRIORS[0], tensor([[0.8]])
    product = Product(torch.tensor([True, False, True]), law, StudentT(tensor([1.0]), root))
    x = (
        Mixture((product, product), (0.3, 0.7))
        .sample(4000, torch.Generator().manual_seed(2))
        .numpy()
    )
    assert x.shape == (4000, 3)
    assert scipy.stats.kstest((x[:, 1] - 1) / 0.8, scipy.stats.t(30).cdf).pvalue > 1e-3
    for column, row in ((0, 0), (2, 1)):
        w, m, s = law.log_weight[row].exp().numpy(), law.mean[row].numpy(), law.std[row].numpy()

        def cdf(y, w=w, m=m, s=s):
            return (w * scipy.stats.norm.cdf(y[:, None], m, s)).sum(-1)

        assert scipy.stats.kstest(x[:, column], cdf).pvalue > 1e-3


@pytest.mark.parametrize("regular", [True, False])
def test_the_forward_recursion_of_labels_is_that_of_brute_force(regular):
    times = [[0.0, 0.4, 1.0, 1.6]] * 2 if regular else [[0.0, 0.4, 1.0, 1.6], [0.0, 0.7, 0.9]]
    states = [[0, 1, -1, 1], [1, 1, 0, 0][: len(times[1])]]
    data = HiddenPaths.of(di.Paths(times=times, states=states, state_names=["a", "b"]))
    generators = tensor([[[-1.0, 1.0], [0.5, -0.5]], [[-0.2, 0.2], [2.0, -2.0]]])
    noise, first = LabelNoise.uniform(2, tensor([0.1, 0.3])), tensor([0.3, 0.7])
    found = label_log_likelihood(data, generators, noise.confusion, first)
    for q, confusion, value in zip(generators.numpy(), noise.confusion.numpy(), found, strict=True):
        expected = 0.0
        for t, labels in zip(times, states, strict=True):
            steps = [expm(q * wait) for wait in np.diff(t)]
            total = 0.0
            for path in itertools.product(range(2), repeat=len(t)):
                moves = zip(steps, path, path[1:], strict=False)
                seen = [confusion[s, o] for s, o in zip(path, labels, strict=True) if o >= 0]
                total += (
                    first[path[0]].item() * np.prod([p[a, b] for p, a, b in moves]) * np.prod(seen)
                )
            expected += np.log(total)
        assert float(value) == pytest.approx(expected, abs=1e-10)


def test_groups_are_disjoint_and_leave_at_least_half():
    for n, size, number in ((1, 0, 0), (2, 1, 2), (9, 4, 2), (30, 15, 2), (300, 15, 5)):
        found = groups_of(two_state_paths(n))
        assert [len(group) for group in found] == [size] * number
        assert len(set(np.concatenate([*found, []]))) == size * number
    paths = two_state_paths(9)
    back = paths[list(range(9))[::-1]]
    for one, two in zip(groups_of(paths), groups_of(back), strict=True):
        assert set(paths.names[one]) == set(back.names[two])


def test_rates_out_of_a_state_that_was_never_seen_are_those_of_the_network():
    data = two_state_paths(40)
    model = di.MarkovJumpInference(observation=di.ExactLabels(n_states=3)).fit(data, progress=False)
    network = infer(data, 3).rates.numpy()
    np.testing.assert_allclose(model.generator_[2, :2], network[2, :2], rtol=1e-6)
    fitted = model.fit_.generator.numpy()
    np.testing.assert_allclose(model.generator_[:2], fitted[:2], rtol=1e-12)
    assert not np.allclose(fitted[2, :2], network[2, :2], rtol=1e-2)


def test_data_unlike_those_of_the_training_are_said_to_be_once():
    ring = di.MarkovJump(np.roll(np.eye(11), 1, axis=1) - np.eye(11))
    data = simulate(ring, None, 0.5 * np.arange(20), n_paths=20, seed=0)
    paths = di.Paths(times=[data.times] * 20, states=list(data.states.numpy()))
    with pytest.warns(UserWarning, match="number of states is 11, in training 2 to 10") as said:
        di.MarkovJumpInference(observation=di.ExactLabels(n_states=11)).fit(paths, progress=False)
    assert len([w for w in said if "not trained on" in str(w.message)]) == 1


def test_costly_draws_are_weighed_few_at_a_time_with_the_same_weights(monkeypatch):
    paths, sizes = two_state_paths(), []
    whole = di.MarkovJumpInference(observation="exact").fit(paths, progress=False)
    plain = PooledPosterior.log_prob
    monkeypatch.setattr(refine, "_AT_ONCE", 1.0)
    monkeypatch.setattr(
        PooledPosterior,
        "log_prob",
        lambda self, theta, *rest: (sizes.append(len(theta)), plain(self, theta, *rest))[1],
    )
    parts = di.MarkovJumpInference(observation="exact").fit(paths, progress=False)
    assert max(sizes) <= 2  # the starts of the maximisation
    torch.testing.assert_close(parts.posterior_.draws, whole.posterior_.draws)


def test_a_state_is_hardly_left_when_wrong_labels_explain_its_ends():
    paths = di.Paths(
        times=[np.arange(24.0), np.arange(3.0)], states=[np.array([0, 1] * 12), np.array([0, 0, 2])]
    )
    assert hardly_left(paths, 3, 0.0).tolist() == [False, False, True]  # left 13, 11 and 0 times
    assert hardly_left(paths, 3, 0.2).tolist() == [False, True, True]  # 2.7 of them by wrong labels
