"""Dwell times: how long a process stays in a class of states.

Here belong: records of open and shut times with a dead time, their likelihood with missed events
and its fit, and dwell times made of phases.

What is *not* here: labels at given times, whose likelihood is in `likelihood`.
"""

from dyninfer.jumps.dwell.apparent import ApparentDwellTimes
from dyninfer.jumps.dwell.fitting import DwellFit, fit_dwell_times
from dyninfer.jumps.dwell.phase_fitting import PhaseFit, fit_phases
from dyninfer.jumps.dwell.phase_types import PhaseType
from dyninfer.jumps.dwell.records import DwellTimes
from dyninfer.jumps.dwell.semi_markov import SemiMarkov
from dyninfer.jumps.dwell.semi_markov_fitting import SemiMarkovFit, fit_semi_markov
from dyninfer.jumps.dwell.simulation import simulate_dwell_times
from dyninfer.jumps.dwell.visits import state_visits

__all__ = [
    "ApparentDwellTimes",
    "DwellFit",
    "DwellTimes",
    "PhaseFit",
    "PhaseType",
    "SemiMarkov",
    "SemiMarkovFit",
    "fit_dwell_times",
    "fit_phases",
    "fit_semi_markov",
    "simulate_dwell_times",
    "state_visits",
]
