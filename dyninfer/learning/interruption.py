"""Ctrl-C in fits without a training loop: what was reached is kept, and the fit says so."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

logger = logging.getLogger("dyninfer")


@dataclass
class Interruption:
    """Whether a fit was interrupted."""

    happened: bool = False


_current: ContextVar[Interruption | None] = ContextVar("interruption", default=None)


@contextmanager
def watched() -> Iterator[Interruption]:
    """Inside, loops deep below may end early; what is yielded says whether one did."""
    interruption = Interruption()
    token = _current.set(interruption)
    try:
        yield interruption
    finally:
        _current.reset(token)


@contextmanager
def ends_on_interrupt() -> Iterator[None]:
    """Around the loop of a fit: Ctrl-C ends the loop, and what it has reached is the result.

    Where nobody watches, KeyboardInterrupt goes on as ever.
    """
    try:
        yield
    except KeyboardInterrupt:
        interruption = _current.get()
        if interruption is None:
            raise
        interruption.happened = True
        logger.warning("interrupted: the model so far is kept")
