"""An index of memory that changes in time, as a user fits, saves and asks it."""

import numpy as np
import pandas as pd
import pytest
import torch

from dyninfer import (
    FractionalNoise,
    FractionalSDE,
    Latent,
    Localisation,
    Paths,
    Training,
    Variational,
    load,
)
from dyninfer.fractional import HurstFunction, fit_multifractional, sample_multifractional
from dyninfer.report.path_tables import learned

TIMES = np.linspace(0, 1, 65)


def rising(t):
    return 0.3 + 0.4 * t


def paths_of(x, times=TIMES):
    return Paths(times=[times] * len(x), states=list(x.numpy()[..., None]))


def multifractional(n=16, noise=0.02, seed=0, hurst=rising, times=TIMES):
    """Exact motion of the closed-form covariance, of amplitude 2, seen with an error."""
    x = 2 * sample_multifractional(times, hurst, n, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    return x + noise * torch.randn(x.shape, generator=generator, dtype=torch.float64)


def model_of(hurst="linear", kind="II", drift="none", **settings):
    noise = FractionalNoise(hurst=hurst, kind=kind, n_nodes=8)
    return FractionalSDE(noise=noise, drift=drift, **settings)


@pytest.fixture(scope="module")
def data():
    return paths_of(multifractional(n=12))


@pytest.fixture(scope="module")
def line(data):
    return model_of().fit(data, progress=False)


def test_line_of_exact_multifractional_paths_is_within_its_interval(line):
    times = [0.0, 0.5, 1.0]
    low, high = line.hurst_interval(0.99, times).T
    truth = rising(np.array(times))
    assert ((low < truth) & (truth < high)).all()
    assert (high - low < 0.25).all()
    assert line.hurst_.index.tolist() == [0.0, 1.0]
    np.testing.assert_allclose(line.hurst_at(times)[[0, 2]], line.hurst_)
    assert line.hurst_at([-3.0, 7.0]).tolist() == line.hurst_.tolist()
    amplitude = float(line.process_.diffusion(0.0, torch.zeros(1, 1)))
    at_one = amplitude * line.process_.unit ** -rising(1.0)
    assert at_one == pytest.approx(2, rel=0.15)


def test_intervals_are_those_of_the_report(line):
    title, table = learned(line)[-1]
    assert "interval" in title
    assert [row.cells[0] for row in table.rows] == ["Hurst index at 0.000", "Hurst index at 1.000"]
    wide, narrow = line.hurst_interval(0.95), line.hurst_interval(0.5)
    assert (wide[:, 0] < narrow[:, 0]).all()
    pd.testing.assert_index_equal(line.hurst_table().index, line.hurst_.index)
    np.testing.assert_array_equal(line.hurst_table()[["low", "high"]], wide)


@pytest.mark.parametrize("times", [1.7e9 + 86400 * TIMES, 1e-9 * TIMES])
def test_other_units_and_origins_of_time_give_the_same_index(line, times):
    """Unix seconds, and a billionth: one amplitude of motion in any unit would not."""
    other = model_of().fit(paths_of(multifractional(n=12), times), progress=False)
    np.testing.assert_allclose(other.hurst_, line.hurst_, atol=1e-4)
    np.testing.assert_allclose(other.hurst_interval(), line.hurst_interval(), atol=1e-3)
    ratio = (times[-1] - times[0]) / 1.0
    assert other.process_.unit == pytest.approx(line.process_.unit * ratio, rel=1e-3)


def test_saved_and_loaded_alike(line, data, tmp_path):
    again = load(line.save(tmp_path / "line.safetensors"))
    pd.testing.assert_series_equal(again.hurst_, line.hurst_)
    np.testing.assert_array_equal(again.hurst_interval(), line.hurst_interval())
    np.testing.assert_array_equal(again.log_likelihoods(data), line.log_likelihoods(data))
    one, two = (m.simulate(None, [0.0, 0.5], n_paths=3, seed=1).states for m in (line, again))
    assert torch.equal(one, two)


def test_simulated_paths_have_the_variance_of_the_index(line):
    """``Var X(t) = Var X(0) + A² (t/u)^{2H(t)}`` but for the approximation by few nodes."""
    times = [0.0, 0.25, 1.0]
    run = line.simulate(np.zeros((4000, 1)), times, seed=0)
    amplitude = float(line.process_.diffusion(0.0, torch.zeros(1, 1)))
    elapsed = np.array(times[1:]) / line.process_.unit
    expected = amplitude**2 * elapsed ** (2 * line.hurst_at(times[1:]))
    np.testing.assert_allclose(run.states[:, 1:, 0].var(0), expected, rtol=0.1)


def test_constant_data_give_a_line_that_is_flat():
    x = multifractional(n=12, hurst=lambda t: 0.6 + 0 * t)
    paths = paths_of(x[:, ::2], TIMES[::2])
    one = model_of(hurst=None).fit(paths, progress=False)
    line = model_of().fit(paths, progress=False)
    low, high = line.hurst_interval(0.99).T
    assert ((low < one.hurst_) & (one.hurst_ < high)).all()
    gain = line.log_likelihoods(paths).sum() - one.log_likelihoods(paths).sum()
    assert -0.01 < gain < 6  # twice the gain is near χ² of two parameters


@pytest.mark.parametrize("kind", ["I", "II"])
def test_knots_follow_an_index_that_turns(kind):
    hurst = lambda t: 0.7 - 0.8 * np.abs(t - 0.5)  # noqa: E731
    x = multifractional(n=16, hurst=hurst, noise=0.01)
    model = model_of([0.0, 0.5, 1.0], kind).fit(paths_of(x), progress=False)
    # The exact motion is of kind II; that with a past has its index too.
    np.testing.assert_allclose(model.hurst_, [0.3, 0.7, 0.3], atol=0.12)


def test_module_is_trained_as_a_copy_and_given_again(tmp_path):
    x = multifractional(n=12, noise=1e-3)
    spline = HurstFunction(0.0, 1.0, n_coefficients=4)
    model = model_of(spline, observation_noise=1e-3).fit(paths_of(x), progress=False)
    assert spline(torch.tensor([0.0, 1.0])).tolist() == pytest.approx([0.5, 0.5])
    beside = fit_multifractional(x, TIMES, n_coefficients=4, n_nodes=8)
    moments = torch.from_numpy(model.hurst_.index.to_numpy())
    np.testing.assert_allclose(model.hurst_, beside.hurst(moments), atol=0.06)
    low, high = model.hurst_interval(0.99).T
    truth = rising(moments.numpy())
    assert np.mean((low < truth) & (truth < high)) > 0.8
    file = model.save(tmp_path / "spline.safetensors")
    with pytest.raises(ValueError, match=r"load\(path, hurst=...\)"):
        load(file)
    again = FractionalSDE.load(file, hurst=HurstFunction(0.0, 1.0, n_coefficients=4))
    pd.testing.assert_series_equal(again.hurst_, model.hurst_)
    np.testing.assert_array_equal(again.hurst_interval(), model.hurst_interval())


def test_a_given_function_is_taken_as_it_is(data):
    model = model_of(lambda t: 0.3 + 0.4 * t).fit(data, progress=False)
    np.testing.assert_allclose(model.hurst_at([0.5]), 0.5)
    with pytest.raises(ValueError, match="given and not learned"):
        model.hurst_interval()
    assert model.hurst_table()[["low", "high"]].isna().all(axis=None)


@pytest.mark.slow
def test_linear_drift_and_an_index_that_changes_are_learned_together():
    """``dX = −θ X dt + dN``, stepped finely from exact motion."""
    fine = np.linspace(0, 1, 257)
    moves = sample_multifractional(fine, rising, 16, seed=1).diff(dim=1)
    rate, dt = 3.0, fine[1]
    x, kept = torch.zeros(16, dtype=torch.float64), []
    for k in range(257):
        kept.append(x)
        if k < 256:
            x = x * np.exp(-rate * dt) + moves[:, k] * np.exp(-rate * dt / 2)
    paths = paths_of(torch.stack(kept, dim=1)[:, ::8], fine[::8])
    model = model_of(drift="linear", observation_noise=0.01).fit(paths, progress=False)
    low, high = model.hurst_interval(0.99).T
    assert ((low < [0.3, 0.7]) & (high > [0.3, 0.7])).all()
    assert float(model.model_.prior.rate) == pytest.approx(rate, rel=0.5)


@pytest.mark.filterwarnings("ignore:forecasting")
def test_networks_and_latent_states_take_the_index(tmp_path):
    few = paths_of(multifractional(n=4)[:, ::8], TIMES[::8])
    quick = Training(max_steps=3, batch_size=4)
    inference = Variational(n_samples=2, n_steps=1, width=4, depth=1, training=quick)
    model = model_of(kind="I", drift="network", inference=inference).fit(few, progress=False)
    again = load(model.save(tmp_path / "model.safetensors"))
    np.testing.assert_array_equal(again.elbo(few), model.elbo(few))
    assert model.simulate(None, [0, 0.5, 1], n_paths=2).states.isfinite().all()
    assert model.forecast(few, [1.1], n_samples=2).states.isfinite().all()
    with pytest.raises(ValueError, match="exact likelihood"):
        model.hurst_interval()
    latent = model_of(state=Latent(dim=1)).fit(few, max_steps=3, progress=False)
    assert np.isfinite(latent.log_likelihoods(few)).all()
    assert latent.hurst_interval().shape == (2, 2)


@pytest.mark.slow
def test_intervals_of_a_line_cover_as_often_as_they_say():
    """Twelve data sets, an index at either end of each: 95 % intervals miss once or twice of 24."""
    covered, errors = 0, []
    for seed in range(12):
        model = model_of().fit(paths_of(multifractional(seed=seed)), progress=False)
        low, high = model.hurst_interval().T
        covered += np.sum((low < [0.3, 0.7]) & (high > [0.3, 0.7]))
        errors.append(model.hurst_ - [0.3, 0.7])
    assert covered >= 20
    assert np.sqrt(np.mean(np.square(errors))) < 0.04
    assert np.abs(np.mean(errors, axis=0)).max() < 0.025


@pytest.mark.slow
def test_training_on_the_bound_finds_the_index_of_the_exact_likelihood(data, line):
    """Without drift the bound is the evidence, so that both have one maximum."""
    training = Training(max_steps=200, batch_size=12, learning_rate=2e-2, validation_fraction=0.0)
    inference = Variational(control=None, n_samples=1, n_steps=1, training=training)
    model = model_of(inference=inference).fit(data, progress=False)
    np.testing.assert_allclose(model.hurst_, line.hurst_, atol=0.03)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"hurst": "quadratic"}, "'linear', a list of times of knots"),
        ({"hurst": True}, "'linear', a list of times of knots"),
        ({"hurst": [0.5]}, "two or more increasing times"),
        ({"hurst": [1.0, 0.0]}, "two or more increasing times"),
        ({"hurst": [0.0, np.nan]}, "two or more increasing times"),
        ({"hurst": [0.0, 1.0, 2.0]}, "near the knot 2 of noise.hurst"),
        ({"observation_noise": Localisation(), "kind": "I"}, "noise.hurst changes in time"),
        ({"inference": Variational(window=5), "kind": "I"}, "an index that changes"),
    ],
)
def test_settings_that_cannot_be_are_named(data, settings, word):
    with pytest.raises(ValueError, match=word):
        model_of(**settings).fit(data, progress=False)


def test_one_index_for_every_coordinate_that_changes_is_refused(data):
    noise = FractionalNoise(hurst="linear", per_dimension=True)
    with pytest.raises(ValueError, match="one index for all coordinates"):
        FractionalSDE(noise=noise).fit(data, progress=False)


def test_a_constant_index_has_no_times(data):
    model = model_of(hurst=None).fit(data, max_steps=3, progress=False)
    for call in (lambda: model.hurst_at([0.5]), lambda: model.hurst_interval(times=[0.5])):
        with pytest.raises(ValueError, match="this one is constant"):
            call()


def test_a_drift_that_is_too_fast_for_its_steps_is_said():
    rng = np.random.default_rng(0)
    white = Paths(times=[np.arange(12.0)] * 6, states=list(rng.normal(size=(6, 12, 1))))
    with pytest.warns(UserWarning, match="relaxes within"):
        model_of(lambda t: 0.5 + 0 * t, drift="linear", observation_noise=0.01).fit(
            white, max_steps=20, progress=False
        )
