"""Pictures of what went in, what was learned and what comes out.

Every function draws on given or new matplotlib axes (``ax=``) and returns them; it shows the figure
or writes a file only where asked (``show=``, ``save=``). What lies in a plane takes any embedding
(``basis=``), and cells take the colours of a column or gene (``color=``). Here belongs what turns
numbers into marks on axes; the numbers are computed in ``metrics``, by the estimators and by the
processes, and a page of pictures is put together in ``report``.

Colours have fixed meanings: grey is observed, blue is simulated, vermilion is held out, and time
runs from dark violet to yellow-green. All of them can be told apart with any kind of colour vision.
"""

from __future__ import annotations

from dyninfer.plotting.comparison import comparison, predicted
from dyninfer.plotting.curves import evaluation, history, mass
from dyninfer.plotting.fates import fan, fate_bars, fate_triangle
from dyninfer.plotting.fields import growth, potential, stream
from dyninfer.plotting.flows import sankey
from dyninfer.plotting.forecasts import forecasts, rates
from dyninfer.plotting.genes import heatmap, trends
from dyninfer.plotting.jump_tables import (
    chapman_kolmogorov,
    implied_timescales,
    prevalence,
)
from dyninfer.plotting.landscape import landscape
from dyninfer.plotting.moving import animation
from dyninfer.plotting.populations import marginals, trajectories
from dyninfer.plotting.reliability import reliability

__all__ = [
    "animation",
    "chapman_kolmogorov",
    "comparison",
    "evaluation",
    "fan",
    "fate_bars",
    "fate_triangle",
    "forecasts",
    "growth",
    "heatmap",
    "history",
    "implied_timescales",
    "landscape",
    "marginals",
    "mass",
    "potential",
    "predicted",
    "prevalence",
    "rates",
    "reliability",
    "sankey",
    "stream",
    "trajectories",
    "trends",
]
