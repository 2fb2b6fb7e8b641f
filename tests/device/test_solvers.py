"""No fixed step of a solver waits for the device; an adaptive one does so twice at most."""

from __future__ import annotations

import pytest
import torch
from device.cases import N_FEATURES, TIMES, process
from device.measure import SOLVER_STEPS, step_of_solver, whole
from device.pretend import TRAFFIC, WAITS_OF_HOST, pretend_gpu

import dyninfer as di
from dyninfer.simulation.solvers import (
    SRA1,
    Euler,
    EulerMaruyama,
    Heun,
    RungeKutta4,
    TorchDiffEq,
    TorchSDE,
    Tsit5,
    tsit5,
)


def growth(t, x):
    return x.sum(1)


def proportional(t, x):
    return 0.1 * x


FIXED = {
    "euler": (Euler, {}, 4),
    "heun": (Heun, {}, 9),
    "rk4": (RungeKutta4, {}, 19),
    "rk4 with growth": (RungeKutta4, {"growth": growth}, 27),
    "euler_maruyama": (EulerMaruyama, {"diffusion": 0.3}, 5),
    "euler_maruyama, noise of the state": (EulerMaruyama, {"diffusion": proportional}, 6),
    "heun with noise": (Heun, {"diffusion": 0.3}, 10),
    "sra1": (SRA1, {"diffusion": 0.3}, 11),
}


def run(model, solver):
    starts = torch.zeros(64, N_FEATURES)
    return di.simulate(model, starts, TIMES, solver=solver)


def fixed_step(solver, fields):
    with pretend_gpu() as counts:
        model = process(**fields)
        return step_of_solver(counts, lambda n: run(model, solver(dt=TIMES[-1] / n)))


@pytest.mark.parametrize("name", FIXED)
def test_no_fixed_step_leaves_the_device(name):
    solver, fields, n_launches = FIXED[name]
    steps = fixed_step(solver, fields)
    assert not steps.total(*TRAFFIC), steps.places(*TRAFFIC)
    # Three of every evaluation are those of the network itself.
    assert steps.total("launch") <= n_launches * SOLVER_STEPS


def test_steps_of_torchsde_wait_for_nothing_and_those_of_torchdiffeq_once_each():
    steps = fixed_step(lambda dt: TorchSDE("euler", dt=dt), {"diffusion": 0.3})
    assert not steps.total(*WAITS_OF_HOST, "mixture"), steps.places(*WAITS_OF_HOST, "mixture")
    steps = fixed_step(lambda dt: TorchDiffEq("rk4", dt=dt), {})
    assert steps.total(*WAITS_OF_HOST) == SOLVER_STEPS


@pytest.mark.parametrize("fields", [{}, {"growth": growth}], ids=["plain", "growth"])
def test_an_attempted_step_of_tsit5_waits_twice(fields, monkeypatch):
    attempts = []
    step = tsit5._step

    def count(*args):
        attempts.append(args)
        return step(*args)

    monkeypatch.setattr(tsit5, "_step", count)
    with pretend_gpu() as counts:
        model = process(**fields)
        run_counts = whole(counts, lambda: run(model, Tsit5()))
    n_steps = len(attempts)
    assert n_steps > 5
    # Four more in a whole run: units of coordinates at rest, and paths that failed.
    assert run_counts.total(*WAITS_OF_HOST) <= 2 * n_steps + 4, run_counts.places(*WAITS_OF_HOST)
    assert not run_counts.total("mixture"), run_counts.places("mixture")
