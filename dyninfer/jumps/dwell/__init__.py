"""Dwell times: how long a process stays in a class of states.

Here belong: records of open and shut times with a dead time, their likelihood with missed events
and its fit, and dwell times made of phases.

What is *not* here: labels at given times, whose likelihood is in `likelihood`.
"""

from dyninfer.jumps.dwell.apparent import ApparentDwellTimes
from dyninfer.jumps.dwell.fitting import DwellFit, fit_dwell_times
from dyninfer.jumps.dwell.records import DwellTimes
from dyninfer.jumps.dwell.simulation import simulate_dwell_times

__all__ = [
    "ApparentDwellTimes",
    "DwellFit",
    "DwellTimes",
    "fit_dwell_times",
    "simulate_dwell_times",
]
