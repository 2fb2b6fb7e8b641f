"""A drift at first sight: a small network that reads one path, beside Kramers-Moyal regression of as much data and of ten times as much.

The network sees what regression sees, sums over 32 boxes along one coordinate: the time spent in a box and the increments that
begin there, in units of the spread of the path and of its noise. It answers with drift and error at any place. It is trained on
simulated equations alone, of random polynomials and random smooth functions that confine, on paths as long as 2 to 150 times
the time in which noise crosses the well. The kinds that are scored were not trained on.

Regression is the best that the Bayesian information criterion finds among polynomials up to degree 7, sparse ones, and boxes.
Errors are relative: root mean square of the error over that of the drift, both over the stationary density. A drift of zero
everywhere has error 1.

    python tests/benchmarks/science_zero_shot.py --size 60
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder that `benchmarks` is in

from benchmarks.science import Rows, parser_of, print_tables

import dyninfer as di

# Drift and noise amplitude of the kinds that are scored; times are in the units of their equations.
KINDS = {
    "relaxation": (lambda x: -x, 0.5),
    "double well": (lambda x: x - x**3, 0.5),
    "tilted well": (lambda x: x - x**3 + 0.3, 0.6),
    "washboard": (lambda x: -1.5 * np.sin(2 * x) - 0.3 * x, 0.7),
    "two constants": (lambda x: -2 * np.tanh(3 * x), 0.8),
    "flat bottom": (lambda x: -(x**5), 0.5),
    "activation": (lambda x: 1.5 * x * np.abs(x) / (0.5 + np.abs(x) ** 3) - x + 0.2, 0.35),
}
GAP = 0.01
BOXES, EDGE = 32, 3.0
STEPS = 2000  # observations of a training path
TABLE = np.linspace(-3, 3, 201)
Z90 = 1.645


def stationary(drift: np.ndarray, x: np.ndarray, sigma: float) -> np.ndarray:
    """Probabilities of the places ``x (m,)`` under drifts ``(n, m)``."""
    rise = (drift[:, 1:] + drift[:, :-1]) / 2 * np.diff(x)
    potential = np.concatenate([np.zeros((len(drift), 1)), rise.cumsum(1)], axis=1)
    exponent = 2 * potential / sigma**2
    density = np.exp(exponent - exponent.max(1, keepdims=True))
    return density / density.sum(1, keepdims=True)


# Training systems.


def random_drifts(n: int, rng: np.random.Generator) -> np.ndarray:
    """Drifts on TABLE, of unit noise: a polynomial, a smooth function or both, a force that confines, or a line."""
    polynomial, smooth = np.zeros((2, n, len(TABLE)))
    degree = rng.integers(1, 6, size=n)
    for power in range(6):
        coefficient = rng.standard_normal(n) * (power <= degree)
        polynomial += coefficient[:, None] * TABLE**power / 2.0 ** max(power - 2, 0)
    length = np.exp(rng.uniform(np.log(0.4), np.log(2), n))
    for _ in range(12):  # waves enough to look like a Gaussian process
        frequency = rng.standard_normal(n) / length
        phase = rng.uniform(0, 2 * np.pi, n)
        smooth += np.sqrt(2 / 12) * np.cos(frequency[:, None] * TABLE + phase[:, None])
    kind = rng.integers(3, size=n)[:, None]
    size = np.exp(rng.uniform(np.log(0.3), np.log(4), n))[:, None]
    pull = np.exp(rng.uniform(np.log(0.1), np.log(3), n))[:, None]
    power = rng.choice([1, 3, 5], size=n)[:, None]
    confined = size * (polynomial * (kind != 0) + smooth * (kind != 1))
    confined -= pull * np.sign(TABLE) * np.abs(TABLE) ** power
    centre = 0.5 * rng.standard_normal((n, 1))
    is_line = rng.random((n, 1)) < 0.15
    drift = np.where(is_line, -pull * (TABLE - centre), confined)
    density = stationary(drift, TABLE, 1.0)
    is_inside = density[:, :4].sum(1) + density[:, -4:].sum(1) < 1e-3
    return drift[is_inside]


def run(
    drift: np.ndarray, start: np.ndarray, dt: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Paths ``(n, STEPS + 1)`` of drifts ``(n, 201)``, whose noise is 1."""
    x = start
    states = [x]
    first = np.arange(len(drift)) * len(TABLE)
    flat = drift.ravel()
    width = TABLE[1] - TABLE[0]
    for _ in range(STEPS):
        place = np.clip((x - TABLE[0]) / width, 0, len(TABLE) - 1.001)
        below = place.astype(int)
        share = place - below
        force = flat[first + below] * (1 - share) + flat[first + below + 1] * share
        x = x + force * dt + np.sqrt(dt) * rng.standard_normal(len(x))
        states.append(x)
    return np.stack(states, axis=1)


def summaries(
    paths: np.ndarray, dt: np.ndarray
) -> tuple[Tensor, np.ndarray, np.ndarray, np.ndarray]:
    """What the network reads of paths ``(n, l)``; with their means, spreads, and times in which noise crosses a spread."""
    mean, spread = paths.mean(1), paths.std(1)
    z = (paths - mean[:, None]) / spread[:, None]
    step = np.diff(z, axis=1)
    noise = (step**2).mean(1) / dt
    gap = dt * noise
    start = z[:, :-1]
    box = np.clip((start + EDGE) / (2 * EDGE) * BOXES, 0, BOXES - 1).astype(int)
    n = len(paths)
    flat = (np.arange(n)[:, None] * BOXES + box).ravel()
    spent = np.bincount(flat, minlength=n * BOXES).reshape(n, BOXES) * gap[:, None]
    moved = np.bincount(flat, weights=step.ravel(), minlength=n * BOXES).reshape(n, BOXES)
    span = gap * step.shape[1]
    whole = [
        np.log(span),
        z[:, 0],
        z[:, -1],
        z.max(1),
        z.min(1),
        (start * step).sum(1) / (span + 0.5),
    ]
    features = [np.log1p(spent), moved / (spent + 0.5), np.stack(whole, axis=1)]
    table = torch.from_numpy(np.concatenate(features, axis=1)).float()
    return table, mean, spread, 1 / noise


def examples(n: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Summaries, places ``(n, 16)``, the drift there, and its root mean square ``(n,)``."""
    drift = random_drifts(n, rng)
    density = stationary(drift, TABLE, 1.0)
    mean = density @ TABLE
    variance = density @ TABLE**2 - mean**2
    dt = np.exp(rng.uniform(np.log(2), np.log(150), len(drift))) * variance / STEPS
    slope = (density * np.abs(np.gradient(drift, TABLE, axis=1))).sum(1)
    keep = slope * dt < 0.15  # steps that resolve the drift
    drift, density, dt = drift[keep], density[keep], dt[keep]
    cumulative = density.cumsum(1)
    chance = rng.random((len(drift), 17))
    drawn = (cumulative[:, None] < chance[..., None]).sum(2).clip(0, len(TABLE) - 1)
    table, mean, spread, clock = summaries(run(drift, TABLE[drawn[:, 0]], dt, rng), dt)
    places = (TABLE[drawn[:, 1:]] - mean[:, None]) / spread[:, None]
    unit = (clock / spread)[:, None]
    truth = np.take_along_axis(drift, drawn[:, 1:], axis=1) * unit
    size = np.sqrt((density * drift**2).sum(1)) * unit[:, 0]
    return table, *(torch.from_numpy(values).float() for values in (places, truth, size))


# The network.


class FirstSight(nn.Module):
    """Mean and log-deviation of the drift at places ``(n, q)``, from summaries ``(n, f)``."""

    def __init__(self, example: Tensor):
        super().__init__()
        self.register_buffer("mean", example.mean(0))
        self.register_buffer("spread", example.std(0) + 1e-3)
        self.path = nn.Sequential(
            nn.Linear(example.shape[1], 192),
            nn.GELU(),
            nn.Linear(192, 192),
            nn.GELU(),
            nn.Linear(192, 96),
        )
        self.place = nn.Sequential(
            nn.Linear(96 + 8, 128), nn.GELU(), nn.Linear(128, 128), nn.GELU(), nn.Linear(128, 2)
        )

    def forward(self, table: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        code = self.path((table - self.mean) / self.spread)
        z = places.clamp(-8, 8)
        waves = [f(k * z) for k in (1, 2) for f in (torch.sin, torch.cos, torch.tanh)]
        basis = torch.stack([z / 2, (z / 3) ** 2, *waves], dim=-1)
        codes = code[:, None].expand(-1, z.shape[1], -1)
        answer = self.place(torch.cat([codes, basis], dim=-1))
        # What relaxation would do: noise 1 and spread 1 ask for a slope of a half.
        return answer[..., 0] - z.clamp(-3, 3) / 2, answer[..., 1]


def trained(n: int, rounds: int, seed: int) -> FirstSight:
    """A network that has seen about ``n`` systems ``rounds`` times."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    parts = [examples(4000, rng) for _ in range(max(n // 2600, 1))]  # a third does not confine
    table, places, truth, size = (torch.cat(part) for part in zip(*parts, strict=True))
    network = FirstSight(table)
    batches = len(table) // 256
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=rounds * batches)
    for _ in range(rounds):
        for rows in torch.randperm(len(table))[: batches * 256].view(batches, 256):
            mean, log_deviation = network(table[rows], places[rows])
            error = truth[rows] - mean
            surprise = log_deviation + (error * torch.exp(-log_deviation)).clamp(-30, 30) ** 2 / 2
            share = (error / (size[rows, None] + 0.1)) ** 2
            # The first term says how sure to be, the second counts large and small drifts alike.
            loss = surprise.mean() + share.clamp(max=25).mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    print(
        f"trained on {len(table)} systems, {sum(p.numel() for p in network.parameters())} weights"
    )
    return network


# Scores.


def paths_of(name: str, n: int, span: float, seed: int) -> np.ndarray:
    """Stationary paths ``(n, l)`` of a kind, five Euler steps to an observation."""
    drift, sigma = KINDS[name]
    rng = np.random.default_rng(seed)
    places = np.linspace(-6, 6, 4001)
    x = rng.choice(places, size=n, p=stationary(drift(places)[None], places, sigma)[0])
    states = [x]
    dt = GAP / 5
    for step in range(round(span / dt)):
        x = x + drift(x) * dt + sigma * np.sqrt(dt) * rng.standard_normal(n)
        if step % 5 == 4:
            states.append(x)
    return np.stack(states, axis=1)


def regressed(path: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The drift at ``x`` by the regression that the information criterion asks for."""
    data = di.Paths(times=[GAP * np.arange(len(path))], states=[path[:, None]])
    models = [
        di.KramersMoyal(drift=di.Polynomials(degree=degree)) for degree in (0, 1, 2, 3, 4, 5, 7)
    ]
    models += [
        di.KramersMoyal(drift=di.Polynomials(degree=degree), sparse=True) for degree in (3, 5)
    ]
    models += [di.KramersMoyal(drift=di.Bins(n_bins=n)) for n in (5, 10, 20)]
    best, chosen = np.inf, None
    for model in models:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(data, progress=False)
        n_kept = int((model.coefficients_["coefficient"] != 0).sum())
        criterion = n_kept * np.log(len(path) - 1) - 2 * model.log_likelihoods(data).sum()
        if criterion < best:
            best, chosen = criterion, model
    return chosen.process_.drift(0.0, torch.from_numpy(x[:, None]))[:, 0].numpy()


def at_first_sight(
    network: FirstSight, path: np.ndarray, x: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Drift and its error at ``x``; long paths are thinned to about as many states as were trained on."""
    every = max(1, round(len(path) / STEPS))
    table, mean, spread, clock = summaries(path[None, ::every], np.array([GAP * every]))
    places = torch.from_numpy((x - mean) / spread).float()[None]
    with torch.no_grad():
        drift, log_deviation = network(table, places)
    unit = spread / clock
    return drift[0].numpy() * unit, log_deviation[0].exp().numpy() * unit


def drifts(size: int, rounds: int, paths: int, seed: int) -> tuple[list[str], Rows]:
    """Medians over paths of the relative error, by kind and by length of the path."""
    network = trained(1000 * size, rounds, seed)

    def rows() -> Rows:
        for name, (drift, sigma) in KINDS.items():
            places = np.linspace(-6, 6, 4001)
            density = stationary(drift(places)[None], places, sigma)[0]
            inner = np.flatnonzero(np.abs(density.cumsum() - 0.5) < 0.495)[::10]
            x, weight = places[inner], density[inner] / density[inner].sum()
            truth = drift(x)
            whole = paths_of(name, paths, 100.0, seed + 100)
            for span in (10, 100):
                errors, covered = [], []
                for path in whole[:, : round(span / GAP) + 1]:
                    mean, deviation = at_first_sight(network, path, x)
                    answers = np.stack([regressed(path, x), mean])
                    square = (answers - truth) ** 2 @ weight
                    errors.append(np.sqrt(square / (truth**2 @ weight)))
                    covered.append((np.abs(mean - truth) < Z90 * deviation) @ weight)
                medians = np.median(errors, axis=0)
                yield [name, str(span), *(f"{m:.2f}" for m in medians), f"{np.mean(covered):.2f}"]

    return ["kind", "length", "regression", "network", "covered of 0.90"], rows()


TABLES = {"drifts": drifts}

if __name__ == "__main__":
    parser = parser_of(TABLES, __doc__)
    parser.add_argument("--size", type=int, default=60, help="thousands of systems to train on")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--paths", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    print_tables(parser, TABLES)
