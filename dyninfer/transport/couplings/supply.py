"""Blocks that are solved one after the other while training goes on."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dyninfer.learning.random import numpy_stream
from dyninfer.transport.couplings.base import BlockCoupling, Interval, joined
from dyninfer.transport.couplings.blocks import n_blocks
from dyninfer.transport.couplings.plan import Plan

if TYPE_CHECKING:
    from dyninfer.transport.couplings.stretches import Stretch

# CPU-seconds of solving from which on a fit does not wait for all of it.
WORTH_STARTING = 5.0
# CPU-seconds of solving that a training step may cost: it takes ten milliseconds itself. With half
# of this, branches of five features were learned worse after 2,000 steps.
PACE = 0.006
# Length of the first block of an interval: exact pairs of 512 samples take a thirtieth of the time
# of a whole block, and are enough to begin with.
FIRST_LENGTH = 0.25
# The most that is held out of an interval, in blocks: 1024 samples of the default size, as
# validation draws some thousand pairs.
MOST_HELD_OUT = 0.5


class Source(NamedTuple):
    """One interval under one condition, and the coupling that pairs its samples."""

    coupling: BlockCoupling
    interval: Interval
    stretch: Callable[[Plan], Stretch]  # coupled rows of a plan

    @property
    def block_seconds(self) -> float:
        """CPU-seconds that a block takes, about."""
        return self.coupling.seconds(self.size / self.n_blocks)

    @property
    def size(self) -> int:
        """Samples on the larger side."""
        return max(len(self.interval.a), len(self.interval.b))

    @property
    def n_blocks(self) -> int:
        """Number of blocks of the whole plan."""
        return n_blocks(self.size, self.coupling.batch_size)


def seconds_of(sources: list[Source]) -> float:
    """CPU-seconds that the plans of all intervals take, about."""
    return sum(source.n_blocks * source.block_seconds for source in sources)


class IntervalBlocks:
    """Blocks of one interval, one after the other, and a part of its samples that is held out.

    Parameters
    ----------
    source : Source
    """

    def __init__(self, source: Source):
        self.coupling = source.coupling
        self.interval = self.coupling.placed(source.interval)
        self.stretch = source.stretch
        self.seconds = source.block_seconds
        self.cut = self.interval.cut(self.coupling.batch_size)
        self.n_blocks = self.cut.n_blocks
        self.first = self._solved(0.0, FIRST_LENGTH, "first block")
        self.blocks: list[Stretch] = []
        self.held_out: Stretch | None = None
        self._divide(0.0)

    def hold_out(self, fraction: float) -> None:
        """Keep the last samples from training: not more than a validation looks at."""
        self._divide(min(fraction * self.n_blocks, MOST_HELD_OUT))
        begin = self.n_blocks - self.length_held_out
        self.held_out = self._solved(begin, self.n_blocks, "held out")

    def solve_next(self) -> None:
        """Solve one more block."""
        number = len(self.blocks)
        # Not before the first step, as it takes as long as the first block.
        if number == 0:
            self.interval.warn_if_small(self.coupling.batch_size)
        begin = number * self.length
        end = begin + self.length
        block = self._solved(begin, end, "block", number)
        self.blocks.append(block)

    def stretches(self, *, with_held_out: bool) -> list[Stretch]:
        """Coupled rows of the blocks that are solved; their masses add up to that of the plan."""
        blocks = self.blocks or [self.first]
        lengths = [self.length] * len(blocks)
        if with_held_out and self.held_out is not None:
            blocks = [*blocks, self.held_out]
            lengths.append(self.length_held_out)
        shares = np.array(lengths) / sum(lengths)
        stretches = []
        for block, share in zip(blocks, shares, strict=True):
            stretches.append(block._replace(mass=share * block.mass))
        return stretches

    def _divide(self, length_held_out: float) -> None:
        """Divide what is not held out into blocks of one length."""
        self.length_held_out = length_held_out
        rest = self.n_blocks - length_held_out
        self.n_to_solve = math.ceil(rest)
        self.length = rest / self.n_to_solve

    def _solved(self, begin: float, end: float, *names: str | int) -> Stretch:
        """Coupled rows between two places of the cut."""
        block = self.cut.between(begin, end)
        # A stream for each block: it must not matter which were solved before.
        rng = numpy_stream(self.interval.seed, *names)
        plan = self.coupling.solve_block(self.interval, block, rng)
        return self.stretch(joined([block], [plan]))


class BlockSupply:
    """Blocks of all intervals: a small one of each at once, the others as the steps go on.

    All of them together are the whole plan. Which are solved at a step depends on its number and
    on sizes alone, so that a resumed run has the same.

    Parameters
    ----------
    sources : list of Source
    """

    def __init__(self, sources: list[Source]):
        self.intervals = [IntervalBlocks(source) for source in sources]
        self.n_solved = 0
        self._line_up()

    def hold_out(self, fraction: float) -> float:
        """Keep a part of the samples for validation; return how large it is."""
        for interval in self.intervals:
            interval.hold_out(fraction)
        self._line_up()
        held_out = sum(interval.length_held_out for interval in self.intervals)
        return held_out / sum(interval.n_blocks for interval in self.intervals)

    def reach(self, step: int) -> bool:
        """Solve the blocks that the steps up to this one pay for; return whether there are any."""
        n_paid = int(np.searchsorted(self.seconds, step * PACE, side="right"))
        todo = self.queue[self.n_solved : n_paid]
        for interval in todo:
            interval.solve_next()
        self.n_solved = max(self.n_solved, n_paid)
        return bool(todo)

    def stretches(self, *, with_held_out: bool = True) -> list[Stretch]:
        """Coupled rows of all blocks that are solved."""
        stretches = []
        for interval in self.intervals:
            stretches += interval.stretches(with_held_out=with_held_out)
        return stretches

    def held_out(self) -> list[Stretch]:
        """Coupled rows that validate."""
        stretches = [interval.held_out for interval in self.intervals]
        return [stretch for stretch in stretches if stretch is not None]

    def _line_up(self) -> None:
        """Order in which blocks are solved: round by round, quick ones first."""
        turns = []
        for interval in self.intervals:
            for number in range(interval.n_to_solve):
                turns.append((number, interval.seconds, interval))
        turns.sort(key=lambda turn: turn[:2])
        self.queue = [interval for _, _, interval in turns]
        # When the steps have paid for each.
        self.seconds = np.cumsum([seconds for _, seconds, _ in turns])
