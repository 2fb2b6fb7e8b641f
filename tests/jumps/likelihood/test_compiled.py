"""Compiled recursions against the same recursions in torch, which enumeration proves right."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from jumps import cases

from dyninfer.data.paths import Paths
from dyninfer.jumps.likelihood import forward, forward_backward
from dyninfer.jumps.likelihood.hidden import HiddenPaths
from dyninfer.jumps.likelihood.observation import GaussianEmission, LabelNoise

N_MODELS = 3


def ragged(seed=0):
    """Paths of different lengths and gaps, some values missing, the last state entered exactly."""
    rng = np.random.default_rng(seed)
    times = []
    states = []
    for n in (1, 2, 7, 30):
        times.append(np.cumsum(rng.choice([0.1, 0.25, 1.7], size=n)))
        states.append(rng.integers(-1, 4, size=n))
    return Paths(times=times, states=states, state_names=tuple("abcd"))


def stepwise(monkeypatch):
    monkeypatch.setattr(forward_backward, "can_run_on", lambda tensor: False)


def value_and_slopes(data, emission, seed=1):
    """Weighted log-likelihood of a batch of models and its slopes in everything."""
    q = cases.random_generator(4, seed, N_MODELS).requires_grad_()
    g = torch.Generator().manual_seed(seed)
    initial = torch.rand(N_MODELS, 4, generator=g, dtype=torch.float64).softmax(-1).requires_grad_()
    theta = emission.parameters().detach().requires_grad_()
    value = data.log_likelihood(q, emission.with_parameters(theta), initial)
    weight = torch.rand(value.shape, generator=g, dtype=torch.float64)
    return value, torch.autograd.grad((weight * value).sum(), (q, initial, theta))


@pytest.mark.parametrize("exact", [(), (3,)])
def test_compiled_and_stepwise_recursions_agree(exact, monkeypatch):
    data = HiddenPaths.of(ragged(), exact=exact)
    emission = LabelNoise.uniform(4, 0.1)
    value, slopes = value_and_slopes(data, emission)
    q = cases.random_generator(4, 1)
    smooth = data.smooth(q, emission, torch.ones(4, dtype=torch.float64) / 4)
    stepwise(monkeypatch)
    torch_value, torch_slopes = value_and_slopes(data, emission)
    torch.testing.assert_close(value, torch_value, rtol=1e-12, atol=1e-12)
    for slope, torch_slope in zip(slopes, torch_slopes, strict=True):
        torch.testing.assert_close(slope, torch_slope, rtol=1e-11, atol=1e-12)
    torch_smooth = data.smooth(q, emission, torch.ones(4, dtype=torch.float64) / 4)
    torch.testing.assert_close(smooth, torch_smooth, rtol=1e-12, atol=1e-14)


def test_impossible_paths_have_no_chance_and_leave_the_others_alone(monkeypatch):
    data = HiddenPaths.of(Paths(times=[[0.0, 1.0]] * 2, states=[[1, 0], [0, 1]]))
    q = torch.tensor([[-1.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
    initial = torch.tensor([0.5, 0.5], dtype=torch.float64)
    value = data.log_likelihood(q, LabelNoise.perfect(2), initial)
    assert value[0] == -torch.inf
    assert float(value[1]) == pytest.approx(np.log(0.5 * (1 - np.exp(-1))), abs=1e-14)
    stepwise(monkeypatch)
    torch.testing.assert_close(data.log_likelihood(q, LabelNoise.perfect(2), initial), value)


def test_a_density_of_many_features_neither_overflows_nor_underflows():
    """Two hundred features: every observation has a density near e^±500."""
    n = 40
    x = np.zeros((n, 200))
    for std in (0.05, 20.0):
        emission = GaussianEmission.of(np.zeros((2, 200)), np.full((2, 200), std))
        data = HiddenPaths.of(Paths(times=[np.arange(n)], states=[x]))
        q = torch.tensor([[-1.0, 1.0], [2.0, -2.0]], dtype=torch.float64)
        value = data.log_likelihood(q, emission, torch.tensor([0.5, 0.5], dtype=torch.float64))
        exact = -n * 200 * (np.log(std) + 0.5 * np.log(2 * np.pi))
        assert float(value[0]) == pytest.approx(exact, rel=1e-12)


def test_a_slope_can_be_asked_for_twice():
    data = HiddenPaths.of(ragged())
    q = cases.random_generator(4, 0).requires_grad_()
    initial = torch.ones(4, dtype=torch.float64) / 4
    value = data.log_likelihood(q, LabelNoise.uniform(4, 0.1), initial).sum()
    (first,) = torch.autograd.grad(value, q, retain_graph=True)
    (second,) = torch.autograd.grad(value, q)
    torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_numba_waits_until_hidden_states_are_fitted():
    code = (
        "import sys, dyninfer, dyninfer.jumps; dyninfer.MarkovJumpInference;"
        "print('numba' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


def test_hidden_states_are_fitted_without_numba_too():
    code = (
        "import sys; sys.modules['numba'] = None\n"
        "import torch, numpy as np, dyninfer as di\n"
        "from dyninfer.jumps import HiddenPaths, LabelNoise\n"
        "data = HiddenPaths.of(di.Paths(times=[[0.0, 1.0]], states=[[0, 1]]))\n"
        "q = torch.tensor([[-1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)\n"
        "initial = torch.tensor([0.5, 0.5], dtype=torch.float64)\n"
        "print(float(data.log_likelihood(q, LabelNoise.perfect(2), initial)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    exact = np.log(0.25 * (1 - np.exp(-2.0)))
    assert float(out.stdout) == pytest.approx(exact, abs=1e-14)


def test_likelihoods_of_many_models_of_labels_agree_with_those_of_each(monkeypatch):
    data = HiddenPaths.of(ragged())
    q = cases.random_generator(4, 5, N_MODELS)
    rates = torch.tensor([0.01, 0.1, 0.3], dtype=torch.float64)
    noise = LabelNoise.uniform(4, rates)
    initial = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    together = forward.label_log_likelihood(data, q, noise.confusion, initial)
    of_paths = data.log_likelihood(q, noise, initial)
    torch.testing.assert_close(together, of_paths.sum(-1), rtol=1e-12, atol=1e-12)
    monkeypatch.setattr(forward, "can_run_on", lambda tensor: False)
    in_torch = forward.label_log_likelihood(data, q, noise.confusion, initial)
    torch.testing.assert_close(together, in_torch, rtol=1e-12, atol=1e-12)
