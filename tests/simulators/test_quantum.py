"""Wave packets against a grid solution of Schrödinger's equation and the continuity equation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import kstest, norm

from dyninfer.simulation import simulate
from dyninfer.simulation.solvers import Tsit5
from dyninfer.simulators import FreeWavePacket, HarmonicWavePacket

BREATHING = HarmonicWavePacket(
    frequency=1.3, mass=0.8, hbar=0.7, position=1.5, momentum=-0.4, width=0.35, dimension=1
)
FREE = FreeWavePacket(mass=0.8, hbar=0.7, position=-1.0, momentum=0.9, width=0.4, dimension=1)


def schroedinger(
    packet, t: float, frequency: float, steps: int = 4000
) -> tuple[np.ndarray, np.ndarray]:
    """Grid and ψ(t) by the split-step Fourier method, from the Gaussian with the packet's position and momentum."""
    n, m, hbar = 2048, packet.mass, packet.hbar
    x = np.linspace(-20, 20, n, endpoint=False)
    k = 2 * np.pi * np.fft.fftfreq(n, x[1] - x[0])
    psi = np.exp(
        -((x - packet.position) ** 2) / (4 * packet.width**2) + 1j * packet.momentum * x / hbar
    )
    psi = psi / np.sqrt((np.abs(psi) ** 2).sum() * (x[1] - x[0]))
    h = t / steps
    kick = np.exp(-0.5j * h * 0.5 * m * frequency**2 * x**2 / hbar)
    fly = np.exp(-0.5j * h * hbar * k**2 / m)
    for _ in range(steps):
        psi = kick * np.fft.ifft(fly * np.fft.fft(kick * psi))
    return x, psi


@pytest.mark.parametrize(("packet", "frequency"), [(BREATHING, 1.3), (FREE, 0.0)])
@pytest.mark.parametrize("t", [0.4, 1.7])
def test_density_and_velocity_solve_schroedingers_equation(packet, frequency, t):
    x, psi = schroedinger(packet, t, frequency)
    at = torch.from_numpy(x)[:, None]
    density = np.abs(psi) ** 2
    np.testing.assert_allclose(packet.log_density(t, at).exp(), density, atol=2e-5)
    k = 2 * np.pi * np.fft.fftfreq(len(x), x[1] - x[0])
    inside = density > 1e-3
    velocity = (
        packet.hbar
        / packet.mass
        * (np.fft.ifft(1j * k * np.fft.fft(psi))[inside] / psi[inside]).imag
    )
    np.testing.assert_allclose(packet.velocity(t, at)[inside, 0], velocity, atol=2e-4)


@pytest.mark.parametrize("packet", [HarmonicWavePacket(dimension=2), FreeWavePacket(dimension=2)])
def test_continuity_equation_and_derivatives_hold(packet):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(30, 2, dtype=torch.float64, generator=g).requires_grad_()
    t = torch.linspace(0.1, 5, 30, dtype=torch.float64).requires_grad_()
    change, score = torch.autograd.grad(packet.log_density(t, x).sum(), (t, x))
    v = packet.velocity(t, x)
    divergence = sum(
        torch.autograd.grad(v[:, j].sum(), x, retain_graph=True)[0][:, j] for j in range(2)
    )
    assert (change + divergence + (score * v).sum(1)).abs().max() < 1e-10
    torch.testing.assert_close(packet.process().score(t, x), score)
    (gradient,) = torch.autograd.grad(packet.process().potential(t, x).sum(), x)
    torch.testing.assert_close(gradient, v)


def test_coherent_state_keeps_its_width():
    packet = HarmonicWavePacket(frequency=2.0, width=0.5)
    assert packet.ground_width == 0.5
    assert [packet.std(t) for t in (0.0, 0.3, 1.0)] == pytest.approx([0.5] * 3)


def test_packet_breathes_twice_a_period():
    assert BREATHING.std(math.pi / 1.3) == pytest.approx(0.35)
    assert BREATHING.mean(math.pi / 1.3) == pytest.approx(-1.5)
    turned = 0.7 / (2 * 0.8 * 1.3 * 0.35)
    assert BREATHING.std(math.pi / 2.6) == pytest.approx(turned)


def test_paths_are_the_solution_of_the_flow():
    times = [0.0, 0.5, 1.1, 3.0]
    exact = np.stack(BREATHING.paths(times, 50, seed=0).states)
    start = torch.from_numpy(exact[:, 0])
    runs = simulate(BREATHING.process(), start, times, solver=Tsit5(rtol=1e-6, atol=1e-6))
    np.testing.assert_allclose(runs.states, exact, atol=2e-4)


def test_samples_follow_the_density():
    x = FREE.sample(1.5, 10_000, seed=1)[:, 0].numpy()
    std = math.sqrt(0.4**2 + (0.7 * 1.5 / (2 * 0.8 * 0.4)) ** 2)
    assert kstest(x, norm(-1 + 0.9 * 1.5 / 0.8, std).cdf).pvalue > 1e-3
