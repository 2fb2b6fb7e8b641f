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
from dyninfer.learning import digest
from fuzz import inputs, judge

KINDS = ("model files", "trajectory files", "checkpoints")
MODELS = ("ActionMatching", "StochasticInterpolant", "MarkovJumpInference", "FractionalSDE")
SUFFIXES = (".h5ad", ".nc", ".zarr")
RESEALED = "with the digest of what was edited"
# Bytes that reading may take beside twice the size of a file.
SPARE_MEMORY = 50_000_000


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


@cache
def content(kind: str, name: str) -> str:
    """What an undamaged file says; the libraries that read it are imported from then on."""
    return _content(_read(kind, _copy(whole(kind, name))))


def run(kind: str, seed: int, number: int) -> tuple[str, judge.Ending]:
    """Damage a file, read it, and compare what was read."""
    rng = random.Random(f"{seed} {kind} {number}")
    names = {"model files": MODELS, "trajectory files": [f"runs{s}" for s in SUFFIXES]}
    name = rng.choice(names.get(kind, ["checkpoint"]))
    source, expected = whole(kind, name), content(kind, name)
    target = folder() / f"damaged{source.suffix}"
    _remove(target)
    how = damage(source, target, rng)
    may_say = None if how.startswith(RESEALED) else expected
    ending = _read_and_compare(kind, target, may_say)
    if ending.kind == "heavy":
        # Once more: code that runs for the first time takes memory too.
        ending = _read_and_compare(kind, target, may_say)
    return f"# {kind}, {name}, {how} (seed {seed}, number {number})", ending


def _read_and_compare(kind: str, path: Path, expected: str | None) -> judge.Ending:
    """How reading a file ends; it may say anything where None is expected."""
    allowed = 2 * _size(path) + SPARE_MEMORY
    before = _restarted_peak()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read = _read(kind, path)
        ending = judge.Ending("works")
        if expected is not None and _content(read) != expected:
            ending = judge.Ending("silent", "other content", kind)
    except Exception as error:  # noqa: BLE001
        ending = judge.of_error(error)
    taken = _peak() - before
    if taken > allowed and not ending.fails:
        return judge.Ending("heavy", f"{taken / 1e6:.0f} MB for {_size(path)} bytes", kind)
    return ending


def _restarted_peak() -> int:
    """Bytes in use now; the peak is counted from here. Zero where no system tells them."""
    peak = Path("/proc/self/clear_refs")
    if peak.exists():
        peak.write_text("5")
    return _peak()


def _peak() -> int:
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


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
    how = f"metadata{list(place)} = {str(value)[:20]!r}"
    body = bytes(content[8 + length :])
    if rng.random() < 0.5:
        # A file that is whole, and strange: what another version or a stranger could write.
        header["__metadata__"][digest.NAME] = digest.EMPTY
        content[:] = digest.fill_in(_with_length(header), body) + body
        return f"{RESEALED}, {how}"
    content[:] = _with_length(header) + body
    return how


def _with_length(header: dict) -> bytes:
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


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
