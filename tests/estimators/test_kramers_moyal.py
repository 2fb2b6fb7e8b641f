"""Regressed increments against closed forms of their biases, and against known equations."""

import math

import numpy as np
import pytest
import torch
from scipy.linalg import expm, solve_continuous_lyapunov

import dyninfer as di
from dyninfer.learning.random import numpy_stream
from dyninfer.testing import example_paths

LINEAR = di.Polynomials(degree=1)


def fitted(paths, **settings):
    return di.KramersMoyal(**settings).fit(paths, progress=False)


def coefficients(model):
    """Coefficient and standard error by part, feature and function."""
    table = model.coefficients_.set_index(["part", "feature", "function"])
    return table["coefficient"], table["standard_error"]


def relaxation(rate, sigma, gap, n, length, noise=0.0, seed=0):
    """Stationary Ornstein-Uhlenbeck paths, exact at any gap, with noise on what is observed."""
    rng = numpy_stream(seed, "relaxation")
    decay = math.exp(-rate * gap)
    spread = sigma / math.sqrt(2 * rate)
    kick = spread * math.sqrt(1 - decay**2)
    x = spread * rng.normal(size=n)
    states = [x]
    for _ in range(length - 1):
        x = decay * x + kick * rng.normal(size=n)
        states.append(x)
    values = np.stack(states, axis=1)
    values = values + noise * rng.normal(size=values.shape)
    return di.Paths(times=[gap * np.arange(length)] * n, states=list(values[..., None]))


def double_well(n, seed=0, gap=0.01, span=100.0):
    """Euler paths of ``dX = (X − X³) dt + ½ dW``, five steps to an observation."""
    rng = numpy_stream(seed, "double well")
    dt = gap / 5
    x = rng.choice([-1.0, 1.0], n)
    states = [x]
    for step in range(round(span / dt)):
        x = x + (x - x**3) * dt + 0.5 * math.sqrt(dt) * rng.normal(size=n)
        if step % 5 == 4:
            states.append(x)
    times = gap * np.arange(len(states))
    return di.Paths(times=[times] * n, states=list(np.stack(states, 1)[..., None]))


@pytest.fixture(scope="module")
def wells():
    return double_well(20)


def drift_error(model):
    grid = torch.linspace(-1.3, 1.3, 201, dtype=torch.float64)[:, None]
    error = model.process_.drift(0.0, grid) - (grid - grid**3)
    return float(error.square().mean().sqrt())


def test_short_steps_have_the_bias_of_their_closed_form():
    paths = relaxation(rate=1.0, sigma=1.0, gap=0.5, n=100, length=500)
    value, error = coefficients(fitted(paths, drift=LINEAR))
    slope = ("drift", "x0", "x0")
    noise = ("squared noise", "x0", "1")
    decay = math.exp(-0.5)
    assert value[slope] == pytest.approx(-(1 - decay) / 0.5, abs=4 * error[slope])
    assert value[noise] == pytest.approx((1 - decay**2) / (2 * 0.5), abs=4 * error[noise])


def test_the_matrix_logarithm_cures_steps_of_half_a_relaxation_time():
    paths = relaxation(rate=1.0, sigma=1.0, gap=0.5, n=100, length=500)
    value, error = coefficients(fitted(paths, drift=LINEAR, steps="finite"))
    slope = ("drift", "x0", "x0")
    noise = ("squared noise", "x0", "1")
    assert value[slope] == pytest.approx(-1.0, abs=4 * error[slope])
    assert value[noise] == pytest.approx(1.0, abs=4 * error[noise])
    # The slope of the logarithm: an error of the decay over it and the gap.
    decay = math.exp(-0.5)
    scatter = math.sqrt((1 - decay**2) / (100 * 499))
    assert error[slope] == pytest.approx(scatter / decay / 0.5, rel=0.03)


def test_the_matrix_logarithm_finds_a_rotation_and_its_centre():
    matrix = np.array([[-1.0, 1.5], [-1.5, -0.6]])
    squares = np.array([0.5, 0.3])
    scatter = solve_continuous_lyapunov(matrix, -np.diag(squares))
    decay = expm(matrix / 2)
    root = np.linalg.cholesky(scatter - decay @ scatter @ decay.T)
    rng = numpy_stream(0, "rotation")
    x = rng.normal(size=(50, 2)) @ np.linalg.cholesky(scatter).T
    states = []
    for _ in range(500):
        states.append(x)
        x = x @ decay.T + rng.normal(size=x.shape) @ root.T
    shifted = np.stack(states, axis=1) + np.array([3.0, -2.0])
    paths = di.Paths(times=[np.arange(500) / 2] * 50, states=list(shifted))
    model = fitted(paths, drift=LINEAR, steps="finite")
    table = model.coefficients_
    constant = -matrix @ [3.0, -2.0]
    rows = [[constant[0], *matrix[0]], [constant[1], *matrix[1]]]
    expected = np.concatenate([*rows, squares])
    z = (table["coefficient"] - expected) / table["standard_error"]
    assert np.abs(z).max() < 4
    # Errors of Gaussian theory are of the size that is found.
    assert 0.3 < np.sqrt(np.mean(z**2)) < 2


def test_noise_of_observations_is_cured_by_the_state_before():
    noisy = relaxation(rate=1.0, sigma=1.0, gap=0.001, n=20, length=10_000, noise=0.05)
    slope = ("drift", "x0", "x0")
    square = ("squared noise", "x0", "1")
    plain, error = coefficients(fitted(noisy, drift=LINEAR))
    # λ e^{−θΔ} − 1 over the gap, and 2 η² / Δ more noise.
    share = 0.5 / (0.5 + 0.05**2)
    biased = (share * math.exp(-0.001) - 1) / 0.001
    assert plain[slope] == pytest.approx(biased, abs=4 * error[slope])
    assert plain[square] == pytest.approx(6.0, rel=0.02)
    model = fitted(noisy, drift=LINEAR, observation_noise="white")
    cured, error = coefficients(model)
    assert cured[slope] == pytest.approx(-1.0, abs=4 * error[slope])
    assert error[slope] < 0.2
    assert cured[square] == pytest.approx(1.0, abs=4 * error[square])
    assert model.observation_noise_ == pytest.approx([0.05], rel=0.01)
    observed = model.observe(torch.zeros(4000, 1, 1), seed=1)
    assert float(observed.std()) == pytest.approx(0.05, rel=0.05)


def test_the_drift_of_a_double_well_is_as_good_as_its_data_allow(wells):
    assert drift_error(fitted(wells)) < 0.04
    each = [drift_error(fitted(wells[[number]])) for number in range(len(wells))]
    # One path knows .082 where it crosses, and less where it stays in one well.
    assert 0.05 < np.median(each) < 0.13


def test_sparse_regression_keeps_the_two_functions_of_a_double_well(wells):
    model = fitted(wells, sparse=True)
    table = model.coefficients_.query("part == 'drift'").set_index("function")
    used = table.index[table["coefficient"] != 0]
    assert list(used) == ["x0", "x0^3"]
    for function, truth in {"x0": 1.0, "x0^3": -1.0}.items():
        row = table.loc[function]
        assert row["coefficient"] == pytest.approx(truth, abs=4 * row["standard_error"])


def test_own_functions_find_the_same_drift_and_a_module_is_saved(wells, tmp_path):
    class Odd(torch.nn.Module):
        def forward(self, x):
            return torch.cat([x, x**3], dim=1)

    model = fitted(wells, drift=Odd())
    value, error = coefficients(model)
    first, second = ("drift", "x0", "function 0"), ("drift", "x0", "function 1")
    assert value[first] == pytest.approx(1.0, abs=4 * error[first])
    assert value[second] == pytest.approx(-1.0, abs=4 * error[second])
    path = model.save(tmp_path / "wells")
    again = di.load(path, drift=Odd())
    x = torch.linspace(-1, 1, 7)[:, None]
    assert torch.equal(again.process_.drift(0.0, x), model.process_.drift(0.0, x))
    with pytest.raises(ValueError, match="drift="):
        di.load(path)


def test_boxes_hold_the_mean_of_their_increments_with_its_error(wells):
    model = fitted(wells, drift=di.Bins(n_bins=12))
    table = model.coefficients_.query("part == 'drift'")
    x = np.concatenate([states[:-1, 0] for states in wells.states])
    step = np.concatenate([np.diff(states[:, 0]) for states in wells.states])
    everything = np.concatenate(wells.states)
    edges = np.linspace(everything.min(), everything.max(), 13)
    box = np.clip(np.digitize(x, edges) - 1, 0, 11)
    counts = np.bincount(box, minlength=12)
    means = np.bincount(box, step, minlength=12) / counts / 0.01
    assert table["coefficient"].to_numpy() == pytest.approx(means, rel=1e-5, abs=1e-5)
    # The error knows the time spent in a box only.
    errors = 0.5 / np.sqrt(counts * 0.01)
    assert table["standard_error"].to_numpy() == pytest.approx(errors, rel=0.02)


def test_noise_that_depends_on_the_state_is_found():
    rng = numpy_stream(0, "growing noise")
    x = np.zeros(50)
    states = [x]
    for _ in range(4000):
        amplitude = np.sqrt(0.3 + 0.2 * x**2)
        x = x - x * 0.005 + amplitude * math.sqrt(0.005) * rng.normal(size=50)
        states.append(x)
    values = np.stack(states, axis=1)[..., None]
    paths = di.Paths(times=[0.005 * np.arange(4001)] * 50, states=list(values))
    model = fitted(paths, drift=LINEAR, squared_noise=di.Polynomials(degree=2))
    value, error = coefficients(model)
    for function, truth in {"1": 0.3, "x0": 0.0, "x0^2": 0.2}.items():
        row = ("squared noise", "x0", function)
        # Squares are not weighted, so that their errors are a little wide.
        assert value[row] == pytest.approx(truth, abs=4 * error[row])
    here = torch.tensor([[0.5]], dtype=torch.float64)
    amplitude = float(model.process_.diffusion(0.0, here))
    assert amplitude == pytest.approx(math.sqrt(0.35), rel=0.02)


def test_intervals_cover_the_truth_as_often_as_they_say():
    n_inside = 0
    for seed in range(60):
        paths = relaxation(rate=1.0, sigma=0.7, gap=0.01, n=10, length=1000, seed=seed)
        row = fitted(paths, drift=LINEAR).intervals(level=0.9).iloc[1]
        n_inside += row["lower"] < -(1 - math.exp(-0.01)) / 0.01 < row["upper"]
    # Of 60, 54 are expected with a standard deviation of 2.3.
    assert 46 <= n_inside <= 60


def test_the_likelihood_is_that_of_gaussian_steps_in_the_units_of_the_data():
    paths = relaxation(rate=1.0, sigma=0.7, gap=0.02, n=3, length=50)
    model = fitted(paths, drift=LINEAR)
    for number, likelihood in enumerate(model.log_likelihoods(paths)):
        x = torch.as_tensor(paths.states[number])
        mean = x[:-1] + 0.02 * model.process_.drift(0.0, x[:-1])
        deviation = model.process_.diffusion(0.0, x[:-1]) * math.sqrt(0.02)
        density = torch.distributions.Normal(mean, deviation).log_prob(x[1:])
        assert likelihood == pytest.approx(float(density.sum()), rel=1e-6)


def test_a_cubic_does_not_carry_paths_beyond_the_data_to_infinity(wells):
    run = fitted(wells).simulate(torch.full((5, 1), 9.0), np.linspace(0, 5, 6), seed=0)
    assert bool(run.states.isfinite().all())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": "finite"}, "degree=1"),
        ({"drift": LINEAR, "squared_noise": LINEAR, "steps": "finite"}, "constant noise"),
        ({"drift": LINEAR, "steps": "finite", "observation_noise": "white"}, "FractionalSDE"),
        ({"squared_noise": LINEAR, "observation_noise": "white"}, "constant noise"),
        ({"drift": di.Bins(), "sparse": True}, "every box"),
        ({"drift": LINEAR, "sparse": True, "steps": "finite"}, "likelihoods of short"),
        ({"drift": "cubic"}, "Polynomials"),
        ({"drift": di.Polynomials(degree=-1)}, "drift.degree"),
        ({"drift": di.Bins(min_count=10**6)}, "min_count"),
        ({"drift": lambda x: torch.cat([x, 2 * x], 1)}, "depend on one another"),
        ({"drift": lambda x: x[:, 0]}, "tensor"),
        ({"drift": di.Polynomials(degree=30)}, "increments do not determine"),
    ],
)
def test_what_cannot_be_regressed_is_named(settings, message):
    paths = example_paths()
    with pytest.raises((ValueError, TypeError), match=message) as raised:
        di.KramersMoyal(**settings).fit(
            paths, time_key="day", path_key="track", use_rep="X_pca", progress=False
        )
    assert len(str(raised.value)) <= 300


def test_finite_steps_of_unequal_gaps_are_refused():
    rng = numpy_stream(0, "gaps")
    times = np.cumsum(rng.uniform(0.1, 1, 50))
    paths = di.Paths(times=[times], states=[rng.normal(size=(50, 1))])
    with pytest.raises(ValueError, match="equal gaps"):
        fitted(paths, drift=LINEAR, steps="finite")


def test_noises_that_go_together_are_named():
    rng = numpy_stream(0, "together")
    common = rng.normal(size=(2000, 1))
    x = np.cumsum(0.1 * (common + rng.normal(size=(2000, 2))), axis=0)
    paths = di.Paths(times=[0.01 * np.arange(2000)], states=[x])
    with pytest.warns(UserWarning, match=r"correlate by 0\.[45]"):
        fitted(paths, drift=di.Polynomials(degree=0))


def pushed(n, spread, seed=0):
    """Paths of ``dX = a dt + dW`` over a time of 2, with a push of its own for each."""
    rng = np.random.default_rng(seed)
    times = np.arange(0, 2.01, 0.1)
    push = spread * rng.normal(size=n)
    noise = rng.normal(size=(n, len(times) - 1)) * 0.1**0.5
    steps = push[:, None] * 0.1 + noise
    x = np.concatenate([np.zeros((n, 1)), steps.cumsum(1)], axis=1)
    return di.Paths(times=[times] * n, states=list(x[..., None]))


@pytest.mark.parametrize(("spread", "error"), [(0.0, (1 / 2) ** 0.5), (2.0, (4 + 1 / 2) ** 0.5)])
def test_bootstrap_knows_paths_that_differ(spread, error):
    """The mean push of ``n`` paths has variance ``(s² + σ²/T) / n``, of which theory knows σ²/T."""
    paths = pushed(60, spread)
    constant = di.Polynomials(degree=0)
    model = di.KramersMoyal(drift=constant).fit(paths, progress=False)
    table = model.bootstrap(paths, n_samples=200)
    own = table["standard_error"][0]
    assert own == pytest.approx(error / 60**0.5, rel=0.25)
    assert table["lower"][0] < table["coefficient"][0] < table["upper"][0]
    theory = model.coefficients_["standard_error"][0]
    assert theory < 1.5 * (1 / 2 / 60) ** 0.5
    with pytest.raises(ValueError, match="needs at least 10 of them, found 3"):
        model.bootstrap(paths[:3])
    with pytest.raises(ValueError, match="not those of the fit"):
        model.bootstrap(pushed(60, spread, seed=1))
    with pytest.raises(ValueError, match="n_samples must be at least 2"):
        model.bootstrap(paths, n_samples=1)
    far = di.Paths(times=paths.times[:10], states=[paths.states[0] + 50, *paths.states[1:10]])
    boxes = di.KramersMoyal(drift=di.Bins(n_bins=4, min_count=2)).fit(far, progress=False)
    with pytest.raises(ValueError, match="only one path visits a box of Bins"):
        boxes.bootstrap(far)
    shorter = di.KramersMoyal(drift=constant).fit(paths, hold_out=["3"], progress=False)
    alone = di.KramersMoyal(drift=constant).fit(paths.without(["3"]), progress=False)
    of_rest = alone.bootstrap(paths.without(["3"]), n_samples=5)
    assert shorter.bootstrap(paths, n_samples=5).equals(of_rest)


def differences(n=60, length=2000, gap=0.02, seed=0):
    """Velocities ``Δx/Δ`` of ``dx = v dt``, ``dv = −v dt + √2 dW``, drawn exactly."""
    rng = np.random.default_rng(seed)
    # Of velocity, and of the position that it adds over a gap: Ornstein-Uhlenbeck and its integral.
    decay = np.exp(-gap)
    of_velocity = 1 - decay**2
    both = (1 - decay) ** 2
    of_position = 2 * gap - 3 + 4 * decay - decay**2
    root = np.linalg.cholesky([[of_velocity, both], [both, of_position]])
    v = rng.normal(size=n)
    means = []
    for _ in range(length):
        kick = root @ rng.normal(size=(2, n))
        means.append(((1 - decay) * v + kick[1]) / gap)
        v = decay * v + kick[0]
    times = gap * np.arange(1, length + 1)
    return di.Paths(times=[times] * n, states=list(np.stack(means, axis=1)[..., None]))


def test_velocities_of_differences_keep_a_third_back_and_the_cure_gives_it():
    paths = differences()
    linear = di.Polynomials(degree=1)
    with pytest.warns(UserWarning, match="observation_noise='averaged'"):
        plain = di.KramersMoyal(drift=linear).fit(paths, progress=False).coefficients_
    cured = di.KramersMoyal(drift=linear, observation_noise="averaged")
    table = cured.fit(paths, progress=False).coefficients_
    # The slope has error √(2/T) over a time of 2,400, and the gap of 0.02 a bias of a per cent.
    assert plain["coefficient"][1] == pytest.approx(-0.663, abs=0.06)
    assert plain["coefficient"][2] == pytest.approx(1.312, rel=0.02)
    assert table["coefficient"][1] == pytest.approx(-1, abs=0.08)
    assert table["coefficient"][2] == pytest.approx(2, rel=0.03)
    assert cured.observation_noise_ == 0
    assert cured.log_likelihoods(paths) is None


def test_errors_of_observations_are_noticed():
    walk = pushed(20, 0.0)
    rng = np.random.default_rng(1)
    noisy = [x + 0.5 * rng.normal(size=x.shape) for x in walk.states]
    with pytest.warns(UserWarning, match="observation_noise='white'"):
        di.KramersMoyal().fit(di.Paths(times=walk.times, states=noisy), progress=False)
