"""Bars that tell how far work has come, and how long the rest will take."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from dyninfer.learning.parallel import rank

T = TypeVar("T")

# Seconds of work that nobody needs to be told of.
PATIENCE = 2.0
# A log file is not a screen: there, a line every ten seconds is enough.
ON_SCREEN = 0.3
IN_A_FILE = 10.0

# Whether the fit that runs now shows how far it is; what it calls need not be told.
_shown: ContextVar[bool] = ContextVar("_shown", default=False)


@contextmanager
def showing(show: bool) -> Iterator[None]:
    """Let all work inside show how far it is, or none; of several processes, the first does."""
    token = _shown.set(show and rank() == 0)
    try:
        yield
    finally:
        _shown.reset(token)


@contextmanager
def progress_bar(
    total: int | None, unit: str, *, what: str | None = None, initial: int = 0, delay: float = 0.0
) -> Iterator[Any]:
    """A bar of ``total`` units, of which ``initial`` were done before, if the fit shows any."""
    from tqdm.auto import tqdm

    on_screen = sys.stderr.isatty() or "ipykernel" in sys.modules
    interval = ON_SCREEN if on_screen else IN_A_FILE
    with tqdm(
        total=total,
        initial=initial,
        desc=what,
        unit=unit,
        delay=delay,
        # Preparations leave the screen to what comes after them.
        leave=not delay,
        mininterval=interval,
        disable=not _shown.get(),
    ) as bar:
        yield bar


def followed(items: Iterable[T], total: int, what: str, unit: str) -> Iterator[T]:
    """The items one by one, with a bar where they take longer than a moment."""
    with progress_bar(total, unit, what=what, delay=PATIENCE) as bar:
        for item in items:
            # Before it is used: who takes only as many as there are never asks for the end.
            bar.update()
            yield item
