"""Ctrl-C and SIGTERM end a command alike: the model so far is saved, and the exit says so."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass
class Signals:
    """Which signal interrupted the command."""

    number: int = signal.SIGINT

    @property
    def exit_status(self) -> int:
        """What a shell expects: 128 and the number of the signal."""
        return 128 + self.number


@contextmanager
def as_interrupts() -> Iterator[Signals]:
    """Inside, SIGTERM raises KeyboardInterrupt, as Ctrl-C does."""
    signals = Signals()

    def interrupt(number: int, _: Any) -> None:
        signals.number = number
        # Whoever sends it twice must not cost the model that is being saved; SIGKILL is left.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGTERM)
    # Only the main thread may set handlers, and what a user has set is not ours to replace.
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or before is not signal.SIG_DFL:
        yield signals
        return
    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield signals
    finally:
        signal.signal(signal.SIGTERM, before)
