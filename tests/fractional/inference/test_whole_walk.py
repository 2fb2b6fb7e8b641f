"""All steps of a guided walk at once have the numbers and the slopes of steps one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dyninfer import Paths
from dyninfer.fractional import MarkovApproximation
from dyninfer.fractional.inference import Layout, LinearPrior, NeuralModel, Parts, Series
from dyninfer.learning.random import seeded_modules

CASES = {
    "drift and control": (Parts(drift="network", encoder="network"), {}),
    "drift alone": (Parts(drift="network", control=None), {}),
    "control of a latent state": (
        Parts(encoder="network", decoder="linear"),
        {"latent": True, "n_steps": 1},
    ),
    "drift after the last time that is read": (
        Parts(drift="network", encoder="network", decoder="network"),
        {"latent": True, "read_first": 3},
    ),
    "steps that nothing guides": (Parts(drift="network", encoder="network"), {"read_first": 1}),
}


def model_of(parts, settings):
    options = {"width": 8, "depth": 2, "n_steps": 2, "horizon": 2.0}
    prior = LinearPrior(
        MarkovApproximation(3, horizon=2.0, dt=0.1),
        2,
        2,
        drift="linear",
        hurst=0.7,
        shared=True,
        tau=0.2,
        observation_noise=torch.full((2,), 0.3),
        latent=False,
        free_start=False,
    )
    with seeded_modules(0, "test"):
        model = NeuralModel(prior, parts, Layout(2, **(options | settings))).double()
        for parameter in model.parameters():
            # Networks begin as nothing, where every slope would be right.
            parameter.data += 0.2 * torch.randn(parameter.shape, dtype=parameter.dtype)
    return model


def series_of(shared):
    rng = np.random.default_rng(0)
    times = [np.sort(rng.uniform(0, 2, n)) for n in (6, 6, 4)]
    if shared:
        times = [times[0]] * 3
    states = [rng.normal(size=(len(t), 2)) for t in times]
    states[0][2:] = np.nan  # the end of this path is free
    return Series.of(Paths(times=times, states=states))


def loss_and_slopes(model, series):
    guided, _ = model.guided(series, 3, seed=1)
    weights = guided.log_weights
    # Not the mean alone: every draw counts for itself.
    loss = (weights * torch.linspace(0.5, 1.5, weights.numel()).view_as(weights)).sum()
    slopes = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    return guided.states, loss, slopes


@pytest.mark.parametrize("shared", [True, False], ids=["same times", "own times"])
@pytest.mark.parametrize("name", CASES)
def test_a_walk_at_once_has_the_slopes_of_its_steps(name, shared, monkeypatch):
    model = model_of(*CASES[name])
    series = series_of(shared)
    assert model.equation.networks is not None
    at_once = loss_and_slopes(model, series)
    monkeypatch.setattr(NeuralModel, "_own_networks", lambda model: None)
    by_steps = loss_and_slopes(model, series)
    assert torch.allclose(at_once[0], by_steps[0], rtol=1e-10, atol=1e-12)
    assert torch.allclose(at_once[1], by_steps[1], rtol=1e-11)
    size = max(slope.abs().max() for slope in by_steps[2] if slope is not None)
    for one, other in zip(at_once[2], by_steps[2], strict=True):
        if other is None:
            assert one is None
        else:
            assert torch.allclose(one, other, rtol=1e-8, atol=1e-10 * float(size))


def test_modules_of_ones_own_and_an_amplitude_go_step_by_step():
    own = Parts(drift=torch.nn.Linear(2, 2), encoder="network")
    bent = Parts(drift="network", amplitude="network", encoder="network")
    for parts in (own, bent):
        assert model_of(parts, {}).equation.networks is None
