"""A bridge of the fractional Ornstein-Uhlenbeck process, simulated, against the conditional law of exact motion."""

import numpy as np
import pytest
import torch

from dyninfer.fractional import FractionalBrownianMotion, MarkovApproximation
from dyninfer.fractional.controlled import run_controlled
from dyninfer.fractional.gaussian.linear import LinearEquation, transitions
from dyninfer.fractional.process import FractionalDiffusion
from dyninfer.fractional.solver import FractionalEuler

RATE, END, SEEN = 1.0, 2.0, 0.1


def exact_covariance(hurst, n=800):
    """``X = B − θ ∫ e^{−θ(t−u)} B_u du`` by the trapezoidal rule, at times ``(n + 1,)``."""
    t = np.linspace(0, END, n + 1)
    kernel = np.tril(np.exp(-RATE * np.clip(t[:, None] - t, 0, None))) * t[1]
    kernel[:, 0] *= 0.5
    kernel[np.diag_indices(n + 1)] *= 0.5
    answer = np.eye(n + 1) - RATE * kernel
    return answer @ FractionalBrownianMotion(hurst, "II").covariance(t).numpy() @ answer.T


@pytest.mark.parametrize("hurst", [0.3, 0.7])
def test_controlled_paths_have_the_covariance_of_exact_motion_given_its_end(hurst):
    """The control is ``u = −(a·G) m / (v + s²)``, with ``m`` and ``v`` the mean and variance of the end."""
    noise = MarkovApproximation(12, horizon=END, dt=0.01, kind="II")
    g, w = noise.nodes, noise.weights([hurst])
    unit, one = (2 * g[1:]).sqrt(), torch.ones(1, dtype=torch.float64)
    equation = LinearEquation(g, w, RATE * one, one)
    push = torch.cat([w.sum(-1), unit])  # how dW moves the state and its scaled memory

    def control(t, x, y):
        phi, spread = transitions(equation, END - t[:1].double())
        end = phi[0, 0, 0]
        mean = x * end[0].to(x) + y[..., 1:] @ (end[1:] * unit).to(x)
        return mean * (-(end @ push) / (spread[0, 0, 0, 0] + SEEN**2)).to(x)

    process = FractionalDiffusion(lambda t, x: -RATE * x, noise, hurst)
    n, step = 20_000, 0.01
    # The control is frozen over a step, which costs most before the sharp end: steps are halved there.
    times = [0.0, 0.5, 1.0, 1.5, *(END - step * 0.5**k for k in range(9)), END]
    with torch.no_grad():
        run = run_controlled(
            process, torch.zeros(n, 1), times, control=control, solver=FractionalEuler(step)
        )
    x = run.states[
        :, 1:4, 0
    ].double()  # the end itself feels that the control is frozen over a step
    full = exact_covariance(hurst)
    at = [200, 400, 600]
    gain = full[at, -1] / (full[-1, -1] + SEEN**2)
    exact = torch.from_numpy(full[np.ix_(at, at)] - np.outer(gain, full[-1, at]))
    scale = exact.diag().sqrt()
    found = x.T @ x / n
    np.testing.assert_allclose(found.diag().sqrt(), scale, rtol=0.02)
    error = ((found - exact) / scale[:, None] / scale).abs()
    assert error.max() < 0.045
