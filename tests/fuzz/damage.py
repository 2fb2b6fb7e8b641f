"""Mutated files: a changed file is refused in one sentence, or says what the whole one said."""

import json
import random
import shutil
import struct
import tempfile
import warnings
from functools import cache
from pathlib import Path

import numpy as np

import dyninfer as di
from fuzz import inputs, judge

KINDS = ("model files", "trajectory files", "checkpoints")
MODELS = ("ActionMatching", "StochasticInterpolant", "MarkovJumpInference", "FractionalSDE")
SUFFIXES = (".h5ad", ".nc", ".zarr")


@cache
def folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="damage-"))


@cache
def whole(kind: str, name: str) -> Path:
    """An undamaged file."""
    path = folder() / f"whole-{name}"
    if kind == "model files":
        inputs.fitted(name).save(path)
    elif kind == "trajectory files":
        inputs.trajectories().save(path)
    else:
        _fit(path, resume=False, max_steps=4)
    return path


def run(kind: str, seed: int, number: int) -> tuple[str, judge.Ending]:
    """Damage a file, read it, and compare what was read."""
    rng = random.Random(f"{seed} {kind} {number}")
    names = {"model files": MODELS, "trajectory files": [f"runs{s}" for s in SUFFIXES]}
    name = rng.choice(names.get(kind, ["checkpoint"]))
    source = whole(kind, name)
    target = folder() / f"damaged{source.suffix}"
    _remove(target)
    how = damage(source, target, rng)
    code = f"# {kind}, {name}, {how} (seed {seed}, number {number})"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read = _read(kind, target)
    except Exception as error:  # noqa: BLE001
        return code, judge.of_error(error)
    if _content(read) == _content(_read(kind, _copy(source))):
        return code, judge.Ending("works")
    return code, judge.Ending("silent", f"{how}: other content", kind)


def damage(source: Path, target: Path, rng: random.Random) -> str:
    """Write a damaged copy, and say how."""
    if source.is_dir():
        shutil.copytree(source, target)
        files = sorted(path for path in target.rglob("*") if path.is_file())
        path = rng.choice(files)
        how = _damage_file(path, path, rng)
        return f"{path.relative_to(target)}: {how}"
    return _damage_file(source, target, rng)


def _damage_file(source: Path, target: Path, rng: random.Random) -> str:
    content = bytearray(source.read_bytes())
    ways = [_flip, _flip, _cut, _overwrite]
    if content[8:9] == b"{":
        ways += [_edit_header] * 3
    how = rng.choice(ways)(content, rng)
    target.write_bytes(content)
    return how


def _flip(content: bytearray, rng: random.Random) -> str:
    if not content:
        return "empty"
    place = rng.randrange(len(content))
    content[place] ^= 1 << rng.randrange(8)
    return f"a bit of byte {place} turned"


def _cut(content: bytearray, rng: random.Random) -> str:
    length = rng.choice((0, 1, 8, rng.randrange(len(content) + 1)))
    del content[length:]
    return f"cut to {length} bytes"


def _overwrite(content: bytearray, rng: random.Random) -> str:
    if len(content) < 9:
        return "whole"
    place = rng.randrange(len(content) - 8)
    content[place : place + 8] = rng.choice((bytes(8), b"\xff" * 8, rng.randbytes(8)))
    return f"8 bytes from {place} replaced"


def _edit_header(content: bytearray, rng: random.Random) -> str:
    """Change one value in the JSON of a safetensors file, also in its metadata."""
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    # Of a model "dyninfer", of a checkpoint "dyninfer_checkpoint"; the digest is the last.
    key = next(iter(header["__metadata__"]))
    metadata = json.loads(header["__metadata__"][key])
    values = (None, -1, 10**9, 1e300, "a", [], {}, [[]], True, float("nan"), "x" * 5000)
    place = rng.choice(_places(metadata))
    value = rng.choice(values)
    inner = metadata
    for step in place[:-1]:
        inner = inner[step]
    if rng.random() < 0.3:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    header["__metadata__"][key] = json.dumps(metadata)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    content[: 8 + length] = struct.pack("<Q", len(text)) + text
    return f"metadata{list(place)} = {str(value)[:20]!r}"


def _places(tree, path=()):
    """Ways to every value of nested JSON."""
    steps = tree.items() if isinstance(tree, dict) else enumerate(tree)
    ways = []
    for step, value in steps:
        ways.append((*path, step))
        if isinstance(value, dict | list):
            ways += _places(value, (*path, step))
    return ways


def _read(kind: str, path: Path):
    if kind == "model files":
        return di.load(path)
    if kind == "trajectory files":
        return di.Trajectories.load(path)
    return _fit(path, resume=True, max_steps=4)


def _fit(path: Path, resume: bool, max_steps: int):
    model = di.ActionMatching(**inputs.QUICK, training=di.Training(checkpoint_every=2))
    return model.fit(
        inputs.snapshots(), max_steps=max_steps, progress=False, checkpoint=path, resume=resume
    )


def _copy(source: Path) -> Path:
    """A copy, for a fit writes into its checkpoint."""
    target = folder() / f"copy{source.suffix}"
    _remove(target)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)
    return target


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def _content(read) -> str:
    """All that was read, as text that differs where anything does."""
    if isinstance(read, di.Trajectories):
        arrays = [getattr(read, n) for n in ("states", "times", "log_weights", "status", "parents")]
        texts = [None if a is None else a.numpy().tobytes() for a in arrays]
        return repr((texts, np.asarray(read.origin).tolist(), read.features, read.attrs))
    tensors = {name: t.numpy().tobytes() for name, t in read.process_.state_dict().items()}
    return repr((tensors, read._metadata(), read._tables()))
