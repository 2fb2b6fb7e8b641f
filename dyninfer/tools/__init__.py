"""Tools: what a scientist asks of data and models, answered by way of the common API.

Here belongs what calls `fit`, `simulate` and `evaluate` of any method to answer a question: which
method predicts best, with which settings, and whether to believe it. No tool asks which method it
was given. Records of dwell times are not paths, and their fit stands here too. Distances are
computed in ``metrics``, pictures are drawn in ``plotting``.
"""

from __future__ import annotations

from dyninfer.jumps.dwell import fit_dwell_times
from dyninfer.tools.baseline import remove_baseline
from dyninfer.tools.compare import compare
from dyninfer.tools.divergence import divergence
from dyninfer.tools.doctor import Examination, doctor
from dyninfer.tools.drivers import drivers
from dyninfer.tools.fate_reliability import fate_reliability
from dyninfer.tools.fate_scores import score_fates
from dyninfer.tools.fate_table import transition_table
from dyninfer.tools.fates import fates
from dyninfer.tools.growth_scores import score_growth
from dyninfer.tools.jump_fits import information_criteria, likelihood_ratio
from dyninfer.tools.jump_tables import (
    first_passage,
    length_of_stay,
    next_states,
    sojourn_times,
    survival,
    transition_probabilities,
)
from dyninfer.tools.lags import chapman_kolmogorov, implied_timescales
from dyninfer.tools.lineages import ancestors, descendants, flows
from dyninfer.tools.noise_scale import noise_scale
from dyninfer.tools.prevalence import prevalence
from dyninfer.tools.real_time import time, time_to_fate
from dyninfer.tools.recommend import Recommendation, recommend
from dyninfer.tools.segment_tracks import segment_tracks
from dyninfer.tools.state_counts import StateCountFit, fit_state_counts
from dyninfer.tools.transition_paths import TransitionPaths, transition_paths
from dyninfer.tools.transitions import transition_matrix
from dyninfer.tools.trends import trends
from dyninfer.tools.tune import Tuned, tune
from dyninfer.tools.velocity import velocity_embedding, velocity_layer
from dyninfer.tools.with_velocities import with_velocities

__all__ = [
    "Examination",
    "Recommendation",
    "StateCountFit",
    "TransitionPaths",
    "Tuned",
    "ancestors",
    "chapman_kolmogorov",
    "compare",
    "descendants",
    "doctor",
    "divergence",
    "drivers",
    "fate_reliability",
    "fates",
    "first_passage",
    "fit_dwell_times",
    "fit_state_counts",
    "flows",
    "implied_timescales",
    "information_criteria",
    "length_of_stay",
    "likelihood_ratio",
    "next_states",
    "noise_scale",
    "prevalence",
    "recommend",
    "remove_baseline",
    "score_fates",
    "score_growth",
    "segment_tracks",
    "sojourn_times",
    "survival",
    "time",
    "time_to_fate",
    "transition_matrix",
    "transition_paths",
    "transition_probabilities",
    "transition_table",
    "trends",
    "tune",
    "velocity_embedding",
    "velocity_layer",
    "with_velocities",
]
