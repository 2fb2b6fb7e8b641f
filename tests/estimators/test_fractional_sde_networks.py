"""FractionalSDE with networks: recovery of known equations, files, and runs that are taken up again."""

import numpy as np
import pytest
import torch
from torch import nn

from dyninfer import FractionalNoise, FractionalSDE, Latent, Paths, Variational, load
from dyninfer.fractional import FractionalBrownianMotion
from dyninfer.fractional.inference import Encoding
from dyninfer.learning.training import Training


def small(**settings):
    return Variational(**({"n_samples": 2, "width": 8, "depth": 1} | settings))


def sde(inference=None, n_nodes=2, hurst=None, per_dimension=False, kind="I", **settings):
    noise = FractionalNoise(n_nodes=n_nodes, hurst=hurst, per_dimension=per_dimension, kind=kind)
    return FractionalSDE(noise=noise, inference=inference or small(), **settings)


def driven(hurst, seed, n, step, start, length=100, end=10.0, inner=10):
    """Paths of ``x ← step(x, h, ΔB)`` on a fine grid, with exact fractional noise: ``(n, length)`` and their times."""
    times = np.linspace(0, end, (length - 1) * inner + 1)
    moves = (
        FractionalBrownianMotion(hurst)
        .sample(times, n, seed=seed, dtype=torch.float64)
        .diff(dim=1)
        .numpy()
    )
    x, kept = start, [start]
    for k in range(moves.shape[1]):
        x = step(x, times[1], moves[:, k])
        if (k + 1) % inner == 0:
            kept.append(x)
    return times[::inner], np.stack(kept, axis=1)


def with_noise(times, x, deviation, seed):
    x = x + deviation * np.random.default_rng(seed).normal(size=x.shape)
    return Paths(times=[times] * len(x), states=list(x.reshape(*x.shape[:2], -1)))


def double_well(hurst, seed, n):
    start = np.random.default_rng(seed).normal(size=n)
    times, x = driven(hurst, seed, n, lambda x, h, db: x + 2 * (x - x**3) * h + 0.8 * db, start)
    return with_noise(times, x, 0.1, seed)


def irregular(seed=0, n_features=3):
    rng = np.random.default_rng(seed)
    times = [np.concatenate([[0.0], np.sort(rng.uniform(0, 3, n))]) for n in (9, 9, 6, 9)]
    states = [rng.normal(size=(len(t), n_features)).cumsum(0) * 0.5 for t in times]
    states[0][3, 0] = np.nan
    states[1][5] = np.nan
    return Paths(times=times, states=states)


class Reader(nn.Module):
    """An encoder of a user's own, in single precision."""

    n_context = 2

    def __init__(self):
        super().__init__()
        self.line = nn.Linear(6, 4 + 2)
        self.still = nn.Linear(3, 1)

    def forward(self, values, mask, times):
        mean, log_variance, context = self.line(torch.cat([values, mask], -1)).split(2, dim=-1)
        return Encoding(mean, log_variance, context, self.still(values.mean(1)))


class Screen(nn.Module):
    """A decoder of a user's own."""

    def __init__(self):
        super().__init__()
        self.line = nn.Linear(3, 3)

    def forward(self, x, content):
        return self.line(torch.cat([x, content], dim=1))


KINDS = {
    "drift": {"drift": "network", "hurst": 0.6},
    "amplitude": {"diffusion": "network", "inference": small(control=None), "hurst": 0.5},
    "latent": {
        "state": Latent(dim=2, decoder="network", content_dim=2),
        "drift": "network",
    },
    "window": {
        "drift": "network",
        "inference": small(window=3, grow=2, anneal=3),
        "per_dimension": True,
    },
    "first": {
        "state": Latent(dim=2, decoder="network"),
        "inference": small(read_first=2),
    },
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_learns_draws_and_comes_back_from_a_file(kind, tmp_path):
    paths = irregular()
    model = sde(**KINDS[kind]).fit(paths, max_steps=4, progress=False)
    assert np.isfinite(model.history_["loss"]).all()
    assert (model.elbo(paths) <= model.log_likelihoods(paths) + 1e-9).all()
    times = [0.0, 1.5, 5.0]
    drawn = model.posterior(paths).draw(times, n_samples=2, seed=3)
    assert drawn.states.shape == (8, 3, 3)
    assert model.forecast(paths, [4.0, 5.0], n_samples=2).states.isfinite().all()
    assert model.simulate(paths, [0.0, 1.0], n_paths=5).states.shape == (5, 2, 3)
    again = load(model.save(tmp_path / "model.safetensors"), device="cpu")
    assert torch.equal(again.posterior(paths).draw(times, n_samples=2, seed=3).states, drawn.states)
    assert np.array_equal(again.elbo(paths), model.elbo(paths))


def test_modules_of_the_users_own_are_copied_and_given_again_to_a_file(tmp_path):
    torch.manual_seed(0)
    own = {"encoder": Reader(), "decoder": Screen()}
    paths = irregular()
    before = [p.clone() for p in own["decoder"].parameters()]
    model = sde(state=Latent(dim=2, content_dim=1, **own)).fit(paths, max_steps=4, progress=False)
    assert all(torch.equal(a, b) for a, b in zip(before, own["decoder"].parameters(), strict=True))
    drawn = model.posterior(paths).draw([1.0], n_samples=2).states
    file = model.save(tmp_path / "model.safetensors")
    assert model.state.decoder is own["decoder"]
    with pytest.raises(ValueError, match=r"decoder of your own \(Screen\).*FractionalSDE.load"):
        load(file)
    again = FractionalSDE.load(file, device="cpu", **own)
    assert torch.equal(again.posterior(paths).draw([1.0], n_samples=2).states, drawn)
    with pytest.raises(ValueError, match="content_dim=0"):
        model.simulate(None, [0.0, 1.0], n_paths=2)


def test_a_drift_of_the_users_own_is_in_the_units_of_the_data():
    """A known pull, with nothing to learn in it, stands in the process beside the linear part."""
    paths = irregular(n_features=1)
    model = sde(small(control=None), drift=lambda t, x: -5 * (x - 2)).fit(
        paths, max_steps=2, progress=False
    )
    x = torch.tensor([[2.0], [3.0]], dtype=torch.float64)
    shift, scale = model.scaling_.shift, model.scaling_.scale
    linear = scale * model.model_.prior.drift(torch.zeros(2), (x - shift) / scale)
    assert torch.allclose(model.process_.drift(0.0, x) - linear, -5 * (x - 2))


class _Stop(nn.Module):
    """A drift that is interrupted at one of its calls, as by Ctrl-C."""

    calls, at = 0, None

    def __init__(self):
        super().__init__()
        self.line = nn.Linear(3, 3)

    def forward(self, t, x):
        type(self).calls += 1
        if self.calls == self.at:
            raise KeyboardInterrupt
        return self.line(x)


def test_an_interrupted_run_is_kept_and_taken_up_to_the_same_end(tmp_path):
    paths, file = irregular(), tmp_path / "run.pt"
    torch.manual_seed(0)
    drift = _Stop()
    training = Training(
        max_steps=8,
        batch_size=2,
        checkpoint_every=2,
        log_every=2,
        validation_fraction=0.0,
        device="cpu",
    )
    options = {
        "state": Latent(dim=3),
        "drift": drift,
        "inference": small(training=training),
    }
    _Stop.calls, _Stop.at = 0, None
    whole = sde(**options).fit(paths, progress=False)
    _Stop.calls, _Stop.at = 0, _Stop.calls * 3 // 4
    cut = sde(**options).fit(paths, progress=False, checkpoint=file)
    assert cut.status_ == "interrupted"
    assert np.isfinite(cut.elbo(paths)).all()
    _Stop.at = None
    again = sde(**options).fit(paths, progress=False, checkpoint=file, resume=True)
    assert again.status_ == "finished"
    for a, b in zip(whole.model_.parameters(), again.model_.parameters(), strict=True):
        assert torch.equal(a, b)


def test_held_out_paths_decide_when_to_stop():
    training = Training(
        max_steps=8,
        batch_size=2,
        validate_every=2,
        validation_fraction=0.25,
        patience=1,
        learning_rate=0.5,
        device="cpu",
    )
    model = sde(small(training=training), state=Latent(dim=2), drift="network").fit(
        irregular(), progress=False
    )
    assert model.history_["validation"].notna().any()


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"diffusion": "loud"}, "diffusion must be one of constant, network, or a module"),
        ({"state": Latent(dim=0)}, "state.dim must be at least 1"),
        ({"state": Latent(dim=1, decoder="loud")}, "state.decoder must be one of linear, network"),
        ({"inference": small(read_first=0)}, "inference.read_first must be at least 1"),
        ({"inference": small(window=1)}, "inference.window must be at least 2"),
        ({"inference": small(grow=5)}, "window is None; give window"),
        ({"inference": small(grow=-1, window=5)}, "inference.grow must be at least 0"),
        ({"inference": small(n_samples=0)}, "inference.n_samples must be at least 1"),
        (
            {"state": Latent(dim=2, encoder=lambda v, m, t: None)},
            "n_context, or set control=None",
        ),
    ],
)
def test_bad_settings_are_named(settings, word):
    with pytest.raises(ValueError, match=word):
        FractionalSDE(**settings).fit(irregular(), max_steps=1, progress=False)


def test_interval_of_a_model_with_networks_is_refused_with_a_remedy():
    model = sde(state=Latent(dim=2), drift="network").fit(irregular(), max_steps=1, progress=False)
    with pytest.raises(ValueError, match="fit the linear model"):
        model.hurst_interval()


QUICK = Training(
    max_steps=100,
    batch_size=16,
    learning_rate=2e-2,
    warmup_steps=10,
    ema_decay=0.95,
    validation_fraction=0.0,
    log_every=10,
    device="cpu",
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hurst", "reach"), [(0.7, 0.05), (0.5, 0.08)]
)  # a hundred steps of training, with two Euler steps between observations, leave 0.5 too high
def test_drift_of_a_double_well_is_recovered(hurst, reach):
    paths, others = double_well(hurst, 0, 64), double_well(hurst, 100, 32)
    noise = FractionalNoise(n_nodes=6)
    linear = FractionalSDE(noise=noise).fit(paths, progress=False)
    inference = Variational(control=None, n_samples=4, width=32, training=QUICK)
    model = FractionalSDE(noise=noise, drift="network", inference=inference).fit(
        paths, progress=False
    )
    x = torch.linspace(-1.2, 1.2, 25, dtype=torch.float64)
    found = model.process_.drift(0.0, x[:, None])[:, 0]
    true = 2 * (x - x**3)
    assert (found - true).square().mean().sqrt() < 0.2 * (true.max() - true.min())
    assert abs(model.hurst_ - hurst) < reach
    assert model.elbo(others).mean() > linear.log_likelihoods(others).mean() + 1


@pytest.mark.slow
def test_amplitude_of_geometric_noise_is_recovered():
    """``X = exp(B/2)`` solves ``dX = X/2 ∘ dB``: the amplitude is half the state."""
    times = np.linspace(0, 4, 40)
    motion = FractionalBrownianMotion(0.6).sample(times, 24, seed=0, dtype=torch.float64).numpy()
    paths = with_noise(times, np.exp(0.5 * motion), 0.02, 0)
    inference = Variational(control=None, n_samples=4, width=16, training=QUICK)
    model = sde(inference, 5, drift="none", diffusion="network").fit(paths, progress=False)
    x = torch.linspace(0.5, 2.5, 9, dtype=torch.float64)
    found = model.process_.diffusion(0.0, x[:, None])[:, 0]
    assert ((found / (x / 2)).log().abs() < 0.25).all()
    assert abs(model.hurst_ - 0.6) < 0.08


@pytest.mark.slow
def test_nonlinear_decoder_is_worth_more_than_a_linear_one():
    """Two latent coordinates bent into five features."""
    times = np.linspace(0, 4, 30)
    sample = FractionalBrownianMotion(0.7).sample(
        times, 48, n_features=2, seed=0, dtype=torch.float64
    )
    z = sample.numpy() * 0.8
    bent = np.stack(
        [z[..., 0], z[..., 1], z[..., 0] ** 2, np.sin(2 * z[..., 1]), z[..., 0] * z[..., 1]], -1
    )
    bent = bent + 0.1 * np.random.default_rng(0).normal(size=bent.shape)
    paths, others = (Paths(times=[times] * len(x), states=list(x)) for x in (bent[:32], bent[32:]))
    inference = Variational(n_samples=4, n_steps=1, width=32, training=QUICK)
    found = [
        sde(inference, 3, state=Latent(dim=2, decoder=decoder), drift="network")
        .fit(paths, progress=False)
        .elbo(others)
        .mean()
        for decoder in ("linear", "network")
    ]
    assert found[1] > found[0] + 10


def quick(data, steps=3, **settings):
    return sde(**settings).fit(data, max_steps=steps, progress=False)


def test_a_shifted_clock_changes_nothing_for_networks():
    # Single precision tells no two of these times apart: it must be times since the beginning that are rounded.
    data = irregular()
    later = Paths(times=[t + 2.0**31 for t in data.times], states=data.states)
    training = Training(
        max_steps=5, learning_rate=0.1, warmup_steps=0, ema_decay=0.0, validation_fraction=0.0
    )
    one, two = (
        quick(
            x, 5, state=Latent(dim=1, decoder="network"), inference=small(training=training)
        ).elbo(x, n_samples=4)
        for x in (data, later)
    )
    assert two == pytest.approx(one, abs=1e-2)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"drift": lambda t, x: x[:, :1]}, "drift must return a tensor of shape"),
        ({"drift": lambda t, x: 0.0}, "found 0.0"),
        ({"diffusion": lambda t, x: torch.ones(len(x), 1)}, "diffusion must return"),
        ({"inference": small(control=lambda t, x, y, c: x[:, :1])}, "control must return"),
        ({"state": Latent(dim=1, decoder=lambda x, c: x)}, "decoder must return"),
    ],
)
def test_modules_that_return_other_shapes_are_not_broadcast(settings, word):
    with pytest.raises(ValueError, match=word):
        quick(irregular(), **settings)


def test_a_class_in_place_of_a_module_is_named():
    with pytest.raises(TypeError, match="decoder is the class Reader; give a module"):
        quick(irregular(), state=Latent(dim=2, decoder=Reader))


def test_a_fit_that_fails_leaves_the_old_model_in_its_units():
    data = irregular()
    model = quick(data, drift="network")
    before = model.log_likelihoods(data)
    training = model.inference.training
    model.set_params(inference__training=Training(device="nowhere"))
    with pytest.raises(ValueError, match="nowhere"):
        model.fit(Paths(times=data.times, states=[100 * x for x in data.states]), progress=False)
    model.set_params(inference__training=training)
    assert np.array_equal(model.log_likelihoods(data), before)


def test_a_run_is_not_resumed_on_the_same_values_at_other_times(tmp_path):
    data, file = irregular(), tmp_path / "run.pt"
    training = Training(max_steps=4, checkpoint_every=2)
    settings = {"drift": "network", "inference": small(training=training)}
    sde(**settings).fit(data, checkpoint=file, progress=False)
    slower = Paths(times=[2 * t for t in data.times], states=data.states)
    with pytest.raises(ValueError, match="other data"):
        sde(**settings).fit(slower, checkpoint=file, resume=True, progress=False)


def test_another_module_than_the_one_that_was_fitted_is_refused(tmp_path):
    file = tmp_path / "model.safetensors"
    quick(irregular(), drift=nn_drift(3)).save(file)
    with pytest.raises(ValueError, match="does not fit the model at 'drift"):
        FractionalSDE.load(file, drift=nn_drift(2))


def nn_drift(width):
    class Pull(nn.Module):
        def __init__(self):
            super().__init__()
            self.rate = nn.Parameter(torch.ones(width))

        def forward(self, t, x):
            return -self.rate * x

    return Pull()


def test_noise_that_starts_with_the_path_has_no_windows():
    with pytest.raises(ValueError, match="kind='II'"):
        quick(irregular(), kind="II", inference=small(window=4), drift="network")


@pytest.mark.parametrize("name", ["context", "content"])
def test_context_and_content_of_an_own_encoder_must_have_their_sizes(name):
    class Wrong(Reader):
        def forward(self, values, mask, times):
            encoding = super().forward(values, mask, times)
            return encoding._replace(**{name: getattr(encoding, name)[..., :0]})

    model = sde(state=Latent(dim=2, content_dim=1, encoder=Wrong()))
    with pytest.raises(ValueError, match=f"the encoder's {name} must return a tensor of shape"):
        model.fit(irregular(), max_steps=1, progress=False)


def test_half_a_step_is_refused():
    with pytest.raises(TypeError, match="max_steps must be a whole number, found 2.5"):
        FractionalSDE().fit(irregular(), max_steps=2.5, progress=False)
