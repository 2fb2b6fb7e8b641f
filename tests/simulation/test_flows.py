import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from simulation.spelled import spelled
from torch import nn

from dyninfer.diffusions import Diffusion
from dyninfer.simulation import simulate
from dyninfer.simulation.solvers import Tsit5
from dyninfer.simulation.solvers.tsit5_tableau import ERROR, INTERPOLANT, A, C

OWN = ["tsit5", "euler", "heun", "rk4"]
LIBRARY = [
    "dopri5",
    "dopri8",
    "bosh3",
    "fehlberg2",
    "adaptive_heun",
    "midpoint",
    "heun2",
    "heun3",
    "torchdiffeq:rk4",
]
DECAY = Diffusion(drift=lambda t, x: -x)
EXPLOSION = Diffusion(drift=lambda t, x: x**2)  # x0 / (1 - x0 t)


def pendulum(t, x):
    return torch.stack([x[:, 1], -torch.sin(x[:, 0]) + 0.3 * torch.cos(t)], dim=1)


def reference(x0, times):
    def f(t, y):
        return [y[1], -np.sin(y[0]) + 0.3 * np.cos(t)]

    paths = [
        solve_ivp(f, (times[0], times[-1]), x, "DOP853", times, rtol=1e-12, atol=1e-12).y.T
        for x in x0
    ]
    return torch.from_numpy(np.stack(paths))


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("heun", 2), ("rk4", 4)])
def test_fixed_rules_have_their_order(solver, order):
    x = torch.tensor([[1.0, 0.5]], dtype=torch.float64)
    exact = reference(x.numpy(), np.array([0.0, 2.0]))[:, 1]
    errors = [
        (
            simulate(
                Diffusion(drift=pendulum), x, [0.0, 2.0], solver=spelled(solver, dt=dt)
            ).states[:, 1]
            - exact
        ).norm()
        for dt in (0.1, 0.05)
    ]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.2)


@pytest.mark.parametrize("backward", [False, True])
def test_tsit5_agrees_with_scipy_at_tight_tolerance_at_every_output(backward):
    x = torch.randn(20, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    times = np.linspace(0, 6, 37)[:: -1 if backward else 1]
    run = simulate(
        Diffusion(drift=pendulum),
        x,
        times.copy(),
        solver=Tsit5(rtol=1e-10, atol=1e-10),
        backward=backward,
    )
    assert (run.states - reference(x.numpy(), times)).abs().max() < 1e-7


@pytest.mark.parametrize("solver", LIBRARY)
def test_torchdiffeq_methods_agree_with_scipy(solver):
    x = torch.tensor([[1.0, 0.5], [0.1, -1.0]], dtype=torch.float64)
    times = np.array([0.0, 0.3, 1.0, 3.0])
    run = simulate(
        Diffusion(drift=pendulum), x, times, solver=spelled(solver, dt=0.02, rtol=1e-6, atol=1e-7)
    )
    assert (run.states - reference(x.numpy(), times)).abs().max() < 2e-3


def test_torchdiffeq_runs_backward():
    x = torch.ones(2, 2, dtype=torch.float64)
    for solver in ("dopri5", "midpoint"):
        run = simulate(DECAY, x, [1.0, 0.4, 0.0], solver=spelled(solver, dt=0.01), backward=True)
        assert torch.allclose(run.states[0, :, 0], torch.exp(1 - run.times), rtol=1e-4)


def test_tsit5_coefficients_satisfy_the_order_conditions():
    a = np.zeros((7, 7))
    for i, row in enumerate(A):
        a[i + 1, : len(row)] = row
    c, b = np.array([0.0, *C]), a[6]
    e, ac, ac2 = np.ones(7), a @ c, a @ c**2
    fourth = [
        (e, 1, 1),
        (c, 2, 2),
        (c**2, 3, 3),
        (ac, 6, 3),
        (c**3, 4, 4),
        (c * ac, 8, 4),
        (ac2, 12, 4),
        (a @ ac, 24, 4),
    ]
    fifth = [
        (c**4, 5),
        (c**2 * ac, 10),
        (ac**2, 20),
        (c * ac2, 15),
        (c * (a @ ac), 30),
        (a @ c**3, 20),
    ]
    fifth += [(a @ (c * ac), 40), (a @ ac2, 60), (a @ a @ ac, 120)]
    assert np.allclose(a.sum(1), c, atol=1e-14)
    assert max(abs(b @ v - 1 / d) for v, d in fifth) < 1e-14
    assert max(abs(b @ v - 1 / d) for v, d, _ in fourth) < 1e-14
    assert max(abs((b - ERROR) @ v - 1 / d) for v, d, _ in fourth) < 1e-14
    for theta in (0.2, 0.7, 1.0):
        inside = np.array(INTERPOLANT) @ [theta, theta**2, theta**3, theta**4]
        assert max(abs(inside @ v - theta**order / d) for v, d, order in fourth) < 1e-13


def test_paths_of_unequal_stiffness_are_all_accurate():
    rates = torch.logspace(0, 2, 20, dtype=torch.float64)[:, None]
    field = Diffusion(
        drift=lambda t, x: torch.cat(
            [-x[:, 1:] * (x[:, :1] - torch.cos(t)[:, None]), 0 * x[:, 1:]], 1
        )
    )
    x = torch.cat([torch.zeros_like(rates), rates], dim=1)
    run = simulate(field, x, [0.0, 0.5, 2.0], solver=Tsit5(rtol=1e-7, atol=1e-8))
    t, k = run.times[None], rates
    exact = k * (k * torch.cos(t) + torch.sin(t)) / (1 + k**2) - k**2 / (1 + k**2) * torch.exp(
        -k * t
    )
    assert (run.states[:, :, 0] - exact).abs().max() < 1e-6


def test_rows_evaluated_are_the_sum_of_what_each_path_needs_alone():
    rows = []

    def drift(t, x):
        rows.append(len(x))
        return -x[:, 1:] * x.flip(1) * torch.tensor([1.0, 0.0])

    x = torch.stack([torch.ones(30), torch.logspace(0, 2, 30)], dim=1).double()
    simulate(Diffusion(drift=drift), x, [0.0, 1.0, 2.0])
    together = sum(rows)
    rows.clear()
    for one in x.split(1):
        simulate(Diffusion(drift=drift), one, [0.0, 1.0, 2.0])
    assert together <= 1.15 * sum(rows)


@pytest.mark.parametrize("solver", ["tsit5", "rk4", "dopri5"])
def test_forward_then_backward_returns_to_the_start(solver):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 32), nn.Tanh(), nn.Linear(32, 5)).requires_grad_(False)
    flow = Diffusion(drift=lambda t, x: net(x) * torch.cos(t)[:, None])
    x = torch.randn(50, 5)
    end = simulate(flow, x, [0.0, 1.0, 3.0], solver=spelled(solver, rtol=1e-6, atol=1e-7)).states[
        :, -1
    ]
    back = simulate(
        flow, end, [3.0, 0.5, 0.0], solver=spelled(solver, rtol=1e-6, atol=1e-7), backward=True
    )
    assert back.times.tolist() == [3.0, 0.5, 0.0]
    assert (back.states[:, -1] - x).abs().max() < 1e-4


@pytest.mark.parametrize("solver", [*OWN, "dopri5", "midpoint"])
def test_gradients_reach_start_and_parameters(solver):
    rate = nn.Parameter(torch.tensor(0.7, dtype=torch.float64))

    class Decay(Diffusion):
        def __init__(self):
            super().__init__(drift=lambda t, x: -rate * x, growth=lambda t, x: x[:, 0])
            self.rate = rate

    x = torch.tensor([[1.0, 2.0], [0.3, -1.0]], dtype=torch.float64, requires_grad=True)
    run = simulate(
        Decay(), x, [0.0, 0.5, 1.0], solver=spelled(solver, dt=0.002, rtol=1e-8, atol=1e-9)
    )
    by_x, by_rate = torch.autograd.grad(run.states[:, -1].sum(), (x, rate), retain_graph=True)
    assert torch.allclose(by_x, torch.exp(-rate).expand(2, 2), rtol=2e-3)
    assert by_rate.item() == pytest.approx(-(x.sum() * torch.exp(-rate)).item(), rel=2e-3)
    (by_weight,) = torch.autograd.grad(run.log_weights[:, -1].sum(), x)
    expected = ((1 - torch.exp(-rate)) / rate).item()
    assert torch.allclose(
        by_weight[:, 0], torch.full((2,), expected, dtype=torch.float64), rtol=2e-3
    )


@pytest.mark.parametrize("solver", OWN)
def test_a_diverging_path_is_flagged_and_leaves_the_others_alone(solver):
    x = torch.tensor([[0.1], [2.0], [0.2]])
    with pytest.warns(RuntimeWarning, match="1 of 3 paths diverged, the first by time 2") as caught:
        run = simulate(EXPLOSION, x, [0.0, 0.4, 2.0, 3.0], solver=spelled(solver, dt=0.001))
    assert len(caught) == 1
    assert run.status.tolist() == [0, 1, 0]
    assert run.states[1].isfinite().flatten().tolist() == [True, True, False, False]
    expected = x[::2] / (1 - x[::2] * run.times.float())
    assert torch.allclose(run.states[::2, :, 0], expected, rtol=1e-2)


def test_a_field_that_is_not_a_number_stops_only_its_paths():
    field = Diffusion(drift=lambda t, x: torch.where(x > 2.5, math.nan, -x))
    with pytest.warns(RuntimeWarning, match="1 of 3 paths"):
        run = simulate(field, torch.tensor([[0.1], [2.0], [3.0]]), [0.0, 1.0])
    assert run.status.tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("field", "when"),
    [
        (EXPLOSION, "time 0.33"),
        (Diffusion(drift=lambda t, x: torch.where(x > 2.5, math.nan, x)), "time 0"),
    ],
)
def test_dopri5_failure_names_time_and_paths(field, when):
    with pytest.raises(RuntimeError, match=f"{when}.*1 of 3 paths"):
        simulate(field, torch.tensor([[0.1], [2.0], [3.0]]), [0.0, 1.0], solver="dopri5")


def test_steps_never_leave_the_span_and_outputs_are_hit_exactly():
    seen = []

    def drift(t, x):
        seen.append(t.max().item())
        return torch.ones_like(x)

    for solver in [*OWN, "midpoint"]:
        run = simulate(
            Diffusion(drift=drift),
            torch.zeros(1, 1).double(),
            [0.0, 0.1, 0.7, 1.0],
            solver=spelled(solver, dt=0.17),
        )
        assert torch.allclose(run.states[0, :, 0], run.times, atol=1e-12)
    assert max(seen) <= 1.0 + 1e-12


def test_rounding_of_float32_times_costs_no_extra_step():
    calls = []

    def drift(t, x):
        calls.append(1)
        return -x

    simulate(
        Diffusion(drift=drift),
        torch.ones(1, 1),
        torch.linspace(0, 25, 251),
        solver=spelled("euler", dt=0.05),
    )
    assert len(calls) == 500 + 1  # and one look at the field before the run
