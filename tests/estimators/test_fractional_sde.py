import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.exceptions import NotFittedError

from dyninfer import FractionalNoise, FractionalSDE, Latent, Paths, load
from dyninfer.cli.main import main
from dyninfer.fractional import FractionalBrownianMotion

NILE = Path(os.environ.get("DYNINFER_DATA", ".")) / "long_memory" / "nile_minima.csv"


def fractional_ou(hurst, seed, n=64, length=200, rate=1.0, noise=0.1, end=10.0, inner=10):
    """Exact fractional motion through an exponential integrator, ten steps between two observations."""
    times = np.linspace(0, end, (length - 1) * inner + 1)
    steps = (
        FractionalBrownianMotion(hurst).sample(times, n, seed=seed, dtype=torch.float64).diff(dim=1)
    )
    dt = times[1]
    x, kept = torch.zeros(n, dtype=torch.float64), []
    for k in range(steps.shape[1] + 1):
        if k % inner == 0:
            kept.append(x)
        if k < steps.shape[1]:
            x = x * np.exp(-rate * dt) + steps[:, k] * np.exp(-rate * dt / 2)
    x = torch.stack(kept, dim=1)
    x = x + noise * torch.randn(
        x.shape, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64
    )
    return Paths(times=[times[::inner]] * n, states=list(x.numpy()[..., None]))


@pytest.mark.slow
def test_index_is_recovered_from_a_noisy_fractional_ou_process():
    """Within chance, by the interval, and what the approximation is known to be biased by, 0.02."""
    errors = []
    for hurst in (0.1, 0.3, 0.5, 0.7, 0.9):
        for seed in range(3):
            model = FractionalSDE().fit(fractional_ou(hurst, 10 * seed), progress=False)
            low, high = model.hurst_interval(0.999)
            assert low - 0.02 < hurst < high + 0.02
            errors.append(abs(model.hurst_ - hurst))
    assert np.mean(errors) <= 0.03


@pytest.mark.parametrize("hurst", [0.3, 0.8])
def test_index_is_recovered_from_few_paths(hurst):
    paths = fractional_ou(hurst, 0, n=16, length=50, end=2.5)
    model = FractionalSDE(noise=FractionalNoise(n_nodes=5), observation_noise=0.1).fit(
        paths, progress=False
    )
    low, high = model.hurst_interval(0.999)
    assert low < hurst < high
    assert high - low < 0.6


@pytest.mark.skipif(not NILE.exists(), reason="DYNINFER_DATA does not hold the Nile minima")
def test_memory_of_the_nile_minima_is_the_published_one():
    """The minima are fractional noise: their sum is fractional motion with a constant drift."""
    level = pd.read_csv(NILE)["NileMin"].to_numpy()
    total = np.concatenate([[0.0], np.cumsum(level - level.mean())])
    paths = Paths(times=[np.arange(len(total))], states=[total[:, None]])
    model = FractionalSDE(drift="constant", observation_noise=0.05 * level.std()).fit(
        paths, progress=False
    )
    assert abs(model.hurst_ - 0.837) < 0.025


def test_index_one_half_is_the_ordinary_ou_likelihood():
    """x' ~ N(μ + (x − μ) e^{−θh}, σ² (1 − e^{−2θh})/2θ): an ordinary Kalman filter of one number."""
    paths = fractional_ou(0.5, 3, n=3, length=20, end=5.0)
    model = FractionalSDE(noise=FractionalNoise(hurst=0.5, n_nodes=3)).fit(
        paths, max_steps=8, progress=False
    )
    prior, scaling = model.model_.prior, model.scaling_
    shift, scale = scaling.shift, scaling.scale
    theta, sigma = float(prior.rate), float(prior.scale * scale)
    mu = float(shift + scale * prior.level)
    noise = float(model.observation_noise_[0])
    for path, (t, x) in enumerate(zip(paths.times, paths.states, strict=True)):
        mean, var = (
            float(shift + scale * prior.start_mean),
            float(scale * prior.log_start.exp()) ** 2,
        )
        total = 0.0
        for k in range(len(t)):
            if k:
                decay = np.exp(-theta * (t[k] - t[k - 1]))
                mean = mu + (mean - mu) * decay
                var = var * decay**2 + sigma**2 * (1 - decay**2) / (2 * theta)
            spread = var + noise**2
            total -= 0.5 * (np.log(2 * np.pi * spread) + (x[k, 0] - mean) ** 2 / spread)
            mean, var = mean + var / spread * (x[k, 0] - mean), var * noise**2 / spread
        assert model.log_likelihoods(paths)[path] == pytest.approx(total, abs=1e-6)


def test_posterior_and_forecast_are_the_gaussian_conditional():
    """Dense conditioning of the covariance of the learned approximation, with a constant drift of nothing."""
    times = np.linspace(0, 2, 15)
    x = FractionalBrownianMotion(0.7).sample(times, 4, n_features=1, seed=1).double()
    paths = Paths(times=[times] * 4, states=list(x.numpy()))
    model = FractionalSDE(
        noise=FractionalNoise(n_nodes=5), drift="none", observation_noise=0.2
    ).fit(paths, max_steps=8, progress=False)
    wanted = [0.05, 0.5, 1.9]
    later = [2.5, 3.0]
    n = 2000
    prior, scaling = model.model_.prior, model.scaling_
    shift, scale = scaling.shift, scaling.scale
    every = np.concatenate([times, wanted, later])
    noise = prior.noise.covariance(every, model.hurst_) * (prior.scale * scale) ** 2
    full = noise.numpy() + float(scale * prior.log_start.exp()) ** 2
    start = float(shift + scale * prior.start_mean)
    gain = full[:, :15] @ np.linalg.inv(full[:15, :15] + 0.04 * np.eye(15))
    mean = start + gain @ (x[2, :, 0].numpy() - start)
    variance = np.diag(full - gain @ full[:15])
    for run, rows in (
        (model.posterior(paths).draw(wanted, n_samples=n), slice(15, 18)),
        (model.forecast(paths, later, n_samples=n), slice(18, 20)),
    ):
        mine = run.states[run.origin == "2", :, 0].numpy()
        assert (np.abs(mine.mean(0) - mean[rows]) < 4 * np.sqrt(variance[rows] / n)).all()
        np.testing.assert_allclose(mine.var(0), variance[rows], rtol=0.13)


def test_missing_values_and_irregular_times_are_marginalised():
    paths = fractional_ou(0.4, 5, n=3, length=12, end=2.0)
    model = FractionalSDE(noise=FractionalNoise(n_nodes=3)).fit(paths, max_steps=4, progress=False)
    dropped = [x.copy() for x in paths.states]
    dropped[1][4] = np.nan
    with_gap = Paths(times=paths.times, states=dropped)
    kept = np.arange(12) != 4
    without = Paths(times=[paths.times[1][kept]], states=[paths.states[1][kept]])
    assert model.log_likelihoods(with_gap)[1] == pytest.approx(
        model.log_likelihoods(without)[0], abs=1e-7
    )
    assert model.log_likelihoods(with_gap)[0] == pytest.approx(
        model.log_likelihoods(paths)[0], abs=1e-7
    )


def test_latent_readout_explains_correlated_features():
    """Three features of one hidden motion: one latent coordinate beats three independent ones."""
    times = np.linspace(0, 3, 25)
    hidden = FractionalBrownianMotion(0.7).sample(times, 6, seed=2).double()
    generator = torch.Generator().manual_seed(0)
    x = hidden[..., None] * torch.tensor([1.0, -2.0, 0.5]) + 0.1 * torch.randn(
        6, 25, 3, generator=generator
    )
    paths = Paths(times=[times] * 6, states=list(x.numpy()))
    options = {"drift": "none", "noise": FractionalNoise(n_nodes=3, hurst=0.7)}
    together = FractionalSDE(state=Latent(dim=1), **options).fit(
        paths, max_steps=15, progress=False
    )
    alone = FractionalSDE(**options).fit(paths, max_steps=15, progress=False)
    assert together.log_likelihoods(paths).mean() > alone.log_likelihoods(paths).mean() + 10
    drawn = together.posterior(paths).draw(n_samples=20)
    assert drawn.mean().shape[-1] == 3


def test_an_index_for_every_coordinate(tmp_path):
    times = np.linspace(0, 3, 60)
    x = np.stack(
        [FractionalBrownianMotion(h).sample(times, 8, seed=3).numpy() for h in (0.2, 0.8)], axis=-1
    )
    paths = Paths(times=[times] * 8, states=list(x))
    model = FractionalSDE(noise=FractionalNoise(per_dimension=True, n_nodes=5), drift="none").fit(
        paths, progress=False
    )
    np.testing.assert_allclose(model.hurst_, [0.2, 0.8], atol=0.15)
    assert model.hurst_interval().shape == (2, 2)
    again = load(model.save(tmp_path / "model.safetensors"))
    np.testing.assert_array_equal(again.hurst_interval(), model.hurst_interval())
    assert np.array_equal(again.log_likelihoods(paths), model.log_likelihoods(paths))


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"noise": FractionalNoise(hurst=1.2)}, "hurst"),
        ({"noise": FractionalNoise(hurst=0.5, per_dimension=True)}, "per_dimension"),
        ({"drift": "quadratic"}, "drift"),
        ({"state": Latent(dim=0)}, "state.dim"),
        ({"observation_noise": 0.0}, "observation_noise"),
        ({"noise": FractionalNoise(n_nodes=0)}, "n_nodes"),
        ({"noise": FractionalNoise(kind="III")}, "kind"),
    ],
)
def test_bad_settings_are_named(settings, word):
    with pytest.raises(ValueError, match=word):
        FractionalSDE(**settings).fit(fractional_ou(0.5, 0, n=2, length=5), progress=False)


def test_times_out_of_place_are_refused():
    paths = fractional_ou(0.5, 0, n=2, length=6, end=1.0)
    model = FractionalSDE(noise=FractionalNoise(hurst=0.5, n_nodes=2)).fit(
        paths, max_steps=3, progress=False
    )
    with pytest.raises(ValueError, match="begins at 0"):
        model.posterior(paths).draw([-1.0])
    with pytest.raises(ValueError, match="after the last observation"):
        model.forecast(paths, [0.5, 2.0])
    with pytest.raises(ValueError, match="given and not learned"):
        model.hurst_interval()
    with pytest.raises(TypeError, match="discrete"):
        FractionalSDE().fit(Paths(times=[[0, 1]], states=[np.array([0, 1])]), progress=False)


def test_paths_that_do_not_move_are_refused():
    still = Paths(
        times=[np.arange(9.0)] * 2,
        states=[np.stack([np.arange(9.0), np.full(9, k)], 1) for k in range(2)],
    )
    with pytest.raises(ValueError, match="feature 'x1' never changes"):
        FractionalSDE().fit(still, progress=False)
    with pytest.raises(ValueError, match="one observation only"):
        FractionalSDE().fit(Paths(times=[[0.0]], states=[[1.0]]), progress=False)


def test_numbers_that_cannot_be_are_named_wherever_they_are_given():
    data = fractional_ou(0.5, 0, n=3, length=6)
    wide = Paths(times=data.times, states=[np.repeat(x, 2, axis=1) for x in data.states])
    model = FractionalSDE(noise=FractionalNoise(n_nodes=2)).fit(data, max_steps=3, progress=False)
    for call, kind, word in (
        (
            lambda: model.log_likelihoods(wide),
            ValueError,
            "fitted on 1 feature, these data have 2",
        ),
        (lambda: model.elbo(data, n_samples=0), ValueError, "n_samples must be at least 1"),
        (
            lambda: model.posterior(data).draw(n_samples=2.5),
            TypeError,
            "n_samples must be a whole number",
        ),
        (lambda: model.posterior(data).draw(seed=1.5), TypeError, "seed must be a whole number"),
        (lambda: model.posterior(data).draw([]), ValueError, "times is empty"),
        (lambda: model.forecast(data, []), ValueError, "times is empty"),
        (lambda: model.simulate(data, []), ValueError, "times is empty"),
        (
            lambda: model.simulate(None, [0, 1], n_paths=-2),
            ValueError,
            "n_paths must be at least 1",
        ),
        (lambda: FractionalSDE().log_likelihoods(data), NotFittedError, "not fitted yet"),
    ):
        with pytest.raises(kind, match=word):
            call()


def test_a_feature_that_nobody_saw_is_named():
    data = fractional_ou(0.5, 0, n=3, length=6)
    blind = Paths(times=data.times, states=[np.c_[x, np.full(len(x), np.nan)] for x in data.states])
    with pytest.raises(ValueError, match="feature 'x1' is missing in every path"):
        FractionalSDE(noise=FractionalNoise(n_nodes=2)).fit(blind, progress=False)


def command_of_a_fit(folder, *settings):
    """Arguments of the command line, the file of three short paths that it reads, and the model file that it writes."""
    file, out = folder / "paths.h5ad", folder / "model.safetensors"
    fractional_ou(0.5, 0, n=3, length=6).to_anndata().write_h5ad(file)
    keys = ["--path-key", "path", "--time-key", "time", "--noise.n-nodes", "2"]
    return (
        ["fit", str(file), "--method", "FractionalSDE", *keys, *settings, "--out", str(out)],
        file,
        out,
    )


def test_the_command_line_fits_paths_and_says_which_drift(tmp_path, capsys):
    command, file, out = command_of_a_fit(tmp_path, "--drift", "constant", "--max-steps", "2")
    assert main(command) == 0, capsys.readouterr().err
    model = load(out)
    assert model.drift == "constant"
    assert model.inference is None
    assert len(model.history_) <= 3
    assert model.source_["path_key"] == "path"
    assert main(["evaluate", str(out), str(file)]) == 0
    assert main([*command, "--drift", "network", "--inference", "Exact"]) == 2
    assert "needs a linear equation" in capsys.readouterr().err


def test_the_command_line_reaches_into_every_object_of_settings(tmp_path, capsys):
    parts = ["--state", "Latent", "--state.dim", "2", "--inference", "Variational"]
    parts += ["--inference.width", "4", "--inference.training.learning-rate", "0.1"]
    command, _, out = command_of_a_fit(tmp_path, *parts, "--max-steps", "2")
    assert main(command) == 0, capsys.readouterr().err
    model = load(out)
    assert model.state.dim == 2
    assert model.inference.width == 4
    assert model.inference.training.learning_rate == 0.1
    assert model.training_.max_steps == 2


def test_a_limit_of_steps_on_the_command_line_leaves_the_training_of_few_paths(tmp_path, capsys):
    """One step on three paths, and not one of a training run with a tenth of them held out."""
    command, _, out = command_of_a_fit(tmp_path, "--drift", "network", "--max-steps", "1")
    assert main(command) == 0, capsys.readouterr().err
    history = load(out).history_
    assert list(history["step"]) == [1]
    assert "validation" not in history


def test_a_score_of_vectors_that_no_observation_has_is_said_to_be_missing():
    """Two features that are observed in turn, as by two instruments: no time has both of them."""
    rng = np.random.default_rng(0)
    times = [np.arange(10.0)] * 3
    states = [rng.normal(size=(10, 2)).cumsum(0) for _ in times]
    states[0][::2, 0] = np.nan
    states[0][1::2, 1] = np.nan
    paths = Paths(times=times, states=states)
    model = FractionalSDE(noise=FractionalNoise(n_nodes=3))
    model.fit(paths, progress=False, max_steps=3)
    with pytest.warns(UserWarning, match="energy_score is NaN for 1 of 3 paths") as caught:
        table = model.evaluate(paths, n_samples=4)
    assert caught[0].filename == __file__
    assert np.isnan(table["energy_score"]).tolist() == [True, False, False]
    assert np.isfinite(table["crps"]).all()


@pytest.mark.parametrize("drift", ["none", "linear"])
def test_a_row_of_missing_values_is_a_row_that_is_not_there(drift):
    times = np.arange(12.0)
    motion = FractionalBrownianMotion(0.4)
    x = motion.sample(times, 4, n_features=2, dtype=torch.float64).numpy()
    x[0, :2] = np.nan
    x[1, 3:7] = np.nan
    x[2, 5, 0] = np.nan
    is_there = ~np.isnan(x).all(-1)
    with_gaps = Paths(times=[times] * 4, states=list(x))
    rows = zip(x, is_there, strict=True)
    without = Paths(times=[times[k] for k in is_there], states=[own[k] for own, k in rows])
    noise = FractionalNoise(n_nodes=3)
    fits = [
        FractionalSDE(noise=noise, drift=drift).fit(paths, max_steps=3, progress=False)
        for paths in (with_gaps, without)
    ]
    found, expected = (model.log_likelihoods(with_gaps) for model in fits)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(fits[0].log_likelihoods(without), found)
