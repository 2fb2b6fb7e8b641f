"""A genetic toggle switch in cells that divide: two fates, one of which grows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dyninfer.diffusions import Diffusion
from dyninfer.diffusions.diffusion import Time
from dyninfer.learning.random import stream, subseed
from dyninfer.simulators.base import Simulator, check_draw
from dyninfer.simulators.branching import branch


@dataclass(frozen=True, kw_only=True)
class ToggleWithGrowth(Simulator):
    """Two genes that activate themselves and repress each other; one of them drives division.

    The level of gene A (and of B with the letters exchanged) obeys ``dA = [p (α A^h + s) / (1 + α
    A^h + γ B^h + s) − δ A] dt + σ dW``, and a cell divides at rate ``k B^h / (K^h + B^h)``.
    Unbalanced transport methods are usually tested on this network with a third gene [1]_; the
    parameters are ours. With the defaults there are two stable states, (A, B) and (B, A) = (2.06,
    0.07), and a saddle at (0.64, 0.64) that founders pass.

    Parameters
    ----------
    production : float
        p, largest production rate: level units per time unit. Positive.
    self_activation, inhibition : float
        α and γ, per level unit to the power h.
    signal : float
        s, external activation of both genes, dimensionless.
    decay : float
        δ, per unit of time; at 1, the unit of time is the protein lifetime. Positive.
    hill : int
        h, an even integer: noise may carry a level below zero, and the fields stay smooth there.
    division : float
        k, largest division rate, per time unit.
    threshold : float
        K, level of B at half of that rate. Positive.
    sigma : float
        Noise, in level units per square root of time; positive.
    initial_mean, initial_std : float
        Both levels of the founders are ``N(initial_mean, initial_std²)``.
    dt : float
        Time step of the simulation, by Heun's method; see
        :func:`dyninfer.simulators.branching.branch`.

    References
    ----------
    .. [1] Y. Sha et al., Reconstructing growth and dynamic trajectories from single-cell
       transcriptomics data, Nature Machine Intelligence 6, 25 (2024).

    Examples
    --------
    >>> from dyninfer.simulators import ToggleWithGrowth
    >>> ToggleWithGrowth().snapshots([0, 1.5, 3, 4.5, 6], n=200).n_times
    5
    """

    production: float = 2.5
    self_activation: float = 1.0
    inhibition: float = 4.0
    signal: float = 0.5
    decay: float = 1.0
    hill: int = 2
    division: float = 0.3
    threshold: float = 1.0
    sigma: float = 0.15
    initial_mean: float = 0.3
    initial_std: float = 0.1
    dt: float = 0.02

    grows = True

    def _check(self) -> None:
        self._check_positive("production", "decay", "threshold")
        self._check_positive("sigma", "dt")
        self._check_not_negative(
            "self_activation", "inhibition", "signal", "division", "initial_std"
        )
        # An odd power of a level below zero would switch the sign of activation.
        if self.hill not in (2, 4, 6, 8):
            raise ValueError(f"hill must be an even integer from 2 to 8, found {self.hill!r}")

    def process(self) -> Diffusion:
        """Return the expected density of cells as a weighted diffusion."""
        return Diffusion(
            drift=self.drift,
            diffusion=self.sigma,
            growth=self.growth,
        )

    def drift(self, t: Time, x: Tensor) -> Tensor:
        """Production minus decay of both genes, ``(n, 2)``."""
        level = x.pow(self.hill)
        other_level = level.flip(-1)
        activation = self.self_activation * level + self.signal
        inhibition = self.inhibition * other_level
        share = activation / (1 + activation + inhibition)
        production = self.production * share
        return production - self.decay * x

    def growth(self, t: Time, x: Tensor) -> Tensor:
        """Division rate, ``(n,)``."""
        level = x[:, 1].pow(self.hill)
        half = self.threshold**self.hill
        capacity = half + level
        return self.division * level / capacity

    def founders(self, n: int, seed: int = 0) -> Tensor:
        """Draw ``n`` cells from the initial distribution, ``(n, 2)`` float32."""
        check_draw(n, seed)
        g = stream(seed, "founders")
        noise = torch.randn(n, 2, generator=g, dtype=torch.float32)
        deviation = self.initial_std * noise
        return self.initial_mean + deviation

    def sample(self, t: float, n: int, seed: int = 0) -> Tensor:
        """Grow a culture from ``n`` founders: all cells alive at ``t``, ``(n_t, 2)`` float32."""
        check_draw(n, seed, t)
        cells, _ = branch(
            self.drift,
            self.sigma,
            self._rates,
            self.founders(n, subseed(seed, "culture")),
            t,
            self.dt,
            stream(seed, "growth"),
        )
        return cells

    def _rates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Division and death rates, each ``(n,)``; no cell dies."""
        birth = self.growth(0.0, x)
        return birth, torch.zeros_like(birth)
