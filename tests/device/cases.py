"""Fits and simulations that the device is looked at in, at their smallest size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import dyninfer as di
from dyninfer import Paths, Snapshots

N_FEATURES = 10
N_CELLS = 128
TIMES = (0.0, 1.0, 2.0)


def training(**options: Any) -> di.Training:
    """Settings of a fit on the GPU, without a validation between its steps."""
    return di.Training(device="cuda", validation_fraction=0.0, **options)


def cells(**columns: Any) -> Snapshots:
    """A cloud that moves on at every time."""
    rng = np.random.default_rng(0)
    samples = [rng.normal(t, 1.0, (N_CELLS, N_FEATURES)) for t in TIMES]
    return Snapshots(times=TIMES, samples=samples, **columns)


def growing_cells() -> Snapshots:
    """The same with masses."""
    return cells(masses=[1.0, 1.5, 2.0])


def treated_cells() -> Snapshots:
    """The same under two conditions."""
    half = np.repeat(["control", "drug"], N_CELLS // 2)
    return cells(conditions=(half, half, half))


def tracks() -> Paths:
    """Random walks in the plane, seen five times each."""
    rng = np.random.default_rng(1)
    steps = rng.normal(0.0, 0.3, (12, 5, 2))
    times = 0.1 * np.arange(5)
    return Paths(times=[times] * 12, states=list(steps.cumsum(1)))


def gate() -> di.MarkovJump:
    """Three states that follow one another in every order."""
    return di.MarkovJump([[-1.0, 0.7, 0.3], [0.5, -1.0, 0.5], [0.2, 0.8, -1.0]])


def visits() -> Paths:
    """Paths of the gate."""
    times = 0.3 * np.arange(12)
    run = di.simulate(gate(), None, times, n_paths=40)
    return Paths(times=[times] * 40, states=list(run.states.numpy()), state_names=["a", "b", "c"])


def energy(t: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """A hill at the origin."""
    return -0.1 * x.square().sum(1)


def game(**options: Any) -> di.WassersteinLagrangianFlow:
    """A flow whose curve moves from its second step on."""
    return di.WassersteinLagrangianFlow(training=training(), curve_fraction=1.0, **options)


def interpolant(**options: Any) -> di.StochasticInterpolant:
    """An interpolant on the GPU."""
    return di.StochasticInterpolant(training=training(), **options)


def action(**options: Any) -> di.ActionMatching:
    """Action Matching on the GPU."""
    return di.ActionMatching(training=training(), **options)


# A model to fit, and the data, by what a table calls it.
SNAPSHOT_FITS: dict[str, tuple[Callable[[], Any], Callable[[], Snapshots]]] = {
    "ActionMatching": (action, cells),
    "ActionMatching, noise": (lambda: action(sigma=0.3), cells),
    "ActionMatching, growth": (lambda: action(growth_penalty=0.5), growing_cells),
    "ActionMatching, conditions": (action, treated_cells),
    "WassersteinLagrangianFlow": (game, cells),
    "WassersteinLagrangianFlow, bridge": (
        lambda: game(lagrangian=di.SchrodingerBridge(0.3)),
        cells,
    ),
    "WassersteinLagrangianFlow, growth": (
        lambda: game(lagrangian=di.UnbalancedTransport(0.5)),
        growing_cells,
    ),
    "WassersteinLagrangianFlow, energy": (
        lambda: game(lagrangian=di.OptimalTransport() + di.PhysicalPotential(energy)),
        cells,
    ),
    "StochasticInterpolant": (lambda: interpolant(second="none"), cells),
    "StochasticInterpolant, score": (interpolant, cells),
    "StochasticInterpolant, linear part": (
        lambda: interpolant(second="none", linear_part=True),
        cells,
    ),
    "StochasticInterpolant, conditions": (interpolant, treated_cells),
}


def process(**fields: Any) -> di.Diffusion:
    """A process whose velocity is a network, as fitted ones have it."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Linear(N_FEATURES, 32), torch.nn.Tanh(), torch.nn.Linear(32, N_FEATURES)
    ).to("cuda")
    return di.Diffusion(drift=Velocity(network), **fields)


class Velocity(torch.nn.Module):
    """A network that forgets the time."""

    def __init__(self, network: torch.nn.Module):
        super().__init__()
        self.network = network

    def forward(self, t: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Velocity ``(n, d)``."""
        return self.network(x)


def series(**options: Any) -> di.FractionalSDE:
    """A fractional equation with networks on the GPU."""
    inference = di.Variational(training=training(batch_size=8), **options.pop("inference", {}))
    noise = di.FractionalNoise(n_nodes=5)
    return di.FractionalSDE(drift="network", noise=noise, inference=inference, **options)


PATH_FITS: dict[str, tuple[Callable[[], Any], Callable[[], Paths]]] = {
    "FractionalSDE, networks": (series, tracks),
    "FractionalSDE, networks in windows": (lambda: series(inference={"window": 3}), tracks),
    "FractionalSDE, noise of the state": (lambda: series(diffusion="network"), tracks),
    "FractionalSDE, latent state": (
        lambda: series(state=di.Latent(dim=1, decoder="network", content_dim=2)),
        tracks,
    ),
}
FITS = SNAPSHOT_FITS | PATH_FITS
