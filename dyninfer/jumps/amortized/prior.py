"""A prior over Markov jump processes and over how they are observed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from dyninfer.jumps.amortized.draws import Draws
from dyninfer.jumps.amortized.observations import (
    HORIZON,
    draw_grid,
    simulate_on_grid,
    with_wrong_labels,
)
from dyninfer.jumps.amortized.prior_rates import (
    RATE_DISTRIBUTIONS,
    long_run_distribution,
    near_uniform_distribution,
)
from dyninfer.learning.random import numpy_stream, stream, subseed

# A batch of fewer processes would say little about the prior in one step of training.
_FEWEST_PROCESSES = 4
# Probability of a wrong label in the published model.
_FIXED_NOISE = 0.01


@dataclass(frozen=True, eq=False)
class Tasks:
    """A batch of processes, each with labels observed along its paths; all share their times.

    Attributes
    ----------
    rates : Tensor, ``(batch, S, S)`` float32
        Jump rates per time unit; the diagonal is 0.
    initial : Tensor, ``(batch, S)``
        Distribution of the first state.
    noise : Tensor, ``(batch,)``
        Chance that a label is wrong.
    times : Tensor, ``(L,)`` float64
        Times of observation.
    labels : Tensor, ``(L, batch, path)`` int64
        What was observed.
    """

    rates: Tensor
    initial: Tensor
    noise: Tensor
    times: Tensor
    labels: Tensor


@dataclass(frozen=True, kw_only=True)
class JumpPrior:
    """How processes and observations are drawn.

    Parameters
    ----------
    sizes, size_weights : tuples
        Numbers of states, and how often each comes up.
    distributions : tuple of str
        Names of distributions of rates, all alike often (`prior_rates.RATE_DISTRIBUTIONS`).
    paths : (int, int)
        Least and greatest number of paths, log-uniform.
    scale : (float, float)
        Factor of all rates of a process, log-uniform, in half of the processes (in all with
        ``jumps``).
    jumps : (float, float), optional
        Mean jumps per path and horizon, log-uniform, if a state is left at the mean of the exit
        rates; this replaces the distribution's own scale of rates.
    clean, fixed : float
        Share of processes without wrong labels, and with 1 % of them. The others are drawn from
        ``noise``.
    noise : (float, float)
        Range of the chance of a wrong label, uniform, or log-uniform where the lower end is
        positive.
    grids : tuple of str
        "dense" (the paper's fine grid), "regular" (every 1st to 4th point of it), "thinned" (a
        quarter or half of its points at random), "gaps" (waiting times over up to three decades).
    """

    sizes: tuple[int, ...] = (2, 3, 4, 5, 6)
    size_weights: tuple[float, ...] = (1, 1, 1, 1, 5)
    distributions: tuple[str, ...] = ("beta",)
    paths: tuple[int, int] = (300, 300)
    scale: tuple[float, float] = (1.0, 1.0)
    jumps: tuple[float, float] | None = None
    clean: float = 0.0
    fixed: float = 1.0
    noise: tuple[float, float] = (0.0, 0.1)
    grids: tuple[str, ...] = ("regular", "thinned")

    @classmethod
    def paper(cls) -> JumpPrior:
        """Settings of the published model: 300 paths, 1 % wrong labels (Berghaus et al., 2024)."""
        return cls()

    @classmethod
    def widened(cls) -> JumpPrior:
        """The same processes, faster and slower, few and many paths, 0 to 10 % wrong labels."""
        return cls(paths=(1, 10_000), scale=(0.25, 2.5), clean=0.3, fixed=0.4)

    @classmethod
    def wide(cls) -> JumpPrior:
        """Rates over decades, landscapes, rows, circles and metastable groups of 2 to 10 states."""
        return cls(
            sizes=tuple(range(2, 11)),
            size_weights=(1, 1, 1, 1, 2, 1, 1, 1, 1),
            distributions=(
                "log-uniform",
                "arrhenius",
                "birth-death",
                "ring",
                "metastable",
                "beta",
            ),
            paths=(1, 10_000),
            jumps=(0.5, 40.0),
            clean=0.4,
            fixed=0.0,
            noise=(0.001, 0.2),
            grids=("regular", "thinned", "gaps"),
        )

    @classmethod
    def wider(cls) -> JumpPrior:
        """The wide prior with up to 12 states, and with states that are never left."""
        wide = cls.wide()
        sizes = tuple(range(2, 13))
        return replace(
            wide,
            sizes=sizes,
            size_weights=(1,) * len(sizes),
            distributions=(*wide.distributions, "absorbing"),
        )

    def draw(
        self,
        batch: int,
        seed: int,
        *,
        n_states: int | None = None,
        n_paths: int | None = None,
        device: torch.device | str = "cpu",
        most_numbers: int = 2**23,
    ) -> Tasks:
        """Draw processes and simulate all their paths at once, exactly.

        Parameters
        ----------
        batch : int
            Number of processes; lowered, but not below 4, where their observations would outnumber
            ``most_numbers``.
        seed : int
            Everything random derives from it.
        n_states, n_paths : int, optional
            By default drawn, one number for the batch.
        device : torch.device or str
            Where everything is computed.
        most_numbers : int
            Greatest number of simulated states.
        """
        rng = numpy_stream(seed, "jump prior")
        draws = Draws(stream(seed, "jump prior", device=device))
        if n_states is None:
            n_states = self._draw_size(rng)
        if n_paths is None:
            n_paths = self._draw_n_paths(rng)
        kind = str(rng.choice(self.grids))
        grid = draw_grid(kind, rng)
        affordable = most_numbers // (n_paths * grid.n_points)
        batch = max(_FEWEST_PROCESSES, min(batch, affordable))
        name = str(rng.choice(self.distributions))
        draw_rates = RATE_DISTRIBUTIONS[name]
        rates = self._rescaled(draw_rates(batch, n_states, draws), draws)
        initial = _draw_initial(rates, draws)
        if name == "absorbing":
            # Where a process starts at its end, there is nothing to see.
            initial = _without_ends(initial, rates)
        noise = self._draw_noise(batch, draws)
        states = simulate_on_grid(rates, initial, n_paths, grid, draws)
        return Tasks(
            rates=rates,
            initial=initial,
            noise=noise,
            times=torch.from_numpy(grid.times).to(draws.device),
            labels=with_wrong_labels(states, noise[None, :, None], n_states, draws),
        )

    def _draw_size(self, rng: np.random.Generator) -> int:
        weights = np.array(self.size_weights, dtype=float)
        share = weights / weights.sum()
        return int(rng.choice(self.sizes, p=share))

    def _draw_n_paths(self, rng: np.random.Generator) -> int:
        low, high = np.log(self.paths)
        log_number = rng.uniform(low, high)
        return round(math.exp(log_number))

    def _rescaled(self, rates: Tensor, draws: Draws) -> Tensor:
        """Rates ``(batch, S, S)`` at the scale of the prior, and none of a state to itself."""
        batch, n_states, _ = rates.shape
        diagonal = torch.eye(n_states, device=draws.device)
        rates = rates * (1 - diagonal)
        if self.jumps is not None:
            n_jumps = draws.log_uniform(*self.jumps, batch, 1, 1)
            total = rates.sum((-1, -2), keepdim=True)
            mean_exit = total / n_states
            # No division by zero, where a draw has no jump at all.
            exits = mean_exit.clamp(min=1e-6)
            factor = n_jumps / HORIZON / exits
            return rates * factor
        factor = draws.log_uniform(*self.scale, batch, 1, 1)
        is_scaled = draws.happens(0.5, batch, 1, 1)
        return rates * torch.where(is_scaled, factor, 1.0)

    def _draw_noise(self, batch: int, draws: Draws) -> Tensor:
        """Probabilities of a wrong label ``(batch,)``."""
        low, high = self.noise
        noise = high * draws.uniform(batch)
        if low > 0:
            noise = draws.log_uniform(low, high, batch)
        # One number sorts every process into clean, fixed and drawn.
        u = draws.uniform(batch)
        share = self.clean + self.fixed
        is_fixed = u < share
        noise = torch.where(is_fixed, _FIXED_NOISE, noise)
        is_clean = u < self.clean
        return torch.where(is_clean, 0.0, noise)


def _draw_initial(rates: Tensor, draws: Draws) -> Tensor:
    """Distributions of the first state ``(batch, S)``: that of the long run, or nearly uniform."""
    batch, n_states, _ = rates.shape
    is_settled = draws.happens(0.5, batch, 1)
    uniform = near_uniform_distribution(batch, n_states, draws)
    settled = long_run_distribution(rates)
    return torch.where(is_settled, settled, uniform)


def _without_ends(initial: Tensor, rates: Tensor) -> Tensor:
    """Distributions over the states that are left; over all where none is."""
    is_left = rates.sum(-1) > 0
    # A little for each, as in the long run all have gone.
    weight = (initial + 1 / initial.shape[-1]) * is_left
    total = weight.sum(-1, keepdim=True)
    return torch.where(total > 0, weight / total.clamp(min=1e-30), initial)


def draw_from_mixture(
    priors: Sequence[tuple[float, JumpPrior]],
    batch: int,
    seed: int,
    *,
    device: torch.device | str = "cpu",
    most_numbers: int = 2**23,
) -> Tasks:
    """Tasks from one of several priors, chosen with their weights; see :meth:`JumpPrior.draw`."""
    every_weight = [weight for weight, _ in priors]
    weights = np.array(every_weight)
    share = weights / weights.sum()
    rng = numpy_stream(seed, "prior of the mixture")
    number = rng.choice(len(priors), p=share)
    _, prior = priors[number]
    draw_seed = subseed(seed, "draw of the mixture")
    return prior.draw(batch, draw_seed, device=device, most_numbers=most_numbers)
