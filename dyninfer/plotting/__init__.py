"""Pictures: every function draws on given or new matplotlib axes, returns them, and never shows or saves anything.

Colours have fixed meanings: grey is observed, blue is simulated, vermilion is held out, and time runs from dark violet
to yellow-green; all of them can be told apart with any kind of colour vision.
"""

from __future__ import annotations

from dyninfer.plotting.curves import evaluation, history, mass
from dyninfer.plotting.fields import growth, potential, stream
from dyninfer.plotting.populations import marginals, trajectories

__all__ = [
    "evaluation",
    "growth",
    "history",
    "marginals",
    "mass",
    "potential",
    "stream",
    "trajectories",
]
