"""Motion capture: three frames are seen, 297 are predicted, by FractionalSDE with a posterior that reads no more.

    DYNINFER_DATA=... OMP_NUM_THREADS=1 python tests/benchmarks/science_motion_capture.py --steps 2400 --seed 0

CMU subject 35 as split by the latent-SDE benchmark: 16 sequences to train on, 3 to validate, 4 to test, 300 frames × 50
numbers each. The posterior has seen the first three frames; its mean, over 50 draws, is compared with the other 297.

The modules are the user's own: a drift with a pace, an encoder of three frames, quiet noise, frames in degrees. Training
sees every walk from several frames on, slower and faster, so that phase and pace must be read from the frames.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import dyninfer as di
from dyninfer.fractional.inference import Encoding
from dyninfer.learning.random import seeded_modules

DATA = Path(os.environ.get("DYNINFER_DATA", "."))
READ, FRAME = 3, 0.05  # frames that are given; time between two, in arbitrary units
N_AXES = 12  # principal axes of a frame that the encoder looks at
STARTS = range(0, 220, 40)  # of the walks that are shown
SPEEDS = np.linspace(
    0.84, 1.04, 6
)  # walks to validate on are 5 to 17 % slower than those to train on


class Walk(nn.Module):
    """``dz = e^{s/10} f(z) dt``, ``ds = h s dt``: a walk ``z`` and its pace ``s``, the last coordinate.

    ``h`` begins at what the model's linear part, which pulls every coordinate back, takes from it: paces stay.
    """

    def __init__(self, n_states: int, horizon: float, width: int = 64):
        super().__init__()
        self.hold = nn.Parameter(torch.tensor(4.0 / horizon))
        self.line = nn.Linear(n_states, n_states)
        self.bend = nn.Sequential(
            nn.Linear(n_states, width),
            nn.Tanh(),
            nn.Linear(width, width),
            nn.Tanh(),
            nn.Linear(width, n_states),
        )
        with torch.no_grad():
            self.line.weight.mul_(0.1)
            self.bend[-1].weight.mul_(0.3)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """Drift ``(n, d + 1)``."""
        z, pace = x[:, :-1], x[:, -1:]
        return torch.cat(
            [2 * (0.1 * pace).exp() * (self.line(z) + self.bend(z)), self.hold * pace], dim=1
        )


class Quiet(nn.Module):
    """Factor of the noise: a tenth of a frame's move in the walk, next to none in its pace."""

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """Amplitudes ``(n, d + 1)``."""
        return torch.cat([torch.full_like(x[:, 1:], 0.1), torch.full_like(x[:, :1], 0.01)], dim=1)


class Axes:
    """Principal axes of frames, which share one shift and one scale as the model has them, in units of the first one.

    Attributes
    ----------
    to_scores : Tensor, ``(N_AXES, feature)``
    to_frames : Tensor, ``(feature, N_AXES)``
    centre : Tensor, ``(feature,)``
    """

    def __init__(self, sequences: list[np.ndarray]):
        frames = np.concatenate(sequences)
        frames = (frames - frames.mean()) / frames.std()
        centre = frames.mean(0)
        axes = np.linalg.svd(frames - centre, full_matrices=False)[2][:N_AXES]
        unit = ((frames - centre) @ axes[0]).std()
        self.to_scores, self.to_frames, self.centre = (
            torch.tensor(x, dtype=torch.float32) for x in (axes / unit, axes.T * unit, centre)
        )


class Frame(nn.Module):
    """A frame, a linear map of the walk that begins at its principal axes."""

    def __init__(self, axes: Axes, n_states: int):
        super().__init__()
        self.line = nn.Linear(n_states, len(axes.centre))
        with torch.no_grad():
            self.line.weight.copy_(axes.to_frames[:, :n_states])
            self.line.bias.copy_(axes.centre)

    def forward(self, x: Tensor, content: None) -> Tensor:
        """Frames ``(n, feature)`` of states ``(n, d + 1)``."""
        return self.line(x[:, :-1])


class ThreeFrames(nn.Module):
    """Places walk and pace by the mean and the differences of three frames, along principal axes.

    In training the frames are blurred, by the deviation ``blur`` in units of the first axis.
    """

    n_context = 1

    def __init__(self, axes: Axes, n_states: int, blur: float = 0.02, width: int = 64):
        super().__init__()
        self.blur = blur
        self.register_buffer("to_scores", axes.to_scores)
        self.register_buffer("centre", axes.centre)
        self.line = nn.Linear(3 * N_AXES, n_states + 1)
        self.bend = nn.Sequential(
            nn.Linear(3 * N_AXES, width), nn.Tanh(), nn.Linear(width, n_states + 1)
        )
        self.log_variance = nn.Parameter(torch.full((n_states + 1,), -6.0))
        with torch.no_grad():
            self.line.weight.copy_(torch.eye(n_states + 1, 3 * N_AXES))
            self.line.weight[-1] = 0  # the pace
            self.line.bias.zero_()
            self.bend[-1].weight.mul_(0.1)

    def forward(self, values: Tensor, mask: Tensor, times: Tensor) -> Encoding:
        """Of values ``(P, L, feature)``; what it says of later frames has no weight."""
        x = (values[:, :READ] - self.centre) @ self.to_scores.T
        if torch.is_grad_enabled():
            x = x + self.blur * torch.randn_like(x)
        first, second, third = x.unbind(1)
        read = torch.cat(
            [x.mean(1), 10 * (third - first), 20 * (third - 2 * second + first)], dim=1
        )
        state, later = self.line(read) + self.bend(read), (0, 0, 0, times.shape[1] - 1)
        mean = nn.functional.pad(state.unsqueeze(1), later)
        variance = nn.functional.pad(self.log_variance.expand_as(mean[:, :1]), later, value=20.0)
        return Encoding(mean, variance, mean.new_zeros(*times.shape, 1), None)


def at_speed(x: np.ndarray, speed: float) -> np.ndarray:
    """A sequence ``(frame, feature)`` that runs faster or slower, by linear interpolation, for at most as long."""
    place = np.arange(0, min(len(x), int((len(x) - 1) / speed) + 1)) * speed
    before = np.minimum(place.astype(int), len(x) - 2)
    share = (place - before)[:, None]
    return x[before] * (1 - share) + x[before + 1] * share


def as_paths(sequences: list[np.ndarray], length: int | None = None) -> di.Paths:
    """Sequences, or their first frames, at even times."""
    parts = [x[:length] for x in sequences]
    return di.Paths(times=[FRAME * np.arange(len(x)) for x in parts], states=parts)


def made_up(n: int) -> np.ndarray:
    """Walks ``(n, 300, 50)`` of waves, to see that the script runs without its data."""
    rng = np.random.default_rng(n)
    phase = np.arange(300)[:, None] / 20 + rng.uniform(0, 2 * np.pi, 50)
    return 10 * np.sin(phase + 0.1 * rng.normal(size=(n, 1, 50)))


def errors(model: di.FractionalSDE, sequences: np.ndarray, n_samples: int) -> np.ndarray:
    """Mean squared error of every sequence after the frames that are given."""
    n, length = sequences.shape[:2]
    given = as_paths(list(sequences), READ)
    times = FRAME * np.arange(length)
    draws = model.posterior(given).draw(times, n_samples=n_samples, seed=1)
    mean = draws.states.double().numpy().reshape(n, n_samples, length, -1).mean(1)
    return np.square(mean - sequences)[:, READ:].mean((1, 2))


def in_hindsight(train: np.ndarray, sequences: np.ndarray) -> np.ndarray:
    """Error of the training walk that is nearest at its best start and constant speed, both found from all 300 frames.

    Where the shifted walk ends early, over the frames it has, 230 at least.
    """
    best = np.full(len(sequences), np.inf)
    for speed in np.arange(0.84, 1.17, 0.02):
        for start in range(0, 70, 2):
            for walk in train:
                copy = at_speed(walk[start:], speed)[: sequences.shape[1]]
                if len(copy) >= 230:
                    best = np.minimum(
                        best, np.square(sequences[:, : len(copy)] - copy).mean((1, 2))
                    )
    return best


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=2400)
    parser.add_argument("--states", type=int, default=8, help="coordinates of the walk")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--grow", type=float, default=0.6, help="share of the steps in which windows grow"
    )
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--hurst", type=float, default=0.5, help="0 learns it")
    parser.add_argument(
        "--smallest", action="store_true", help="two steps on made-up walks: does it run?"
    )
    given = parser.parse_args()
    torch.set_num_threads(1)
    starts = STARTS
    if given.smallest:
        given.steps, starts = 2, STARTS[:1]
        train, validation, test = made_up(4), made_up(1), made_up(1)
    else:
        with np.load(DATA / "mocap35" / "mocap35.npz") as file:
            train, validation, test = (file[name] for name in ("train", "validation", "test"))
    shown = [at_speed(x[start:], speed) for speed in SPEEDS for start in starts for x in train]
    training = di.Training(
        max_steps=given.steps,
        batch_size=32,
        learning_rate=given.rate,
        warmup_steps=20,
        weight_decay=0.03,
        ema_decay=0.99,
        validation_fraction=0.0,
        log_every=10,
    )
    axes = Axes(shown)
    with seeded_modules(given.seed, "motion capture"):
        drift = Walk(given.states, FRAME * (train.shape[1] - 1))
        encoder = ThreeFrames(axes, given.states)
        decoder = Frame(axes, given.states)
    model = di.FractionalSDE(
        # Brownian noise needs no memory.
        noise=di.FractionalNoise(hurst=given.hurst or None, n_nodes=1 if given.hurst == 0.5 else 6),
        drift=drift,
        diffusion=Quiet(),
        state=di.Latent(dim=given.states + 1, encoder=encoder, decoder=decoder),
        inference=di.Variational(
            control=None,
            read_first=READ,
            window=20,
            grow=int(given.grow * given.steps),
            n_samples=1,
            n_steps=1,
            training=training,
        ),
        observation_noise=2.0,
    )
    began = time.process_time()
    model.fit(as_paths(shown), seed=given.seed, progress=False)
    spent = time.process_time() - began
    still = np.square(test[:, READ:] - train.mean((0, 1))).mean((1, 2))
    print(f"seed {given.seed}, {given.steps} steps, {spent:.0f} CPU-s, H {model.hurst_:.3f}\n")
    print("| sequences | mean squared error, each | mean |\n|---|---|---|")
    for name, each in (
        *(
            (name, errors(model, x, 50))
            for name, x in (("training", train), ("validation", validation), ("test", test))
        ),
        ("test, by the mean of the training frames", still),
        ("test, by the nearest training walk in hindsight", in_hindsight(train, test)),
    ):
        print(f"| {name} | {', '.join(f'{e:.1f}' for e in each)} | {each.mean():.2f} |")


if __name__ == "__main__":
    main()
