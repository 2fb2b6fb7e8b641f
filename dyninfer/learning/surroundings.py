"""Modes of torch that a program has set elsewhere: they must change no result."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def own_surroundings() -> Iterator[None]:
    """Leave the default device and the automatic precision of the program for a while.

    As a decorator it stands at the doors that users call: ``@own_surroundings()``. Within, tensors
    are made on the CPU unless they are told otherwise, and products keep the precision of their
    factors. The default dtype is not set here, because all threads share it: whatever makes a
    tensor names its dtype.
    """
    with ExitStack() as stack:
        # Only where it is set: a device context slows every call of torch.
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield
