"""A latent equation with fractional noise behind videos of bouncing shapes: bound, Hurst index and forecasts.

    OMP_NUM_THREADS=1 python tests/benchmarks/science_video.py --config cpu --hurst learned 0.5
    python tests/benchmarks/science_video.py --config gpu --hurst learned 0.5 --picture strips.png

Forecasts follow the usual protocol: five frames are given, twenty are predicted, and of a hundred samples that with the
highest ratio of peak signal to noise (PSNR, a mean over frames) counts; means over test videos with 95 % intervals.
Beside it stand the last frame that was given, repeated, and the mean frame of the training data.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import dyninfer as di
from dyninfer.fractional.inference import FrameDecoder, FrameEncoder, Series
from dyninfer.learning.parallel import pick_device
from dyninfer.learning.random import seeded_modules
from dyninfer.learning.training import Training

FRAMES, GIVEN = 25, 5
LEAST_ERROR = (
    255.0**-2
)  # one step of 8-bit grey values, lest a frame that is met exactly count infinitely
HEAD = [
    "H",
    "bound before, nats per video",
    "bound after",
    "PSNR of reconstructions",
    "of the best forecast in 100",
    "of one forecast",
    "of the last frame",
    "of the mean frame",
    "training, s",
]


@dataclass(frozen=True)
class Config:
    """Data, networks and training of a run."""

    size: int
    n_shapes: int
    n_train: int
    n_test: int
    widths: tuple[int, ...]
    n_features: int
    latent_dim: int
    content_dim: int
    width: int
    n_steps: int
    steps: int
    batch: int
    learning_rate: float
    noise: float  # deviation of a grey value
    device: str


CONFIGS = {
    "cpu": Config(
        size=16,
        n_shapes=1,
        n_train=200,
        n_test=50,
        widths=(16, 32),
        n_features=32,
        latent_dim=4,
        content_dim=8,
        width=64,
        n_steps=1,
        steps=600,
        batch=16,
        learning_rate=3e-3,
        noise=0.1,
        device="cpu",
    ),
    "gpu": Config(
        size=64,
        n_shapes=2,
        n_train=2000,
        n_test=200,
        widths=(64, 128, 256, 256),
        n_features=64,
        latent_dim=6,
        content_dim=64,
        width=200,
        n_steps=3,
        steps=6000,
        batch=32,
        learning_rate=3e-4,
        noise=0.1,
        device="cuda",
    ),
}


SMALLEST = replace(
    CONFIGS["cpu"], size=8, n_train=6, n_test=2, widths=(4, 8), n_features=8, steps=2, batch=4
)


def untrained(config: Config, train: di.Paths, hurst: float | None, seed: int) -> di.FractionalSDE:
    """The model of the paper for such frames."""
    pixels = np.stack(train.states)
    shape = {
        "latent_dim": config.latent_dim,
        "content_dim": config.content_dim,
        "widths": config.widths,
    }
    with seeded_modules(seed, "video"):
        encoder = FrameEncoder(
            config.size, n_features=config.n_features, n_context=config.n_features, **shape
        )
        decoder = FrameDecoder(config.size, shift=pixels.mean(), scale=pixels.std(), **shape)
    training = Training(
        max_steps=config.steps,
        batch_size=config.batch,
        learning_rate=config.learning_rate,
        warmup_steps=50,
        ema_decay=0.99,
        validation_fraction=0.0,
        log_every=50,
        device=config.device,
    )
    return di.FractionalSDE(
        noise=di.FractionalNoise(hurst=hurst, n_nodes=5),
        drift="network",
        state=di.Latent(
            dim=config.latent_dim,
            content_dim=config.content_dim,
            encoder=encoder,
            decoder=decoder,
        ),
        inference=di.Variational(
            width=config.width, n_samples=1, n_steps=config.n_steps, training=training
        ),
        observation_noise=config.noise,
    )


class Judge:
    """What a fitted model makes of test videos, on the device of its training."""

    def __init__(self, model: di.FractionalSDE, config: Config, seed: int):
        self.device, self.seed = pick_device(config.device), seed
        self.model = model.model_.to(self.device)
        self.scaling = model.scaling_

    def bounds(self, paths: di.Paths) -> Tensor:
        """Evidence lower bound of every video ``(n,)``, in the units of grey values."""
        weights = self.model.log_weights(self._series(paths, ()), 10, self.seed).mean(0).cpu()
        return weights - FRAMES * self.scaling.scale.log().sum()

    def draw(self, paths: di.Paths, given: int, n_samples: int) -> Tensor:
        """All frames of videos of which some are given, ``(n_samples, n, frame, pixel)``."""
        times = paths.times[0]
        seen = di.Paths(
            times=[times[:given]] * len(paths), states=[x[:given] for x in paths.states]
        )
        frames = self.model.draw(self._series(seen, times[given:]), n_samples, self.seed)[1].cpu()
        return self.scaling.user_states(frames)

    def _series(self, paths: di.Paths, times: np.ndarray | tuple) -> Series:
        return Series.of(paths, times).scaled(self.scaling).to(self.device)


def psnr(frames: Tensor, truth: Tensor) -> Tensor:
    """Peak signal to noise in decibels, a mean over frames: ``(..., frame, pixel)`` to ``(...)``."""
    error = (frames - truth).square().mean(-1).clamp_min(LEAST_ERROR)
    return (-10 * error.log10()).mean(-1)


def forecasts(
    judge: Judge, test: di.Paths, mean_frame: Tensor, n_samples: int = 100
) -> dict[str, Tensor]:
    """PSNR of every test video, by what is judged."""
    found: dict[str, list[Tensor]] = {}
    for rows in np.array_split(np.arange(len(test)), math.ceil(len(test) / 10)):
        some = test[rows]
        truth = torch.from_numpy(np.stack(some.states)).double()
        future = truth[:, GIVEN:]
        drawn = psnr(judge.draw(some, GIVEN, n_samples)[:, :, GIVEN:], future)
        parts = {
            "reconstruction": psnr(judge.draw(some, FRAMES, 1)[0], truth),
            "best": drawn.amax(0),
            "one": drawn[0],
            "last": psnr(truth[:, GIVEN - 1 : GIVEN], future),
            "mean": psnr(mean_frame, future),
        }
        for name, value in parts.items():
            found.setdefault(name, []).append(value)
    return {name: torch.cat(values) for name, values in found.items()}


def interval(x: Tensor, digits: int = 2) -> str:
    return f"{x.mean():.{digits}f} ± {1.96 * x.std() / len(x) ** 0.5:.{digits}f}"


def strips(judge: Judge, test: di.Paths, size: int, n: int = 2, n_samples: int = 100) -> np.ndarray:
    """Per video four rows of frames: truth, reconstruction, best forecast, another forecast."""
    some = test[np.arange(n)]
    truth = torch.from_numpy(np.stack(some.states)).double()
    drawn = judge.draw(some, GIVEN, n_samples)
    best = psnr(drawn[:, :, GIVEN:], truth[:, GIVEN:]).argmax(0)
    rows = torch.stack(
        [truth, judge.draw(some, FRAMES, 1)[0], drawn[best, torch.arange(n)], drawn[-1]], dim=1
    )
    pictures = torch.nn.functional.pad(rows.unflatten(-1, (size, size)), (1, 1, 1, 1), value=0.5)
    return pictures.permute(0, 1, 3, 2, 4).reshape(n * 4 * (size + 2), FRAMES * (size + 2)).numpy()


def save_picture(picture: np.ndarray, path: Path) -> None:
    from matplotlib.image import imsave

    enlarged = picture.repeat(3, 0).repeat(3, 1)
    imsave(path, enlarged, cmap="gray", vmin=0, vmax=1)


def run(config: Config, hurst: float | None, seed: int, picture: Path | None) -> list[str]:
    """One row of the table."""
    system = di.simulators.BouncingShapes(size=config.size, n_shapes=config.n_shapes)
    train = system.paths(FRAMES, config.n_train, seed=2 * seed)
    test = system.paths(FRAMES, config.n_test, seed=2 * seed + 1)
    begin = untrained(config, train, hurst, seed).fit(train, seed=seed, max_steps=1, progress=False)
    before = Judge(begin, config, seed).bounds(test)
    start = time.perf_counter()
    model = untrained(config, train, hurst, seed).fit(train, seed=seed)
    seconds = time.perf_counter() - start
    print(
        model.history_[["step", "loss", "fit", "divergence", "hurst"]].to_string(index=False),
        flush=True,
    )
    judge = Judge(model, config, seed)
    after = judge.bounds(test)
    found = forecasts(judge, test, torch.from_numpy(np.stack(train.states).mean((0, 1))).double())
    if picture is not None:
        save_picture(strips(judge, test, config.size), picture)
    index = f"{model.hurst_:.3f} (learned)" if hurst is None else str(hurst)
    return [
        index,
        interval(before, 0),
        interval(after, 0),
        *map(interval, found.values()),
        f"{seconds:.0f}",
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--config", choices=list(CONFIGS), default="cpu")
    parser.add_argument(
        "--hurst", nargs="+", default=["learned", "0.5"], help="learned, or numbers"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--picture", type=Path, help="PNG of frames; the Hurst index is put before its ending"
    )
    parser.add_argument("--smallest", action="store_true", help="does it run? numbers mean nothing")
    arguments = parser.parse_args()
    config = SMALLEST if arguments.smallest else CONFIGS[arguments.config]
    table = [HEAD, ["---"] * len(HEAD)]
    for name in arguments.hurst:
        path = arguments.picture and arguments.picture.with_stem(f"{arguments.picture.stem}_{name}")
        fixed = None if name == "learned" else float(name)
        table.append(run(config, fixed, arguments.seed, path))
    print("\n".join(f"| {' | '.join(row)} |" for row in table))
