"""Steps of the solver that are predicted from one of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import dyninfer as di
from dyninfer.simulation.solvers.predicted import SETTLED_ERROR, predicted_steps
from dyninfer.simulation.solvers.tsit5_tableau import ERROR, A


def error_of_linear(z: float) -> float:
    """Error of a step of ``x' = λ x`` from 1 with ``z = λ h``: ``z eᵀ (1 − z A)⁻¹ 1``."""
    stages = np.zeros((7, 7))
    for row, a in enumerate(A, start=1):
        stages[row, : len(a)] = a
    slopes = np.linalg.solve(np.eye(7) - z * stages, np.ones(7))
    return z * float(np.dot(ERROR, slopes))


@pytest.mark.parametrize("rate", [-1.0, -3.0, 1.0, 4.0])
def test_the_steps_of_a_linear_field_are_those_of_its_stability_function(rate):
    # As tabulated of the pair itself.
    assert error_of_linear(-1.0) == pytest.approx(-6.041e-4, rel=1e-3)
    assert error_of_linear(-3.0) == pytest.approx(-0.2648, rel=1e-3)

    def steps(h):
        end = np.exp(rate * h)  # to the order of the tolerance's own precision
        tolerance = 1e-5 + 1e-4 * max(1.0, end)
        error = abs(error_of_linear(rate * h)) / tolerance
        return (error / SETTLED_ERROR) ** 0.2 / h

    h = min(1 / steps(0.1), 0.5)
    t = torch.zeros(1, dtype=torch.float64)
    x = torch.ones(1, 1, dtype=torch.float64)
    assert float(predicted_steps(lambda t, x: rate * x, t, x)) == pytest.approx(steps(h), rel=1e-3)


@pytest.mark.parametrize("turns", [4, 10])
def test_a_run_in_a_circle_takes_as_many_steps_as_are_predicted(turns):
    speed = 2 * np.pi * turns

    def velocity(t, x):
        return speed * torch.stack([-x[:, 1], x[:, 0]], 1)

    angle = torch.linspace(0, 6, 50, dtype=torch.float64)
    x = torch.stack([angle.cos(), angle.sin()], 1)
    predicted = float(predicted_steps(velocity, angle / 6, x).mean())
    run = di.simulate(di.Diffusion(drift=velocity), x, [0.0, 1.0])
    # Tolerances count in the median distance from the middle here, and in a unit of one there.
    assert run.attrs["evaluations"] / 6 == pytest.approx(predicted, rel=0.1)


def test_what_is_straight_or_steep_has_a_finite_slope():
    t = torch.tensor([0.2, 0.8])
    x = torch.ones(2, 3)
    for steepness in (0.0, 1.0, 100.0):
        factor = torch.tensor(1.0, requires_grad=True)
        steps = predicted_steps(lambda t, x, f=factor, k=steepness: f * (1 + k * x), t, x)
        steps.sum().backward()
        assert steps.isfinite().all()
        assert factor.grad.isfinite()
