"""Arcs of single pairs against the equations of motion that define them."""

import math

import numpy as np
import pytest
import torch
from oracles import dirac_action, dirac_mass
from scipy.integrate import quad, solve_ivp

from dyninfer.transport.curves.geodesic import cone_arc, sphere_time, straight

F64 = torch.float64


def row(*values):
    return torch.tensor([values], dtype=F64)


def arc_at(beta, distance=1.3, m0=0.7, m1=2.0, penalty=1.5):
    beta = torch.atleast_1d(torch.as_tensor(beta, dtype=F64))
    n = len(beta)
    x0, x1 = row(0.2, -0.1).expand(n, 2), row(0.2 + distance, -0.1).expand(n, 2)
    logs = (torch.full((n,), math.log(m), dtype=F64) for m in (m0, m1))
    return cone_arc(beta, x0, x1, *logs, penalty)


def test_a_straight_arc_has_constant_velocity_and_mass_one():
    arc = straight(torch.tensor([0.0, 0.3, 1.0]), torch.zeros(3, 2), torch.tensor([[2.0, 4.0]] * 3))
    torch.testing.assert_close(arc.position, torch.tensor([[0.0, 0.0], [0.6, 1.2], [2.0, 4.0]]))
    assert (arc.velocity == torch.tensor([2.0, 4.0])).all()
    assert (arc.mass == 1).all()
    assert (arc.mass_rate == 0).all()


@pytest.mark.parametrize(("m0", "m1"), [(1.0, 1.0), (0.7, 2.0), (3.0, 0.1)])
@pytest.mark.parametrize("distance", [1e-3, 0.5, 2.0])
def test_a_cone_arc_obeys_the_equations_of_wasserstein_fisher_rao_motion(distance, m0, m1):
    # Along a ray of ∂s/∂t + ½|∇s|² + ½λs² = 0 with v = ∇s and g = λs: v' = −g v and g' = ½λ v² − ½ g².
    penalty = 1.5
    start = arc_at(0.0, distance, m0, m1, penalty)
    v0, g0 = float(start.velocity[0, 0]), float(start.mass_rate / start.mass)

    def motion(_, y):
        x, v, log_m, g = y
        return v, -g * v, g, 0.5 * penalty * v**2 - 0.5 * g**2

    beta = np.linspace(0, 1, 11)
    true = solve_ivp(
        motion, (0, 1), [0.2, v0, math.log(m0), g0], t_eval=beta, rtol=1e-11, atol=1e-12
    ).y
    arc = arc_at(beta, distance, m0, m1, penalty)
    np.testing.assert_allclose(arc.position[:, 0], true[0], atol=1e-8)
    np.testing.assert_allclose(arc.velocity[:, 0], true[1], rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(arc.mass, np.exp(true[2]), rtol=1e-8)
    np.testing.assert_allclose(arc.mass_rate / arc.mass, true[3], rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(arc.velocity[:, 1], 0, atol=1e-12)


def test_a_cone_arc_ends_at_its_points_with_their_masses():
    arc = arc_at([0.0, 1.0])
    torch.testing.assert_close(arc.position, torch.tensor([[0.2, -0.1], [1.5, -0.1]], dtype=F64))
    torch.testing.assert_close(arc.mass, torch.tensor([0.7, 2.0], dtype=F64))


def test_the_action_and_the_mass_of_a_cone_arc_are_the_closed_forms():
    distance, m0, m1, penalty = 1.3, 0.7, 2.0, 1.5

    def density(beta):
        arc = arc_at(beta, distance, m0, m1, penalty)
        spent = arc.mass_rate.square() / arc.mass / (2 * penalty)
        return float(0.5 * arc.mass * arc.velocity.square().sum(1) + spent)

    value, _ = quad(density, 0, 1)
    assert value == pytest.approx(dirac_action(distance, m0, m1, penalty), rel=1e-9)
    beta = torch.linspace(0, 1, 21, dtype=F64)
    torch.testing.assert_close(arc_at(beta).mass, dirac_mass(beta, distance, m0, m1, penalty))


def test_velocity_and_mass_rate_of_a_cone_arc_are_its_derivatives():
    beta = torch.linspace(0.01, 0.99, 25, dtype=F64)
    arc, rate = torch.func.jvp(arc_at, (beta,), (torch.ones_like(beta),))
    torch.testing.assert_close(arc.velocity, rate.position)
    torch.testing.assert_close(arc.mass_rate, rate.mass)


@pytest.mark.parametrize("gone", ["source", "target"])
def test_a_cell_that_is_destroyed_or_created_stays_where_it_is(gone):
    # A pair out of reach has mass at one end only; its mass is a square of time, as that of a Fisher-Rao geodesic.
    beta, empty = torch.linspace(0, 1, 11, dtype=F64), torch.full((11,), -math.inf, dtype=F64)
    x0, x1 = row(0.0, 0.0).expand(11, 2), row(50.0, 0.0).expand(11, 2)
    logs = (empty, 0 * beta) if gone == "source" else (0 * beta, empty)
    arc = cone_arc(beta, x0, x1, *logs, 1.0)
    np.testing.assert_allclose(
        arc.mass, beta**2 if gone == "source" else (1 - beta) ** 2, atol=1e-12
    )
    carried = arc.mass > 1e-9
    home = x1 if gone == "source" else x0
    torch.testing.assert_close(arc.position[carried], home[carried])
    for value in arc:
        assert bool(value.isfinite().all())


def test_the_time_of_the_sphere_runs_the_chord_at_constant_angular_speed():
    # Two unit vectors Φ apart: the normalised chord at β(τ) must be the great circle at angle τΦ.
    tau = torch.linspace(0, 1, 21, dtype=F64)
    for phi in (0.05, 0.8, 1.5):
        beta, speed, total = sphere_time(tau, torch.full_like(tau, phi))
        first, last = row(1.0, 0.0), row(math.cos(phi), math.sin(phi))
        chord = (1 - beta)[:, None] * first + beta[:, None] * last
        torch.testing.assert_close(total, chord.square().sum(1))
        angle = torch.atan2(chord[:, 1], chord[:, 0])
        torch.testing.assert_close(angle, tau * phi)
        _, slope = torch.func.jvp(
            lambda t, phi=phi: sphere_time(t, torch.full_like(t, phi))[0],
            (tau,),
            (torch.ones_like(tau),),
        )
        torch.testing.assert_close(speed, slope)
        assert (float(beta[0]), float(beta[-1])) == pytest.approx((0.0, 1.0), abs=1e-12)
