"""Several views of one hidden path: laws of the observations, patterns of loadings, evidence."""

import numpy as np
import pytest
import torch
from scipy import stats

import dyninfer as di
from dyninfer.fractional import MarkovApproximation
from dyninfer.fractional.families import Families
from dyninfer.fractional.inference import LinearPrior, Series, exact_log_likelihood
from dyninfer.fractional.views import first_loading, visibility

GAUSSIAN = di.View(n_features=3, coordinates=[0, 1])
SPIKES = di.View(n_features=4, family="poisson", coordinates=[1, 2])
BURSTS = di.View(n_features=2, family="negative_binomial")
PATTERN = visibility([GAUSSIAN, SPIKES], 3)
NOISE = di.FractionalNoise(n_nodes=2, hurst=0.5)


def test_densities_are_those_of_scipy():
    families = Families([GAUSSIAN, SPIKES, BURSTS])
    rng = np.random.default_rng(0)
    readout = rng.normal(size=(5, 9))
    values = np.concatenate([rng.normal(size=(5, 3)), rng.poisson(3, (5, 6))], axis=1)
    log_noise = rng.normal(size=9) - 0.5
    found = families.log_density(*map(torch.tensor, (values, readout, log_noise))).numpy()
    deviation, rate = np.exp(log_noise), np.exp(readout)
    normal = stats.norm(readout[:, :3], deviation[:3]).logpdf(values[:, :3])
    poisson = stats.poisson(rate[:, 3:7]).logpmf(values[:, 3:7])
    shape = 1 / deviation[7:] ** 2
    bursts = stats.nbinom(shape, shape / (shape + rate[:, 7:])).logpmf(values[:, 7:])
    np.testing.assert_allclose(found, np.concatenate([normal, poisson, bursts], axis=1), rtol=1e-9)


def test_draws_have_the_means_and_variances_of_their_laws():
    families = Families([GAUSSIAN, SPIKES, BURSTS])
    means = np.full((20_000, 9), 4.0)
    deviation = np.full(9, 0.5)
    drawn = families.draw(means, deviation, np.random.default_rng(0))
    np.testing.assert_allclose(drawn.mean(0), 4.0, atol=0.1)
    # Of a rate that varies by a half: 4 + (4 / 2)².
    np.testing.assert_allclose(drawn.var(0), [0.25] * 3 + [4.0] * 4 + [8.0] * 2, rtol=0.06)
    means[0] = np.nan
    again = families.draw(means, deviation, np.random.default_rng(0))
    assert np.isnan(again[0]).all()
    np.testing.assert_allclose(again[1:].mean(0), 4.0, atol=0.1)


def test_every_coordinate_begins_with_a_feature_of_its_own():
    assert PATTERN.sum() == 14
    loading = first_loading(PATTERN)
    assert (loading.sum(0) == 1).all()
    assert (loading.sum(1) <= 1).all()
    assert (loading[~PATTERN] == 0).all()


def test_evidence_of_normal_views_is_that_of_the_dense_law():
    """With shared and private coordinates, the filter gives the density of one normal vector."""
    pattern = visibility([GAUSSIAN, di.View(n_features=4, coordinates=[1, 2])], 3)
    shared = {"drift": "linear", "hurst": 0.7, "shared": True, "tau": 0.2, "free_start": False}
    memory = MarkovApproximation(3, horizon=2.0, dt=0.1)
    noise = torch.full((7,), 0.4, dtype=torch.float64)
    prior = LinearPrior(
        memory, 3, 7, observation_noise=noise, latent=True, visibility=pattern, **shared
    ).requires_grad_(False)
    alone = LinearPrior(memory, 3, 3, observation_noise=noise[:3], latent=False, **shared)
    alone.requires_grad_(False)
    rng = np.random.default_rng(0)
    prior.loading.copy_(torch.tensor(rng.normal(size=(7, 3))))
    assert (prior.readout[~pattern] == 0).all()
    times = np.array([0.0, 0.3, 0.5, 1.1, 2.0])
    values = rng.normal(size=(5, 7))
    values[2, 4] = np.nan
    series = Series.of_values(di.Paths(times=[times], states=[values]))
    of_states = alone.state_covariance(torch.tensor(times)).numpy()
    loading = prior.readout.numpy()
    covariance = np.einsum("fk,kst,gk->sftg", loading, of_states, loading).reshape(35, 35)
    covariance += 0.16 * np.eye(35)
    present = ~np.isnan(values.ravel())
    mean = (prior.start_mean - prior.level).numpy() @ loading.T
    assert np.allclose(mean, 0)
    dense = stats.multivariate_normal(np.zeros(34), covariance[np.ix_(present, present)])
    expected = dense.logpdf(values.ravel()[present])
    assert exact_log_likelihood(prior, series).item() == pytest.approx(expected, abs=1e-8)


def two_views(n=12, length=30, seed=0, n_neurons=12):
    """Paths of an angle that a behaviour and spikes share, and a private coordinate of each."""
    rng = np.random.default_rng(seed)
    times = 0.1 * np.arange(length)
    hidden = 0.5 * rng.normal(size=(n, length, 3)).cumsum(1)
    hidden -= hidden.mean((0, 1))
    loading = rng.normal(size=(4 + n_neurons, 3))
    loading[:4, 2] = 0
    loading[4:, 0] = 0
    readout = 0.5 * hidden @ loading.T
    behaviour = readout[..., :4] + 0.2 * rng.normal(size=(n, length, 4))
    spikes = rng.poisson(np.exp(readout[..., 4:].clip(max=4) + 0.5))
    states = np.concatenate([behaviour, spikes], axis=2)
    return di.Paths(times=[times] * n, states=list(states)), hidden


def fitted(paths, n_neurons=12, max_steps=10, family="poisson"):
    views = [
        di.View(n_features=4, coordinates=[0, 1]),
        di.View(n_features=n_neurons, family=family, coordinates=[1, 2]),
    ]
    return di.FractionalSDE(
        noise=NOISE,
        state=di.Latent(dim=3, views=views),
        inference=di.Variational(control=None, n_samples=4, width=16),
    ).fit(paths, max_steps=max_steps, progress=False)


def test_zeros_of_the_loadings_stay_and_files_keep_the_views(tmp_path):
    paths, _ = two_views()
    model = fitted(paths, family="negative_binomial")
    decoder = model.model_.decoder
    at_origin = model.decode(torch.zeros(1, 1, 3).double())
    moved = model.decode(torch.tensor([[[1.0, 0.0, 0.0]]]).double())
    assert torch.equal(moved[..., 4:], at_origin[..., 4:])
    assert not torch.equal(moved[..., :4], at_origin[..., :4])
    again = di.load(model.save(tmp_path / "model"))
    assert torch.equal(again.model_.decoder.visibility, decoder.visibility)
    first = model.posterior(paths).draw(n_samples=2).states
    assert torch.equal(again.posterior(paths).draw(n_samples=2).states, first)
    assert (first[..., 4:] >= 0).all()
    seen = model.observe(first, seed=1)
    assert torch.equal(seen[..., 4:], seen[..., 4:].round())
    assert np.isfinite(model.log_likelihoods(paths)).all()


def test_noise_of_poisson_counts_has_no_number():
    paths, _ = two_views(n=4, length=8, n_neurons=3)
    noise = fitted(paths, n_neurons=3, max_steps=2).observation_noise_
    np.testing.assert_array_equal(np.isnan(noise), [False] * 4 + [True] * 3)


@pytest.mark.slow
def test_a_shared_coordinate_is_recovered_from_spikes_and_behaviour():
    paths, hidden = two_views(n=24, length=40)
    model = fitted(paths, max_steps=600)
    posterior = model.posterior(paths)
    at_times = [posterior.states_at(t, n_draws=20).reshape(24, 20, 3) for t in paths.times[0]]
    means = torch.stack([draws.mean(1) for draws in at_times], dim=1).numpy()
    correlations = [
        abs(np.corrcoef(means[..., k].ravel(), hidden[..., k].ravel())[0, 1]) for k in range(3)
    ]
    print(correlations)
    assert min(correlations) > 0.9


@pytest.mark.parametrize(
    ("views", "message"),
    [
        ([], "is empty"),
        (
            [di.View(n_features=2, family="binomial")],
            "'gaussian', 'poisson' or 'negative_binomial'",
        ),
        ([di.View(n_features=2, coordinates=[3])], "from 0 to 2, as dim=3"),
        ([di.View(n_features=2, coordinates=[0, 1])], "no view uses coordinate 2"),
        ([di.View(n_features=2)], "have 2 features together, and the data 5"),
        ([di.View(n_features=5, family="poisson")], "counts are whole numbers from 0"),
    ],
)
def test_views_that_cannot_be_are_refused(views, message):
    times = np.arange(5.0)
    x = np.random.default_rng(0).normal(size=(2, 5, 5))
    paths = di.Paths(times=[times] * 2, states=list(x))
    with pytest.raises(ValueError, match=message):
        di.FractionalSDE(state=di.Latent(dim=3, views=views)).fit(paths, progress=False)
