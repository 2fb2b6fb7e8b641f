"""Brownian increments that depend on the seed and on the path's number alone."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dyninfer.learning.random import NumberedStreams

BLOCK = 64  # paths that share one generator
# Normals drawn by one call for one block: what stays in cache on a CPU, few launches on a GPU.
_CPU_NUMBERS = 2**18
_GPU_NUMBERS = 2**20


def segment_length(n_steps: int, width: int, like: Tensor) -> int:
    """Steps drawn at once, so many that each block's share stays below a fixed amount of memory.

    The run is divided evenly, so that no segment is much shorter than the others.
    """
    numbers = _GPU_NUMBERS if like.is_cuda else _CPU_NUMBERS
    # Of less than 16 steps, the seeding of a block would cost as much as its numbers.
    numbers_per_block = BLOCK * width
    longest = max(16, numbers // numbers_per_block)
    n_segments = math.ceil(n_steps / longest)
    return math.ceil(n_steps / n_segments)


class PathNoise:
    """Standard normals for numbered paths and steps, reproducible in any order and any chunk.

    Paths come in blocks of 64 and steps in segments. Each pair of them has a stream of its own, so
    a path's noise depends neither on the other paths of a chunk nor on how many there are. CPU and
    GPU draw different numbers.

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
        self.width = width
        self.n_steps = n_steps
        self.segment_length = segment_length(n_steps, width, like)
        self.streams = NumberedStreams(seed, "paths", device=like.device)
        # Every block fills the same memory, which stays in cache.
        self._block = like.new_empty(self.segment_length, BLOCK, width)

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
        n_before = segment * self.segment_length
        n_left = self.n_steps - n_before
        # The last segment may be shorter than the others.
        length = min(self.segment_length, n_left)
        n_paths = len(rows)
        out = self._block.new_empty(length, n_paths, self.width)
        first_block = rows.start // BLOCK
        last_block = (rows.stop - 1) // BLOCK
        for block in range(first_block, last_block + 1):
            offset = block * BLOCK
            first = max(rows.start, offset)
            last = min(rows.stop, offset + BLOCK)
            # All numbers of a block are drawn, so that a path's do not depend on ``rows``.
            stream = self.streams.at(block, segment)
            normals = self._block.normal_(generator=stream)
            in_block = slice(first - offset, last - offset)
            begin = first - rows.start
            end = last - rows.start
            in_rows = slice(begin, end)
            part = normals[:length, in_block]
            place = out[:, in_rows]
            torch.mul(part, scale, out=place)
        return out
