"""Tangent fields: spectra known in closed form, evidence against a dense law, noise against rivals."""

from dataclasses import replace

import anndata
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import multivariate_normal

import dyninfer as di
from dyninfer.data import keys
from dyninfer.diffusions.tangent import Cloud, Statistics, connection_spectrum, fit_posterior
from dyninfer.diffusions.tangent.regression import log_evidence, posterior_at
from dyninfer.metrics.velocities import score_velocities


def spiral(n):
    """Points spread evenly over the unit sphere, along Fibonacci's spiral."""
    i = np.arange(n) + 0.5
    z = 1 - 2 * i / n
    angle = np.pi * (1 + 5**0.5) * i
    r = np.sqrt(1 - z * z)
    return np.stack([r * np.cos(angle), r * np.sin(angle), z], axis=1)


def random_sphere(n, seed=0):
    x = np.random.default_rng(seed).normal(size=(n, 3))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def field(x):
    """A rotation, a gradient and a quadratic field on the sphere, of mean square 1 on it."""
    turn = np.array([[0, -1, 0.3], [1, 0, -0.5], [-0.3, 0.5, 0]])
    quadratic = np.array([[0.3, -0.9, 0.4], [0.6, 0.2, -0.5], [-0.7, 0.4, 0.8]])
    v = x @ turn.T + np.array([0.5, -0.2, 0.8]) + x * (x @ quadratic)
    v -= x * (v * x).sum(1, keepdims=True)
    return v / 1.4


def cells(x, v):
    return anndata.AnnData(obsm={"X_pca": x, "velocity_pca": v})


def fit(x, v, **settings):
    return di.VectorFieldGP(**settings).fit(cells(x, v), velocity_key="velocity_pca")


def test_spectrum_of_the_sphere_is_one_five_eleven():
    cloud = Cloud.of(spiral(2000), 10)
    values = connection_spectrum(cloud, 30).laplacian
    assert cloud.dimension == 2
    bands = [values[:6], values[6:16], values[16:30]]
    # l (l + 1) − 1 with multiplicity 2 (2 l + 1): in the units of the sphere, not only in ratios.
    for band, value in zip(bands, [1, 5, 11], strict=True):
        np.testing.assert_allclose(band, value, rtol=0.02)


def test_first_scalar_eigenvalue_is_twice_the_first_of_vectors():
    cloud = Cloud.of(random_sphere(2000), 40)
    of_vectors = connection_spectrum(cloud, 6).laplacian.mean()
    # Scalars are vectors in one dimension that no rotation changes.
    flat = replace(cloud, frames=np.ones((2000, 1, 1)))
    spectrum = connection_spectrum(flat, 4)
    of_scalars = spectrum.laplacian[1:].mean() * 2  # 2 d, with d = 2
    assert of_scalars / of_vectors == pytest.approx(2, rel=0.01)


def test_spectrum_of_the_flat_torus_is_that_of_functions_twice():
    angle = np.arange(45) * 2 * np.pi / 45
    a, b = (grid.ravel() for grid in np.meshgrid(angle, angle))
    torus = np.stack([np.cos(a), np.sin(a), np.cos(b), np.sin(b)], axis=1)
    values = connection_spectrum(Cloud.of(torus, 12), 12).laplacian
    expected = [0, 0, *[1] * 8, 2, 2]
    np.testing.assert_allclose(values, expected, atol=0.02)


def test_evidence_and_posterior_are_those_of_the_dense_normal_law():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(30, 4))
    y = rng.normal(size=30)
    laplacian = torch.tensor([0.0, 1.0, 2.0, 5.0], dtype=torch.float64)
    theta = torch.tensor([1.3, 0.7, 0.4], dtype=torch.float64)
    density = (3 / 0.7**2 + laplacian.numpy()) ** -2.5
    prior = 1.3**2 * density / density.sum()
    covariance = features * prior @ features.T + 0.4**2 * np.eye(30)
    statistics = Statistics.of(features, y)
    found = log_evidence(statistics, laplacian, 2, theta)
    expected = multivariate_normal(np.zeros(30), covariance).logpdf(y)
    assert float(found) == pytest.approx(expected, rel=1e-10)
    posterior = posterior_at(statistics, laplacian, 2, theta)
    gain = prior[:, None] * features.T @ np.linalg.inv(covariance)
    np.testing.assert_allclose(posterior.mean, gain @ y, rtol=1e-9)
    spread = np.diag(prior) - gain @ features * prior
    np.testing.assert_allclose(posterior.factor @ posterior.factor.T, spread, atol=1e-10)


def test_hyperparameters_are_found():
    rng = np.random.default_rng(1)
    cloud = Cloud.of(random_sphere(600), 30)
    spectrum = connection_spectrum(cloud, 60)
    density = (3 / 0.5**2 + spectrum.laplacian) ** -2.5
    weights = rng.normal(size=60) * np.sqrt(density / density.sum())
    clean = spectrum.fields @ weights
    y = clean + 0.2 * rng.normal(size=clean.shape)
    statistics = Statistics.of(spectrum.fields.reshape(-1, 60), y.ravel())
    posterior = fit_posterior(statistics, spectrum.laplacian, 2)
    assert posterior.noise == pytest.approx(0.2, rel=0.1)
    # Sixty weights know the amplitude to a tenth, and their decay less well.
    assert posterior.length == pytest.approx(0.5, rel=0.5)


def scalar_fields(cloud, x, y, is_observed):
    """A Gaussian process of every channel alone, on the scalar eigenfunctions of the same graph."""
    flat = replace(cloud, frames=np.ones((len(x), 1, 1)))
    spectrum = connection_spectrum(flat, 100)
    functions = spectrum.fields[:, 0]
    channels = []
    for channel in y.T:
        statistics = Statistics.of(functions[is_observed], channel[is_observed])
        posterior = fit_posterior(statistics, spectrum.laplacian, 2)
        channels.append(functions @ posterior.mean)
    return np.stack(channels, axis=1)


@pytest.mark.parametrize(
    ("noise", "share"), [(0.5, 0.5), pytest.param(0.5, 0.05, marks=pytest.mark.slow), (0.0, 0.5)]
)
def test_noise_is_where_the_connection_helps(noise, share):
    """With noise it beats channels alone and neighbours; without, channels alone are better."""
    x = random_sphere(2000)
    v = field(x)
    rng = np.random.default_rng(1)
    y = v + noise * rng.normal(size=v.shape)
    is_observed = rng.random(len(x)) < share
    with_gaps = np.where(is_observed[:, None], y, np.nan)
    model = fit(x, with_gaps)
    others = ~is_observed
    own = score_velocities(v[others], model.predict(x[others])[0])
    channels = scalar_fields(Cloud.of(x, 40), x, y, is_observed)
    alone = score_velocities(v[others], channels[others])
    nearest = score_velocities(v[others], model.predict_from_neighbors(x[others]))
    if noise:
        # The bars of half observed: .973, .962 and .933 of alignment, at fixed hyperparameters.
        least = {0.5: 0.985, 0.05: 0.96}[share]
        assert own["alignment"] > max(least, alone["alignment"], nearest["alignment"])
        assert own["relative_error"] < min(alone["relative_error"], nearest["relative_error"])
    else:
        assert alone["relative_error"] < own["relative_error"] < 0.06


def test_new_positions_are_predicted_with_errors_that_hold():
    x = random_sphere(1500)
    v = field(x)
    y = v + 0.3 * np.random.default_rng(1).normal(size=v.shape)
    model = fit(x, y)
    new = random_sphere(500, seed=5)
    mean, deviation = model.predict(new)
    truth = field(new)
    scores = score_velocities(truth, mean, (truth - mean) / deviation)
    assert scores["alignment"] > 0.99
    # Extension by an average blurs a little, which the posterior does not know.
    assert 0.8 < scores["coverage"] < 0.97
    assert model.noise_ == pytest.approx(0.3, rel=0.05)
    assert model.dimension_ == 2
    with pytest.warns(UserWarning, match="far from every cell"):
        model.predict(3 * new[:5])


def test_paths_stay_on_the_surface_and_follow_a_rotation_home():
    x = spiral(1000)
    turn = np.stack([-x[:, 1], x[:, 0], 0 * x[:, 2]], axis=1)
    model = fit(x, turn)
    start = random_sphere(20, seed=3)
    for solver in (None, di.solvers.RungeKutta4(dt=0.05)):
        run = model.simulate(start, [0.0, 2 * np.pi], solver=solver)
        end = run.states[:, -1].numpy()
        # In a bandwidth of 0.2 the surface is found to the fourth order.
        np.testing.assert_allclose(np.linalg.norm(end, axis=1), 1, atol=3e-3)
        assert np.linalg.norm(end - start, axis=1).max() < 0.1
    lifted = model.simulate(1.05 * start, [0.0, 1.0]).states[:, -1].norm(dim=1)
    np.testing.assert_allclose(lifted, 1, atol=5e-3)


def test_a_stranger_with_layers_and_held_out_cells():
    x = random_sphere(300)
    adata = anndata.AnnData(X=x, layers={"velocity": field(x)})
    names = list(adata.obs_names[:30])
    model = di.VectorFieldGP(n_neighbors=20)
    model.fit(adata, velocity_key="velocity", use_rep="X", hold_out=names)
    table = model.evaluate(adata)
    assert list(table["held_out"]) == [True, False]
    assert table["alignment"].min() > 0.97
    of_cells, _ = model.predict(adata)
    np.testing.assert_array_equal(of_cells, model.predict(x)[0])
    model.annotate(adata)
    assert adata.obsm[keys.VELOCITY_SD].shape == x.shape


def test_what_cannot_be_is_refused():
    x = random_sphere(60)
    v = field(x)
    with pytest.raises(ValueError, match="needs at least 101 cells, and there are 60; lower it"):
        fit(x, v, n_neighbors=100)
    with pytest.raises(ValueError, match="dimension=4 is more than the 3 features"):
        fit(x, v, dimension=4)
    with pytest.raises(ValueError, match="coincide"):
        fit(np.repeat(x[:2], 30, axis=0), v, n_neighbors=10)
    with pytest.raises(ValueError, match="velocity_embedding"):
        fit(x, np.where(np.arange(3) == 1, np.nan, v))
    model = fit(x, v, n_neighbors=10)
    with pytest.raises(TypeError, match="learns from velocities, and compare needs"):
        di.tl.compare(cells(x, v), model)


def test_time_that_runs_down_stays_on_the_surface_too():
    """Turned round as a whole, the drift would lead away from the circle, and to its middle."""
    angle = np.sort(np.random.default_rng(0).uniform(0, 2 * np.pi, 200))
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    model = fit(circle, circle[:, ::-1] * [-1, 1], dimension=1, n_neighbors=10)
    run = model.simulate(np.array([[1.0, 0.0]]), [1.0, 0.0], backward=True)
    expected = [np.cos(1), -np.sin(1)]
    np.testing.assert_allclose(run.states[0, -1], expected, atol=0.02)
    # At 1.05 of the radius the way back is inward in both directions of time.
    lifted = model.simulate(np.array([[1.05, 0.0]]), [1.0, 0.0], backward=True)
    assert float(lifted.states[0, -1].norm()) == pytest.approx(1, abs=5e-3)


def test_a_single_field_needs_no_length():
    x = np.linspace(0, 1, 30)[:, None]
    model = fit(x, np.ones_like(x), n_neighbors=5, n_eigen=1)
    mean, _ = model.predict(x[:3])
    np.testing.assert_allclose(mean, 1, rtol=1e-3)
    with pytest.raises(ValueError, match="x has NaN or infinite values in 1 of 1 rows"):
        model.predict([[np.nan]])


def test_cells_on_a_grid_give_one_field_in_any_unit_and_order():
    """Many neighbours are equally far, and rounding must not choose among them."""
    side = np.linspace(-1, 1, 12)
    a, b = (grid.ravel() for grid in np.meshgrid(side, side))
    sheet = np.stack([a, b, 0.5 * a**2], axis=1)
    v = np.stack([-b, a, -a * b], axis=1)
    mean, _ = fit(sheet, v, n_neighbors=20).predict(sheet)
    unit = 3.7
    scaled, _ = fit(unit * sheet, unit * v, n_neighbors=20).predict(unit * sheet)
    np.testing.assert_allclose(scaled / unit, mean, atol=1e-6)
    order = np.random.default_rng(0).permutation(len(sheet))
    shuffled, _ = fit(sheet[order], v[order], n_neighbors=20).predict(sheet)
    np.testing.assert_allclose(shuffled, mean, atol=1e-6)
    with pytest.raises(ValueError, match="equally far from all of them"):
        fit(np.stack([a, b], axis=1), v[:, :2], n_neighbors=3)


def test_cells_that_stand_still_have_no_relative_error():
    still = np.zeros((4, 2))
    scores = score_velocities(still, np.ones((4, 2)))
    assert np.isnan(scores["alignment"])
    assert np.isnan(scores["relative_error"])


def test_copies_of_cells_and_columns_in_another_order_are_named():
    x = random_sphere(12)
    copies = np.repeat(x, 10, axis=0)
    with pytest.raises(ValueError, match="cells coincide with their 9 nearest ones"):
        fit(copies, field(copies), n_neighbors=10)
    few_copies = np.concatenate([random_sphere(60), np.repeat(x[:1], 20, axis=0)])
    with pytest.raises(ValueError, match="cells coincide with their 9 nearest ones"):
        fit(few_copies, field(few_copies), n_neighbors=10)
    x = random_sphere(60)
    frame = pd.DataFrame(x, columns=["a", "b", "c"], index=[str(i) for i in range(60)])
    turned = frame[["b", "a", "c"]]
    with pytest.raises(ValueError, match="'velocity_pca' has the features of 'X_pca' in another"):
        fit(frame, turned, n_neighbors=10)
    same = cells(x, x)
    with pytest.raises(ValueError, match="velocity_key and use_rep both name 'X_pca'"):
        di.VectorFieldGP().fit(same, velocity_key="X_pca")
