"""Brownian increments that depend on the seed and on the path's number alone."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dyninfer.learning.random import MASK32, mix64

BLOCK = 64  # paths that share one generator
# Normals drawn by one call for one block: what stays in cache on a CPU, few launches on a GPU.
_CPU_NUMBERS, _GPU_NUMBERS = 2**18, 2**20


def segment_length(n_steps: int, width: int, like: Tensor) -> int:
    """Steps drawn at once: the run divided evenly, each block's share at most a fixed amount of memory."""
    numbers = _GPU_NUMBERS if like.is_cuda else _CPU_NUMBERS
    longest = max(16, numbers // (BLOCK * width))
    return math.ceil(n_steps / math.ceil(n_steps / longest))


class PathNoise:
    """Standard normals for numbered paths and steps, reproducible in any order and any chunk.

    Paths come in blocks of 64 and steps in segments. Each pair of them has its own generator, so a path's noise
    depends neither on the other paths of a chunk nor on how many there are. CPU and GPU draw different numbers.

    Parameters
    ----------
    seed : int
        Seed of all paths.
    n_steps : int
        Number of steps of the whole run.
    width : int
        Normals per path and step.
    like : Tensor
        Gives the dtype and the device.
    """

    def __init__(self, seed: int, n_steps: int, width: int, like: Tensor):
        self.width, self.n_steps = width, n_steps
        self.segment_length = segment_length(n_steps, width, like)
        self._key = mix64(seed, 1)
        self._generator = torch.Generator(device=like.device)
        self._drawn = like.new_empty(self.segment_length, BLOCK, width)

    def segment(self, rows: range, segment: int, scale: Tensor | float = 1.0) -> Tensor:
        """Scaled normals of paths ``rows`` in the steps of one segment.

        Parameters
        ----------
        rows : range
            Numbers of the paths.
        segment : int
            The steps ``segment · L, …``, at most ``L = segment_length`` of them.
        scale : float or Tensor broadcasting against ``(step, 1, width)``
            Factor, without gradient.

        Returns
        -------
        Tensor, ``(step, n, width)``
        """
        length = min(self.segment_length, self.n_steps - segment * self.segment_length)
        out = self._drawn.new_empty(length, len(rows), self.width)
        for block in range(rows.start // BLOCK, (rows.stop - 1) // BLOCK + 1):
            first, last = max(block * BLOCK, rows.start), min((block + 1) * BLOCK, rows.stop)
            normals = self._draw(block, segment)[
                :length, first - block * BLOCK : last - block * BLOCK
            ]
            torch.mul(normals, scale, out=out[:, first - rows.start : last - rows.start])
        return out

    def _draw(self, block: int, segment: int) -> Tensor:
        self._generator.manual_seed(self._seed(block, segment))
        return self._drawn.normal_(generator=self._generator)

    def _seed(self, block: int, segment: int) -> int:
        """Seed of a block: a keyed bijection of 32-bit numbers, as torch's CPU generator keeps only 32 bits."""
        word = (segment << 20 ^ block) + (self._key >> 32) & MASK32
        for constant in (0x85EBCA6B, 0xC2B2AE35, self._key & MASK32 | 1):
            word = (word ^ word >> 16) * constant & MASK32
        return word ^ word >> 15
