"""What FractionalSDE refuses: settings that cannot be, and modules that return what is not finite."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import dyninfer as di
from dyninfer.fractional.inference import Encoding
from dyninfer.learning.training import Training


def small(**settings):
    return di.Variational(**({"n_samples": 2, "width": 8, "depth": 1} | settings))


def walks(seed=0):
    rng = np.random.default_rng(seed)
    return di.Paths(
        times=[np.linspace(0, 3, 7)] * 3,
        states=[0.5 * rng.normal(size=(7, 2)).cumsum(0) for _ in range(3)],
    )


def trained(data=None, steps=3, inference=None, **settings):
    noise = di.FractionalNoise(n_nodes=2)
    model = di.FractionalSDE(noise=noise, inference=inference or small(), **settings)
    return model.fit(walks() if data is None else data, max_steps=steps, progress=False)


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"drift": "network"}, "drift is a network or a module"),
        ({"drift": lambda t, x: -x}, "drift is a network or a module"),
        ({"diffusion": "network"}, "diffusion depends on the state"),
        ({"state": di.Latent(dim=2, decoder="network")}, "decoder or encoder that is not linear"),
        ({"state": di.Latent(dim=2, content_dim=1)}, "decoder or encoder that is not linear"),
    ],
)
def test_the_exact_likelihood_of_a_nonlinear_equation_is_refused(settings, part):
    model = di.FractionalSDE(inference=di.Exact(), **settings)
    with pytest.raises(ValueError, match=f"^inference=Exact.. needs a linear equation.*{part}"):
        model.fit(walks(), progress=False)
    di.FractionalSDE(**settings).check()


@pytest.mark.parametrize("setting", ["control", "width", "n_samples", "window", "training"])
def test_what_the_exact_likelihood_would_ignore_cannot_be_written(setting):
    with pytest.raises(TypeError, match=setting):
        di.Exact(**{setting: 1})


def test_all_that_is_linear_is_fitted_by_its_exact_likelihood_by_itself():
    data = walks()
    noise = di.FractionalNoise(n_nodes=2)
    by_itself = di.FractionalSDE(noise=noise).fit(data, max_steps=4, progress=False)
    exact = di.FractionalSDE(noise=noise, inference=di.Exact()).fit(
        data, max_steps=4, progress=False
    )
    assert np.array_equal(by_itself.log_likelihoods(data), exact.log_likelihoods(data))
    bound = trained(data)
    assert np.isfinite(bound.elbo(data)).all()
    with pytest.raises(ValueError, match="trained on its bound has not"):
        bound.hurst_interval()


def test_settings_are_named_by_the_object_they_are_in():
    model = di.FractionalSDE(noise=di.FractionalNoise(hurst=0.7))
    assert model.get_params()["noise__hurst"] == 0.7
    model.set_params(noise__hurst=0.4)
    assert model.noise.hurst == 0.4
    assert di.FractionalSDE().noise.hurst is None
    assert "noise=FractionalNoise(hurst=0.4)" in repr(model)


def linear(n_nodes):
    return di.FractionalSDE(noise=di.FractionalNoise(n_nodes=n_nodes))


def test_the_result_of_a_linear_model_is_taken_up_again(tmp_path):
    options = {"progress": False, "checkpoint": tmp_path / "run"}
    first = linear(2).fit(walks(), **options)
    again = linear(2).fit(walks(), resume=True, **options)
    assert again.hurst_ == first.hurst_
    assert again.history_.equals(first.history_)


def test_the_result_of_another_model_is_not_taken_up(tmp_path):
    options = {"progress": False, "checkpoint": tmp_path / "run"}
    linear(2).fit(walks(), **options)
    with pytest.raises(ValueError, match="belongs to a run with other settings"):
        linear(3).fit(walks(), resume=True, **options)


class Reader(nn.Module):
    """An encoder with one part that is not finite."""

    n_context = 2

    def __init__(self, part):
        super().__init__()
        self.part = part

    def forward(self, values, mask, times):
        encoding = Encoding(values, -values.abs(), values, values[:, 0])
        return encoding._replace(**{self.part: getattr(encoding, self.part) * math.nan})


class Turning(nn.Module):
    """A drift that is right until its rate has been learned from."""

    def __init__(self):
        super().__init__()
        self.rate = nn.Parameter(torch.ones(()))

    def forward(self, t, x):
        return -self.rate * x / (self.rate == 1)


class Rooted(nn.Module):
    """A drift that is finite where its gradient is not."""

    def __init__(self):
        super().__init__()
        self.square = nn.Parameter(torch.zeros(()))

    def forward(self, t, x):
        return -self.square.sqrt() * x


BROKEN = {
    "drift": {"drift": lambda t, x: x / 0},
    "diffusion": {"diffusion": lambda t, x: (x - 1e6).log()},
    "control": {"inference": small(control=lambda t, x, y, c: x * math.nan)},
    "decoder": {"state": di.Latent(dim=2, decoder=lambda x, c: x * math.inf)},
    **{
        f"encoder, {part}": {"state": di.Latent(dim=2, content_dim=2, encoder=Reader(part))}
        for part in ("mean", "log_variance", "context", "content")
    },
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_module_that_is_not_finite_is_named_at_its_first_call(broken):
    name = broken.split(",")[0]
    with pytest.raises(
        ValueError, match=rf"^{name} returned NaN or infinity in step 1 of this run of training"
    ):
        trained(**BROKEN[broken])


def test_the_module_is_blamed_and_not_what_follows_from_it():
    with pytest.raises(ValueError, match=r"^drift returned NaN .* rows, at t = 0, x = \[.*, .*\]"):
        trained(drift=lambda t, x: x * math.nan, inference=small(control=lambda t, x, y, c: -x))


def test_the_step_is_named_in_which_a_module_turned():
    with pytest.raises(ValueError, match="^drift returned NaN or infinity in step 2 of this run"):
        trained(drift=Turning())


def test_a_gradient_that_is_not_finite_is_told_from_a_module_that_is_not():
    with pytest.raises(
        ValueError,
        match="^parameters are no longer finite in step 2 .* see where drift has no finite",
    ):
        trained(drift=Rooted())


def test_a_slope_that_is_not_finite_is_found_in_the_branch_that_is_not_taken():
    with pytest.raises(ValueError, match="^drift has a slope of NaN .*torch.where"):
        trained(drift=lambda t, x: torch.where(x > 0, -x.sqrt(), -x), inference=small(control=None))


def test_training_that_runs_away_says_what_to_lower():
    training = Training(
        max_steps=9, learning_rate=1e4, warmup_steps=0, gradient_clip=None, validation_fraction=0.0
    )
    with pytest.raises(
        ValueError, match=r"step \d of this run of training.*[Ll]ower training.learning_rate"
    ):
        di.FractionalSDE(drift="network", inference=small(training=training)).fit(
            walks(), progress=False
        )


def test_a_model_that_meets_what_its_drift_cannot_take_says_so():
    """A root that no path of the data leaves; others do."""
    data = walks()
    far = di.Paths(times=data.times, states=[x + 100 for x in data.states])
    model = trained(drift=lambda t, x: (50 - x).sqrt() - 7, inference=small(control=None))
    assert model.simulate(data, [0.0, 1.0]).states.isfinite().all()
    for ask, when in (
        (lambda: model.elbo(far), "in draws of the posterior"),
        (lambda: model.forecast(far, [4.0], n_samples=2), "in draws of the posterior"),
        (
            lambda: model.simulate(np.full((2, 2), 80.0), [0.0, 1.0]),
            r"in a simulation in 2 of 2 .*x = \[80, 80\]",
        ),
    ):
        with pytest.raises(ValueError, match=f"^drift returned NaN or infinity {when}"):
            ask()
    assert np.isfinite(model.elbo(data)).all()


def test_a_wrong_shape_is_said_to_be_one_even_where_it_is_not_finite():
    with pytest.raises(ValueError, match="drift must return a tensor of shape"):
        trained(drift=lambda t, x: x.sum() * math.nan)


def test_compiled_walks_are_refused_before_anything_is_learned():
    with pytest.raises(ValueError, match="compiles every step of a walk anew"):
        trained(inference=small(training=Training(compile=True)))
