"""A prior over Markov jump processes and over how they are looked at, as an endless stream of simulated tasks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dyninfer.jumps.amortized.prior_rates import LAWS, log_uniform, long_run_law, near_uniform_law
from dyninfer.jumps.process import with_diagonal
from dyninfer.jumps.process.chain import transition_matrix
from dyninfer.learning.random import mix64

FINE_POINTS = 100  # of the paper's grid on [0, 10]
HORIZON = 10.0


@dataclass(frozen=True, eq=False)
class Tasks:
    """A batch of processes, each with labels seen along its paths; all share their times.

    Attributes
    ----------
    rates : Tensor, ``(batch, S, S)`` float32
        Jump rates per time unit; the diagonal is 0.
    initial : Tensor, ``(batch, S)``
        Law of the first state.
    noise : Tensor, ``(batch,)``
        Chance that a label is wrong.
    times : Tensor, ``(L,)`` float64
        Times of observation.
    labels : Tensor, ``(L, batch, path)`` int64
        What was seen.
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
    laws : tuple of str
        Names of laws of rates, all alike often (`prior_rates.LAWS`).
    paths : (int, int)
        Least and greatest number of paths, log-uniform.
    scale : (float, float)
        Factor of all rates of a process, log-uniform, in half of the processes (in all with ``jumps``).
    jumps : (float, float), optional
        Mean jumps per path and horizon, log-uniform, if a state is left at the mean of the exit rates; this
        replaces the law's own scale of rates.
    clean, fixed : float
        Share of processes without wrong labels, and with 1 % of them. The others are drawn from ``noise``.
    noise : (float, float)
        Range of the chance of a wrong label, uniform, or log-uniform where the lower end is positive.
    grids : tuple of str
        "dense" (the paper's fine grid), "regular" (every 1st to 4th point of it), "thinned" (a quarter or half of its points at
        random), "gaps" (waiting times over up to three decades).
    """

    sizes: tuple[int, ...] = (2, 3, 4, 5, 6)
    size_weights: tuple[float, ...] = (1, 1, 1, 1, 5)
    laws: tuple[str, ...] = ("beta",)
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
        """The same processes, faster and slower ones, few and many paths, with 0 to 10 % wrong labels."""
        return cls(paths=(1, 10_000), scale=(0.25, 2.5), clean=0.3, fixed=0.4)

    @classmethod
    def wide(cls) -> JumpPrior:
        """Rates over decades, energy landscapes, rows, circles and metastable groups of 2 to 10 states."""
        return cls(
            sizes=tuple(range(2, 11)),
            size_weights=(1, 1, 1, 1, 2, 1, 1, 1, 1),
            laws=("log-uniform", "arrhenius", "birth-death", "ring", "metastable", "beta"),
            paths=(1, 10_000),
            jumps=(0.5, 40.0),
            clean=0.4,
            fixed=0.0,
            noise=(0.001, 0.2),
            grids=("regular", "thinned", "gaps"),
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
            Number of processes; lowered, but not below 4, where their observations would outnumber ``most_numbers``.
        seed : int
            Everything random derives from it.
        n_states, n_paths : int, optional
            By default drawn, one number for the batch.
        device : torch.device or str
            Where everything is computed.
        most_numbers : int
            Greatest number of simulated states.
        """
        rng = np.random.default_rng(seed)
        g = torch.Generator(device).manual_seed(mix64(seed, 1) & 2**63 - 1)
        weights = np.array(self.size_weights, dtype=float)
        n = n_states or int(rng.choice(self.sizes, p=weights / weights.sum()))
        low, high = np.log(self.paths)
        k = n_paths or round(math.exp(rng.uniform(low, high)))
        gaps, number, kept = _grid(self.grids[rng.integers(len(self.grids))], rng)
        batch = max(4, min(batch, most_numbers // (k * (len(number) + 1))))
        rates = self._rates(batch, n, rng, g)
        settled = torch.rand(batch, 1, generator=g, device=g.device) < 0.5
        initial = torch.where(settled, long_run_law(rates), near_uniform_law(batch, n, g))
        noise = self._noise(batch, g)
        states = simulate_on_grid(
            rates, initial, k, torch.from_numpy(gaps).to(g.device), number, kept, g
        )
        times = np.concatenate([[0.0], np.cumsum(gaps[number])])[kept]
        labels = with_wrong_labels(states, noise[None, :, None], n, g)
        return Tasks(rates, initial, noise, torch.from_numpy(times).to(g.device), labels)

    def _rates(self, batch: int, n: int, rng: np.random.Generator, g: torch.Generator) -> Tensor:
        law = self.laws[rng.integers(len(self.laws))]
        rates = LAWS[law](batch, n, g) * (1 - torch.eye(n, device=g.device))
        if self.jumps is not None:
            per_time = log_uniform(*self.jumps, (batch, 1, 1), g) / HORIZON
            exits = rates.sum((-1, -2), keepdim=True) / n
            return rates * per_time / exits.clamp(min=1e-6)
        scaled = torch.rand(batch, 1, 1, generator=g, device=g.device) < 0.5
        return rates * torch.where(scaled, log_uniform(*self.scale, (batch, 1, 1), g), 1.0)

    def _noise(self, batch: int, g: torch.Generator) -> Tensor:
        kind, u = torch.rand(2, batch, generator=g, device=g.device)
        low, high = self.noise
        drawn = low * (high / low) ** u if low > 0 else high * u
        drawn = torch.where(kind < self.clean + self.fixed, 0.01, drawn)
        return torch.where(kind < self.clean, 0.0, drawn)


def stream(
    priors: tuple[tuple[float, JumpPrior], ...],
    batch: int,
    seed: int,
    device: torch.device | str = "cpu",
    most_numbers: int = 2**23,
) -> Iterator[Tasks]:
    """Endless batches of tasks, each from one of several priors chosen with their weights."""
    weights = np.array([w for w, _ in priors])
    for number in range(2**62):
        choice = np.random.default_rng((seed, number)).choice(
            len(priors), p=weights / weights.sum()
        )
        draw_seed = mix64(seed, number) & 2**62 - 1
        yield priors[choice][1].draw(batch, draw_seed, device=device, most_numbers=most_numbers)


def simulate_on_grid(
    rates: Tensor,
    initial: Tensor,
    n_paths: int,
    gaps: Tensor,
    number: np.ndarray,
    kept: np.ndarray,
    g: torch.Generator,
) -> Tensor:
    """States ``(kept, batch, path)`` of paths that step by the waiting times ``gaps[number]``, exactly.

    Each step compares one uniform number with the cumulative row of ``exp(Q gap)``.
    """
    batch, n = initial.shape
    p = transition_matrix(with_diagonal(rates.double())[:, None], gaps)
    upper = (
        p.cumsum(-1)[..., :-1]
        .float()
        .movedim(-1, 0)
        .movedim(2, 1)
        .reshape(n - 1, len(gaps), -1)
        .contiguous()
    )
    owner = torch.arange(batch, device=g.device).repeat_interleave(n_paths)
    first = initial.cumsum(-1)[owner, :-1]
    state = (first <= torch.rand(len(owner), 1, generator=g, device=g.device)).sum(-1)
    wanted, base, states = set(kept.tolist()), owner * n, []
    for k in range(len(number) + 1):
        if k in wanted:
            states.append(state)
        if k < len(number):
            u = torch.rand(len(owner), generator=g, device=g.device)
            row = base + state
            state = torch.zeros_like(state)
            for threshold in upper[:, number[k]]:
                state += threshold[row] <= u
    return torch.stack(states).reshape(len(states), batch, n_paths)


def with_wrong_labels(states: Tensor, noise: Tensor, n: int, g: torch.Generator) -> Tensor:
    """Labels of states: with probability ``noise`` any one of the others."""
    u = torch.rand(states.shape, generator=g, device=g.device)
    shift = 1 + (u / noise.clamp(min=1e-30) * (n - 1)).clamp(max=n - 2).long()
    return torch.where(u < noise, (states + shift) % n, states)


def _grid(kind: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct gaps ``(G,)``, which of them each step takes, and the numbers of the points that are looked at."""
    step, number = HORIZON / (FINE_POINTS - 1), np.zeros(FINE_POINTS - 1, dtype=int)
    if kind in ("regular", "dense"):
        stride = 1 if kind == "dense" else int(rng.integers(1, 5))
        points = np.arange(0, FINE_POINTS, stride)
        return np.array([step * stride]), number[: len(points) - 1], np.arange(len(points))
    if kind == "thinned":
        keep = rng.choice([0.25, 0.5])
        kept = np.flatnonzero(rng.random(FINE_POINTS) < keep)
        return np.array([step]), number, kept if len(kept) > 1 else np.arange(2)
    if kind == "gaps":
        length = int(np.exp(rng.uniform(np.log(8), np.log(FINE_POINTS))))
        palette = 10 ** (-rng.uniform(0.3, 3) * rng.random(8))
        number = rng.integers(8, size=length - 1)
        return palette * HORIZON / palette[number].sum(), number, np.arange(length)
    raise ValueError(f"grids names {kind!r}; there are 'dense', 'regular', 'thinned' and 'gaps'")
