"""Randomness: every draw of the package comes from a named stream of one seed.

``stream(seed, "validation", k)`` is a generator of its own for that purpose: it shares no numbers
with ``stream(seed, "validation", k + 1)``, with another purpose, or with another seed. Nothing in
the package adds numbers to seeds, and nothing draws from the global state of torch or NumPy.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from dyninfer.learning.settings import is_whole

Name = str | int

MASK64 = 2**64 - 1
# Torch's CPU generator keeps the lower 32 bits of a seed and drops the others without a word.
MASK32 = 2**32 - 1
# Marks the beginning of a name, above every byte, so that ("ab",) and ("a", "b") differ.
_TEXT = 256
_NUMBER = 257
# What draws numbers when layers are made.
_DRAWS = frozenset(
    {
        torch.bernoulli,
        torch.multinomial,
        torch.normal,
        torch.rand,
        torch.randint,
        torch.randn,
        torch.randperm,
        torch.Tensor.bernoulli_,
        torch.Tensor.exponential_,
        torch.Tensor.normal_,
        torch.Tensor.random_,
        torch.Tensor.uniform_,
        torch.nn.init.kaiming_normal_,
        torch.nn.init.kaiming_uniform_,
        torch.nn.init.normal_,
        torch.nn.init.orthogonal_,
        torch.nn.init.sparse_,
        torch.nn.init.trunc_normal_,
        torch.nn.init.uniform_,
        torch.nn.init.xavier_normal_,
        torch.nn.init.xavier_uniform_,
    }
)
# What makes tensors of torch's default dtype where none is named.
_MAKERS = frozenset({torch.empty, torch.ones, torch.rand, torch.randn, torch.zeros})
# Code of others draws from torch's global generator: one thread at a time may borrow it.
_global_generator = threading.RLock()


def mix64(*words: Any) -> Any:
    """Hash integers, or arrays of uint64 number by number, to 64 bits.

    Chained rounds of splitmix64 (Steele, Lea & Flood, 2014, Fig. 17).
    """
    state: Any = 0
    for word in words:
        state = (state ^ (word & MASK64)) + 0x9E3779B97F4A7C15 & MASK64
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & MASK64
        state = (state ^ state >> 27) * 0x94D049BB133111EB & MASK64
        state ^= state >> 31
    return state


def subseed(seed: int, *names: Name) -> int:
    """Seed ``0 <= s < 2**32`` of one purpose, for whatever takes a seed and not a generator."""
    if not is_whole(seed):
        raise TypeError(f"seed must be a whole number, found {type(seed).__name__}")
    words = [int(seed)]
    for name in names:
        if isinstance(name, str):
            words += [_TEXT, *name.encode()]
        else:
            words += [_NUMBER, int(name)]
    return mix64(*words) & MASK32


def stream(seed: int, *names: Name, device: torch.device | str = "cpu") -> torch.Generator:
    """Torch generator of one purpose.

    Parameters
    ----------
    seed : int
        Seed of the whole run, as the user gave it.
    *names : str or int
        What the numbers are for, such as ``"validation", k``.
    device : torch.device or str
        Where the numbers are drawn. A CPU and a GPU draw different numbers.

    Examples
    --------
    >>> import torch
    >>> one = torch.rand(3, generator=stream(0, "validation"))
    >>> bool((one == torch.rand(3, generator=stream(0, "validation"))).all())
    True
    >>> bool((one == torch.rand(3, generator=stream(0, "batches"))).any())
    False
    """
    own_seed = subseed(seed, *names)
    return torch.Generator(device).manual_seed(own_seed)


def uniforms(generator: torch.Generator, *shape: int) -> torch.Tensor:
    """Uniform numbers from 0 to 1, float64, on the device of their generator."""
    return torch.rand(
        shape,
        generator=generator,
        dtype=torch.float64,
        device=generator.device,
    )


class NumberedStreams:
    """Streams of numbered pairs, such as blocks of paths and segments of time, of one purpose.

    As :func:`stream`, for loops that need thousands of them: one generator is moved from pair to
    pair, and two pairs never share numbers as long as rows stay below 2^20 and columns below 2^12.

    Parameters
    ----------
    seed : int
    *names : str or int
        What the numbers are for.
    device : torch.device or str
    """

    def __init__(self, seed: int, *names: Name, device: torch.device | str = "cpu"):
        self._shift = subseed(seed, *names, "shift")
        # Odd, so that multiplying by it modulo 2^32 loses nothing.
        number = subseed(seed, *names, "factor")
        self._factor = number | 1
        self._generator = torch.Generator(device)

    def at(self, row: int, column: int) -> torch.Generator:
        """Generator of a pair, until the next call."""
        own_seed = self.seed(row, column)
        return self._generator.manual_seed(own_seed)

    def seed(self, row: int, column: int) -> int:
        """Seed of a pair by a keyed bijection of 32-bit numbers, as torch keeps only 32 bits."""
        word = (column << 20 ^ row) + self._shift & MASK32
        # The first two are murmur3's finaliser, which spreads every bit over all (Appleby, 2011).
        for factor in (0x85EBCA6B, 0xC2B2AE35, self._factor):
            word = (word ^ word >> 16) * factor & MASK32
        return word ^ word >> 15


def numpy_stream(seed: int, *names: Name) -> np.random.Generator:
    """NumPy generator of one purpose; see :func:`stream`."""
    own_seed = subseed(seed, *names)
    return np.random.default_rng(own_seed)


@contextmanager
def borrowed_generator(
    seed: int, *names: Name, device: torch.device | str = "cpu"
) -> Iterator[None]:
    """Seed torch's global generator, for code of others that draws from it.

    It is borrowed by one thread at a time, on the CPU and on ``device``, and given back as it was.
    """
    device = torch.device(device)
    devices = [device] if device.type == "cuda" else []
    with _global_generator, torch.random.fork_rng(devices=devices):
        own_seed = subseed(seed, *names)
        torch.default_generator.manual_seed(own_seed)
        if devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(own_seed)
        yield


class _Initialisation(TorchFunctionMode):
    """Draws of this thread come from one generator, and new tensors are in single precision.

    Neither torch's global generator nor its default dtype is looked at, or touched: another thread
    may be using them.
    """

    def __init__(self, generator: torch.Generator):
        super().__init__()
        self.generator = generator

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Complete the arguments of what draws or makes a tensor."""
        kwargs = dict(kwargs or {})
        if func in _DRAWS and kwargs.get("generator") is None:
            kwargs["generator"] = self.generator
        if func in _MAKERS and kwargs.get("dtype") is None:
            kwargs["dtype"] = torch.float32
        return func(*args, **kwargs)


@contextmanager
def seeded_modules(seed: int, *names: Name) -> Iterator[Any]:
    """Build torch modules inside: their first weights come from the stream, in any thread.

    They are in single precision, on the CPU, whatever the defaults of torch are elsewhere.
    """
    with _Initialisation(stream(seed, *names)):
        yield
