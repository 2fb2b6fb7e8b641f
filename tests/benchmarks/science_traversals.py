"""Traversals of a decoder along learned potentials: one condition of Action Matching for every factor.

A decoder draws a blob from three hidden coordinates, z = (r cos a, r sin a, 2 log s + r / 2). The planted factors are the angle
a, the radius r and the size s of the blob, and they are read off the picture: its centre and its spread. Of every factor there
are unpaired snapshots: at time t the factor has grown by its share of the way and the others have not. The potential of each
condition is learned from the coordinates alone; the linear rival adds the mean move of its factor.

    python tests/benchmarks/science_traversals.py --seeds 3
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder that `benchmarks` is in

from benchmarks.science import Rows, parser_of, print_tables

import dyninfer as di

FACTORS = ("angle", "radius", "size")
WAY = np.array([1.5, 1.0, 0.7])  # of each factor from time 0 to 1; of the size in its logarithm
SPREAD = np.array([0.4, 0.15, 0.2])  # deviation among the starts
CENTRE = np.array([-0.75, 1.5, 0.0])
TIMES = np.linspace(0, 1, 5)
GRID = np.linspace(-8, 8, 65)


def coordinates(factors: np.ndarray) -> np.ndarray:
    """Hidden coordinates ``(n, 3)`` of angle, radius and log-size."""
    angle, radius, size = factors.T
    columns = [radius * np.cos(angle), radius * np.sin(angle), 2 * size + radius / 2]
    return np.stack(columns, axis=1)


def decode(z: np.ndarray) -> np.ndarray:
    """Pictures ``(n, 65, 65)`` of hidden coordinates."""
    radius = np.hypot(z[:, 0], z[:, 1])
    size = np.exp((z[:, 2] - radius / 2) / 2)
    across = np.exp(-0.5 * ((GRID - z[:, :1]) / size[:, None]) ** 2)
    along = np.exp(-0.5 * ((GRID - z[:, 1:2]) / size[:, None]) ** 2)
    return along[:, :, None] * across[:, None, :]


def factors_of(pictures: np.ndarray) -> np.ndarray:
    """Angle, radius and log-size ``(n, 3)``, from the centre of a picture and its spread."""
    mass = pictures.sum((1, 2))
    across = pictures.sum(1) / mass[:, None]
    along = pictures.sum(2) / mass[:, None]
    x, y = across @ GRID, along @ GRID
    variance = across @ GRID**2 - x**2
    return np.stack([np.arctan2(y, x), np.hypot(x, y), 0.5 * np.log(variance)], axis=1)


def starts(n: int, rng: np.random.Generator) -> np.ndarray:
    return CENTRE + SPREAD * rng.normal(size=(n, 3))


def snapshots(n: int, seed: int) -> di.Snapshots:
    """Unpaired coordinates under every factor, at all times."""
    rng = np.random.default_rng(seed)
    samples, conditions = [], []
    for t in TIMES:
        of_time = []
        for k, name in enumerate(FACTORS):
            factors = starts(n, rng)
            factors[:, k] += t * WAY[k]
            of_time.append(coordinates(factors))
            conditions += [name] * n
        samples.append(np.concatenate(of_time).astype(np.float32))
    of_times = np.array(conditions).reshape(len(TIMES), -1)
    return di.Snapshots(times=TIMES, samples=samples, conditions=list(of_times))


def errors(end: np.ndarray, begin: np.ndarray, k: int) -> tuple[float, float]:
    """Root mean square error of the factor, in parts of its way; and of the others, in parts of theirs."""
    wanted = begin.copy()
    wanted[:, k] += WAY[k]
    share = (factors_of(decode(end)) - wanted) / WAY
    square = np.square(share).mean(0)
    others = np.delete(square, k)
    return float(np.sqrt(square[k])), float(np.sqrt(others.mean()))


def traversals(seeds: int, samples: int, size: int) -> tuple[list[str], Rows]:
    """How far each traversal moves its own factor, and how little the others."""

    def rows() -> Rows:
        for seed in range(seeds):
            data = snapshots(samples, seed)
            model = di.ActionMatching()
            model.fit(data, seed=seed, max_steps=1000 * size, progress=False)
            begin = starts(1000, np.random.default_rng(1000 + seed))
            z = coordinates(begin).astype(np.float32)
            for k, name in enumerate(FACTORS):
                run = model.simulate(z, [0.0, 1.0], condition=name)
                own, others = errors(run.states[:, -1].double().numpy(), begin, k)
                means = [
                    x[c == name].mean(0) for x, c in zip(data.samples, data.conditions, strict=True)
                ]
                line = z + (means[-1] - means[0])
                linear, linear_others = errors(line.astype(np.float64), begin, k)
                numbers = [own, linear, others, linear_others]
                yield [str(seed), name, *(f"{number:.3f}" for number in numbers)]

    head = ["seed", "factor", "error of it", "linear", "error of the others", "linear"]
    return head, rows()


TABLES = {"traversals": traversals}

if __name__ == "__main__":
    parser = parser_of(TABLES, __doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=500, help="of a factor at a time")
    parser.add_argument("--size", type=int, default=3, help="thousands of steps")
    print_tables(parser, TABLES)
