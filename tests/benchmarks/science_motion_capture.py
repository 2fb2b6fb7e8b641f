"""Motion capture: three frames are seen, 297 are predicted, by FractionalSDE with a posterior that reads no more.

    DYNINFER_DATA=... OMP_NUM_THREADS=1 python tests/benchmarks/science_motion_capture.py --steps 1600 --seed 0

CMU subject 35 as split by the latent-SDE benchmark: 16 sequences to train on, 3 to validate, 4 to test, 300 frames × 50
numbers each. The posterior has seen the first three frames; its mean, over 50 draws, is compared with the other 297.
Sequences are also shown slower and faster, so that the speed must be read from the frames.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
import torch

import dyninfer as di

DATA = Path(os.environ.get("DYNINFER_DATA", "."))
READ, FRAME = 3, 0.05  # frames that are given; time between two, in arbitrary units


def at_speed(x: np.ndarray, speed: float) -> np.ndarray:
    """A sequence ``(frame, feature)`` that runs faster or slower, by linear interpolation."""
    place = np.arange(0, min(len(x), int((len(x) - 1) / speed) + 1)) * speed
    before = np.minimum(place.astype(int), len(x) - 2)
    share = (place - before)[:, None]
    return x[before] * (1 - share) + x[before + 1] * share


def as_paths(sequences: list[np.ndarray], length: int | None = None) -> di.Paths:
    """Sequences, or their first frames, at even times."""
    parts = [x[:length] for x in sequences]
    return di.Paths(times=[FRAME * np.arange(len(x)) for x in parts], states=parts)


def errors(model: di.FractionalSDE, sequences: np.ndarray, n_samples: int) -> np.ndarray:
    """Mean squared error of every sequence after the frames that are given."""
    n, length = sequences.shape[:2]
    given = as_paths(list(sequences), READ)
    draws = model.posterior(given, FRAME * np.arange(length), n_samples=n_samples, seed=1)
    mean = draws.states.double().numpy().reshape(n, n_samples, length, -1).mean(1)
    return np.square(mean - sequences)[:, READ:].mean((1, 2))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=1600)
    parser.add_argument("--window", type=int, default=150, help="frames of a part that is trained on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hurst", type=float, default=0.5, help="0 learns it")
    parser.add_argument("--speeds", type=float, nargs="*", default=[0.88, 0.94, 1.06, 1.13])
    given = parser.parse_args()
    torch.set_num_threads(1)
    with np.load(DATA / "mocap35" / "mocap35.npz") as file:
        train, validation, test = (file[name] for name in ("train", "validation", "test"))
    shown = [*train, *(at_speed(x, speed) for speed in given.speeds for x in train)]
    training = di.Training(
        max_steps=given.steps,
        batch_size=32,
        learning_rate=3e-3,
        warmup_steps=20,
        ema_decay=0.99,
        validation_fraction=0.0,
        log_every=10,
    )
    model = di.FractionalSDE(
        state="latent",
        latent_dim=8,
        hurst=given.hurst or None,
        n_nodes=1 if given.hurst == 0.5 else 6,
        drift="network",
        encoder="network",
        read_first=READ,
        window=given.window,
        n_samples=1,
        n_steps=1,
        training=training,
    )
    began = time.process_time()
    model.fit(as_paths(shown), seed=given.seed, progress=False)
    spent = time.process_time() - began
    still = np.square(test[:, READ:] - train.mean((0, 1))).mean()
    print(f"seed {given.seed}, {given.steps} steps, {spent:.0f} CPU-s, H {model.hurst_:.3f}\n")
    print("| sequences | mean squared error, each | mean |\n|---|---|---|")
    for name, sequences in (("training", train), ("validation", validation), ("test", test)):
        each = errors(model, sequences, 50)
        print(f"| {name} | {', '.join(f'{e:.1f}' for e in each)} | {each.mean():.2f} |")
    print(f"| test, by the mean of the training frames | | {still:.2f} |")


if __name__ == "__main__":
    main()
