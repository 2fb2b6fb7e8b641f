"""Hydrogen against mpmath's special functions, quadrature, and formulas of the textbook written out by hand."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.stats import kstest

from dyninfer.simulators import HydrogenSuperposition
from dyninfer.simulators.eigenstate import Eigenstate

ATOMIC = HydrogenSuperposition(bohr_radius=1.0, duration=88.66)
STATES = [
    (1, 0, 0),
    (2, 0, 0),
    (2, 1, 0),
    (2, 1, 1),
    (3, 2, -1),
    (3, 1, -1),
    (4, 3, 2),
    (5, 2, -2),
    (4, 3, -3),
]
BEAT = 1 / 8 - 1 / 18  # E₃ − E₂ in atomic units


def points(n: int, scale: float = 3.0) -> torch.Tensor:
    return scale * torch.randn(
        n, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )


def written_out(t: float, x: np.ndarray) -> np.ndarray:
    """``(ψ_{32−1} e^{−iE₃t} + ψ_{210} e^{−iE₂t})/√2`` from the textbook's R_nl and Y_lm, in atomic units."""
    r = np.linalg.norm(x, axis=-1)
    cos, plane = x[..., 2] / r, (x[..., 0] - 1j * x[..., 1]) / r
    first = (
        4
        / (81 * math.sqrt(30))
        * r**2
        * np.exp(-r / 3)
        * math.sqrt(15 / (8 * math.pi))
        * cos
        * plane
    )
    second = r * np.exp(-r / 2) / math.sqrt(24) * math.sqrt(3 / (4 * math.pi)) * cos
    return (first * np.exp(1j * t / 18) + second * np.exp(1j * t / 8)) / math.sqrt(2)


def marginal_law(t: float, of: str):
    """Distribution function of r, cos θ or φ under ``|ψ(t)|²``, by quadrature of the formula above."""
    r, wr = np.polynomial.legendre.leggauss(120)
    r, wr = 25 * (r + 1), 25 * wr
    cos, wc = np.polynomial.legendre.leggauss(40)
    phi = np.linspace(-np.pi, np.pi, 64, endpoint=False)
    grid = np.stack(np.meshgrid(r, cos, phi, indexing="ij"), axis=-1)
    sin = np.sqrt(1 - grid[..., 1] ** 2)
    x = grid[..., :1] * np.stack(
        [sin * np.cos(grid[..., 2]), sin * np.sin(grid[..., 2]), grid[..., 1]], axis=-1
    )
    mass = (
        np.abs(written_out(t, x)) ** 2 * (wr * r**2)[:, None, None] * wc[:, None] * (2 * np.pi / 64)
    )
    assert mass.sum() == pytest.approx(1, abs=1e-6)
    if of == "phi":  # a0 + a1 cos φ + b1 sin φ exactly: only m = −1 and 0 take part
        density = mass.sum((0, 1)) * 64 / (2 * np.pi)
        a1, b1 = 2 * (density * np.cos(phi)).mean(), 2 * (density * np.sin(phi)).mean()
        return lambda p: (p + np.pi) / (2 * np.pi) + a1 * np.sin(p) - b1 * (np.cos(p) + 1)
    nodes, weight = (r, mass.sum((1, 2))) if of == "r" else (cos, mass.sum((0, 2)))
    edges = (
        np.concatenate([[0.0], np.cumsum(wr)])
        if of == "r"
        else np.concatenate([[-1.0], np.cumsum(wc) - 1])
    )
    return lambda v: np.interp(v, edges, np.concatenate([[0.0], np.cumsum(weight)]))


def coordinates(x: np.ndarray) -> dict[str, np.ndarray]:
    r = np.linalg.norm(x, axis=1)
    return {"r": r, "cos": x[:, 2] / r, "phi": np.arctan2(x[:, 1], x[:, 0])}


@pytest.mark.parametrize("state", STATES)
def test_eigenstates_match_the_special_functions(state):
    n, l, m = state
    a = 1.3
    x = points(5)
    ours = Eigenstate(n, l, m, a)(x)[0].numpy()
    for value, (px, py, pz) in zip(ours, x.tolist(), strict=True):
        r = math.hypot(px, py, pz)
        k = 2 / (n * a)
        norm = math.sqrt(k**3 * math.factorial(n - l - 1) / (2 * n * math.factorial(n + l)))
        radial = (
            norm
            * math.exp(-k * r / 2)
            * (k * r) ** l
            * mpmath.laguerre(n - l - 1, 2 * l + 1, k * r)
        )
        angular = mpmath.spherharm(l, m, math.acos(pz / r), math.atan2(py, px))
        assert value == pytest.approx(complex(radial * angular), rel=1e-9)


def test_eigenstates_are_orthonormal():
    r, wr = np.polynomial.legendre.leggauss(160)
    r, wr = 80 * (r + 1), 80 * wr
    cos, wc = np.polynomial.legendre.leggauss(12)
    phi = 2 * np.pi * np.arange(16) / 16
    rr, cc, pp = (g.ravel() for g in np.meshgrid(r, cos, phi, indexing="ij"))
    sin = np.sqrt(1 - cc**2)
    x = torch.from_numpy(rr[:, None] * np.stack([sin * np.cos(pp), sin * np.sin(pp), cc], axis=1))
    weight = (wr * r**2)[:, None, None] * wc[:, None] * np.full(16, 2 * np.pi / 16)
    psi = torch.stack([Eigenstate(*state, 1.0)(x)[0] for state in STATES]).numpy()
    overlap = (psi * weight.ravel()) @ psi.conj().T
    np.testing.assert_allclose(overlap, np.eye(len(STATES)), atol=1e-8)


def test_gradient_matches_automatic_differentiation():
    x = points(40).requires_grad_()
    mixture = HydrogenSuperposition(
        states=((5, 2, -2), (4, 3, 2), (2, 0, 0), (4, 3, 0)), bohr_radius=0.9
    )
    psi, gradient = mixture._value_and_gradient(7.0, x)
    for part in ("real", "imag"):
        (expected,) = torch.autograd.grad(getattr(psi, part).sum(), x, retain_graph=True)
        torch.testing.assert_close(getattr(gradient, part).detach(), expected)


def test_wavefunction_is_the_textbook_formula():
    x = points(50)
    np.testing.assert_allclose(
        ATOMIC.wavefunction(11.0, x), written_out(11.0, x.numpy()), rtol=1e-9
    )


def test_density_repeats_after_a_beat_and_not_before():
    x = points(100)
    period = 2 * math.pi / BEAT
    assert ATOMIC.beat_period == pytest.approx(period)
    torch.testing.assert_close(ATOMIC.density(3.0, x), ATOMIC.density(3.0 + period, x))
    half = ATOMIC.density(3.0 + period / 2, x)
    assert (half - ATOMIC.density(3.0, x)).abs().max() > 0.3 * half.max()


def test_default_units_scale_lengths_by_4_pi_and_times_by_its_square():
    default, length = HydrogenSuperposition(), 4 * math.pi
    x = points(50)
    ours = default.density(1000.0, length * x) * length**3
    torch.testing.assert_close(ours, ATOMIC.density(1000.0 / length**2, x))
    assert default.duration / default.beat_period == pytest.approx(0.98, abs=1e-3)


def test_density_turns_rigidly_about_z():
    x, t = points(100), 17.0
    angle = (
        BEAT * t
    )  # m falls by one from the second state to the first, so the pattern turns clockwise
    c, s = math.cos(angle), math.sin(angle)
    back = x @ torch.tensor([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64).T
    torch.testing.assert_close(ATOMIC.density(t, x), ATOMIC.density(0.0, back))


def test_continuity_equation_holds_and_score_is_the_gradient():
    x = points(60).requires_grad_()
    t = torch.linspace(0, 80, 60, dtype=torch.float64).requires_grad_()
    process = ATOMIC.process()
    change, score = torch.autograd.grad(ATOMIC.density(t, x).log().sum(), (t, x))
    v = process.drift(t, x)
    divergence = sum(
        torch.autograd.grad(v[:, j].sum(), x, retain_graph=True)[0][:, j] for j in range(3)
    )
    residual = change + divergence + (score * v).sum(1)
    assert residual.abs().max() < 1e-8 * (change.abs() + (score * v).sum(1).abs()).max()
    torch.testing.assert_close(process.score(t, x).detach(), score)


@pytest.mark.parametrize("t", [0.0, 20.0, 60.0])
def test_samples_follow_the_density(t):
    x = ATOMIC.sample(t, 10_000, seed=4)
    assert x.shape == (10_000, 3)
    for name, values in coordinates(x.double().numpy()).items():
        assert kstest(values, marginal_law(t, name)).pvalue > 1e-3, name


def test_particles_keep_the_density():
    runs = HydrogenSuperposition().bohmian_trajectories(n=4000, n_times=8, seed=1)
    assert (runs.status == 0).all()
    for k, t in enumerate(runs.times.tolist()):
        for name, values in coordinates(runs.states[:, k].numpy() / (4 * math.pi)).items():
            assert kstest(values, marginal_law(t / (4 * math.pi) ** 2, name)).pvalue > 1e-3, (
                t,
                name,
            )


def test_particles_of_another_time_do_not_have_the_density():
    x = HydrogenSuperposition().sample(0.0, 4000, seed=1).double().numpy()
    assert kstest(coordinates(x)["phi"], marginal_law(45.0, "phi")).pvalue < 1e-6


def test_trajectories_match_an_independent_integration():
    n, h = 20, 1e-5
    runs = ATOMIC.bohmian_trajectories(n=n, n_times=5, seed=2)

    def velocity(t, y):
        x = y.reshape(n, 1, 1, 3) + h * np.array([1, -1])[:, None, None] * np.eye(3)
        psi = written_out(t, x)
        return (np.angle(psi[:, 0] / psi[:, 1]) / (2 * h)).ravel()

    start = runs.states[:, 0].numpy()
    span = (0.0, 88.66)
    exact = solve_ivp(
        velocity,
        span,
        start.ravel(),
        method="DOP853",
        t_eval=np.linspace(*span, 5),
        rtol=1e-8,
        atol=1e-9,
    )
    np.testing.assert_allclose(runs.states, exact.y.reshape(n, 3, 5).transpose(0, 2, 1), atol=1e-4)


def test_paths_begin_at_the_first_time_asked_for():
    x = np.stack(ATOMIC.paths([20.0, 21.0], 3000, seed=0).states)
    assert kstest(coordinates(x[:, 0])["phi"], marginal_law(20.0, "phi")).pvalue > 1e-3


def test_impossible_quantum_numbers_are_refused():
    with pytest.raises(ValueError, match=r"found \(2, 2, 0\)"):
        HydrogenSuperposition(states=((2, 2, 0),))
    with pytest.raises(ValueError, match="states must be different"):
        HydrogenSuperposition(states=((2, 1, 0), (2, 1, 0)))
