"""Pictures of what went in, what was learned and what comes out.

Every function draws on given or new matplotlib axes, returns them, and never shows or saves
anything. Here belongs what turns numbers into marks on axes; the numbers are computed in
``metrics``, by the estimators and by the processes, and a page of pictures is put together in
``report``.

Colours have fixed meanings: grey is observed, blue is simulated, vermilion is held out, and time
runs from dark violet to yellow-green. All of them can be told apart with any kind of colour vision.
"""

from __future__ import annotations

from dyninfer.plotting.curves import evaluation, history, mass
from dyninfer.plotting.fields import growth, potential, stream
from dyninfer.plotting.flows import sankey
from dyninfer.plotting.forecasts import forecasts, rates
from dyninfer.plotting.populations import marginals, trajectories

__all__ = [
    "evaluation",
    "forecasts",
    "growth",
    "history",
    "marginals",
    "mass",
    "potential",
    "rates",
    "sankey",
    "stream",
    "trajectories",
]
