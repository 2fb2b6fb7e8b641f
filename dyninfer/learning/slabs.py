"""Many rows, a part of them at a time."""

from __future__ import annotations

from collections.abc import Iterator

# Rows of a part: thirteen megabytes of fifty features, and twice that in double precision.
SLAB = 65_536


def slabs(n: int) -> Iterator[slice]:
    """Slices of all of ``n`` rows, one after the other."""
    for begin in range(0, n, SLAB):
        end = min(begin + SLAB, n)
        yield slice(begin, end)
