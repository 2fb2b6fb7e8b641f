"""Kill fits and saves at any moment: no run changes, no file is lost, and no debris stays.

``python -m fuzz.kills`` (with ``tests`` on the path) kills 200 fits and 100 saves, and lets three
processes save to one path for a minute while a fourth loads it.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import dyninfer as di
from dyninfer.learning.random import stream

SUFFIXES = ("safetensors", "h5ad", "nc", "zarr")
# Longest time in seconds until a kill: a whole fit below takes about as long.
LONGEST = 1.5


def snapshots() -> di.Snapshots:
    """Three small populations that drift."""
    samples = [np.random.default_rng(k).normal(k, 1, (30, 2)) for k in range(3)]
    return di.Snapshots(times=[0, 1, 2], samples=samples)


def labels() -> di.Paths:
    """Twenty paths that change between two states."""
    rng = np.random.default_rng(0)
    states = [np.cumsum(rng.random(12) < 0.3) % 2 for _ in range(20)]
    return di.Paths(times=[np.arange(12.0)] * 20, states=states)


def numbers() -> di.Paths:
    """Six paths of one feature."""
    rng = np.random.default_rng(0)
    states = [rng.normal(size=(12, 1)).cumsum(0) for _ in range(6)]
    return di.Paths(times=[np.linspace(0, 1, 12)] * 6, states=states)


def _training(n_steps: int) -> di.Training:
    return di.Training(
        max_steps=n_steps, batch_size=16, checkpoint_every=7, validate_every=10, device="cpu"
    )


def methods() -> dict[str, tuple[Any, Any]]:
    """A small model of every method, and data for it, by name."""
    small = {"width": 8, "depth": 2}
    variational = di.Variational(n_samples=1, n_steps=8, training=_training(15), **small)
    return {
        "ActionMatching": (di.ActionMatching(**small, training=_training(100)), snapshots()),
        "StochasticInterpolant": (
            di.StochasticInterpolant(**small, training=_training(100)),
            snapshots(),
        ),
        "WassersteinLagrangianFlow": (
            di.WassersteinLagrangianFlow(**small, training=_training(40)),
            snapshots(),
        ),
        "MarkovJumpInference": (di.MarkovJumpInference(), labels()),
        "FractionalSDE, exact": (di.FractionalSDE(), numbers()),
        "FractionalSDE, variational": (di.FractionalSDE(inference=variational), numbers()),
    }


def in_child(act: Callable[[], object]) -> int:
    """Start a process that does something; a copy of this one, so that nothing is imported."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        act()
        status = 0
    finally:
        if status:
            traceback.print_exc()
        # Not sys.exit: the copy must not go on where its parent was.
        os._exit(status)


def killed(child: int, seconds: float) -> bool:
    """Kill a process after a while; False where it has ended well before.

    Raises
    ------
    AssertionError
        If it ended with an error.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            assert os.waitstatus_to_exitcode(status) == 0, "a process ended with an error"
            return False
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) != 0


def assert_same_model(model: Any, expected: Any) -> None:
    """Every weight and every row of the history is the same to the last bit."""
    tensors, others = model._tensors(), expected._tensors()
    assert tensors.keys() == others.keys()
    for name, value in tensors.items():
        assert torch.equal(value, others[name]), f"{name} differs"
    for history in (model.history_, expected.history_):
        history.drop(columns="seconds", errors="ignore", inplace=True)
    assert model.history_.equals(expected.history_), "the history differs"


def kill_fits(name: str, n_kills: int, chance: random.Random) -> int:
    """Kill fits with a checkpoint until one is whole, again and again; return the fits made."""
    model, data = methods()[name]
    begin = time.monotonic()
    expected = model.fit(data, progress=False)
    longest = min(LONGEST, time.monotonic() - begin)
    n_fits, n_left = 0, n_kills
    while n_left > 0:
        with tempfile.TemporaryDirectory(prefix="kills-") as folder:
            checkpoint, result = Path(folder) / "checkpoint", Path(folder) / "result"

            def fit(checkpoint: Path = checkpoint, result: Path = result) -> None:
                model, data = methods()[name]
                model.fit(data, progress=False, checkpoint=checkpoint, resume=True)
                model.save(result)

            while n_left > 0 and killed(in_child(fit), chance.uniform(0, longest)):
                n_left -= 1
            # The last one is left in peace, and resumes what the killed ones have left.
            assert not killed(in_child(fit), 600), "a resumed fit does not end"
            assert_same_model(di.load(result, device="cpu"), expected)
            names = {path.name for path in Path(folder).iterdir()}
            assert names == {"checkpoint", "result"}, f"debris is left: {names}"
            n_fits += 1
    return n_fits


def _saver(path: Path) -> tuple[Callable[[int], None], Callable[[], int]]:
    """How something of kind 0 or 1 is saved to a path, and how the kind there is read."""
    if path.suffix == ".safetensors":
        models = []
        for k in range(2):
            model = di.ActionMatching(width=64, depth=2, training=_training(2))
            models.append(model.fit(snapshots(), progress=False, seed=k))
        return lambda kind: models[kind].save(path), lambda: di.load(path, device="cpu").seed_
    trajectories = []
    for k in range(2):
        states = torch.randn(200, 10, 3, generator=stream(k, "states"))
        states[0, 0, 0] = k
        trajectories.append(di.Trajectories(states=states, times=np.arange(10.0)))

    def kind_there() -> int:
        states = di.Trajectories.load(path).states
        kind = int(states[0, 0, 0])
        assert torch.equal(states, trajectories[kind].states), "a file is of two saves"
        return kind

    return lambda kind: trajectories[kind].save(path), kind_there


def kill_saves(suffix: str, n_kills: int, chance: random.Random) -> None:
    """Kill a process that saves without end; the file is always one of those it saves."""
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        path = Path(folder) / f"file.{suffix}"
        save, kind_there = _saver(path)
        save(0)

        def save_on() -> None:
            kind = 0
            while True:
                save(kind := 1 - kind)

        for _ in range(n_kills):
            assert killed(in_child(save_on), chance.uniform(0, 0.2))
            assert kind_there() in (0, 1)
        save(1)
        assert kind_there() == 1
        names = [path.name for path in Path(folder).iterdir()]
        assert names == [path.name], f"debris is left: {names}"


def share_a_path(suffix: str, seconds: float) -> int:
    """Three processes save to one path while this one loads it; return the loads."""
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        path = Path(folder) / f"file.{suffix}"
        save, kind_there = _saver(path)
        save(0)
        end = time.monotonic() + seconds

        def save_until(first: int) -> None:
            kind = first
            while time.monotonic() < end:
                save(kind := 1 - kind)

        children = [in_child(lambda first=first: save_until(first)) for first in (0, 1, 0)]
        n_loads = 0
        while time.monotonic() < end:
            assert kind_there() in (0, 1)
            n_loads += 1
        for child in children:
            assert not killed(child, 60), "a save does not end"
        names = [path.name for path in Path(folder).iterdir()]
        assert names == [path.name], f"debris is left: {names}"
        return n_loads


def main() -> None:
    """Run everything, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fits", type=int, default=200, help="kills during fits, of all methods")
    parser.add_argument("--saves", type=int, default=100, help="kills during saves, of all formats")
    parser.add_argument("--seconds", type=float, default=60, help="of saving to one path")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    chance = random.Random(arguments.seed)
    names = list(methods())
    for name in names:
        n_kills = -(-arguments.fits // len(names))
        n_fits = kill_fits(name, n_kills, chance)
        print(f"{name}: {n_kills} kills, {n_fits} fits the same to the last bit", flush=True)
    for suffix in SUFFIXES:
        n_kills = -(-arguments.saves // len(SUFFIXES))
        kill_saves(suffix, n_kills, chance)
        print(f"{suffix}: {n_kills} kills during saves, every file whole", flush=True)
    for suffix in SUFFIXES:
        n_loads = share_a_path(suffix, arguments.seconds / len(SUFFIXES))
        print(f"{suffix}: three processes saved, {n_loads} loads of whole files", flush=True)


if __name__ == "__main__":
    main()
