"""Likelihoods of Markov jump processes seen at times: panels, hidden states, and their fits."""

from dyninfer.jumps.clones import ClonePaths
from dyninfer.jumps.em import em_label_noise, em_panel, expected_jumps
from dyninfer.jumps.fitting import JumpFit, fit_panel
from dyninfer.jumps.fitting_hidden import HiddenFit, fit_hidden
from dyninfer.jumps.hidden import HiddenPaths
from dyninfer.jumps.observation import Confusion, GaussianEmission, LabelNoise, observe
from dyninfer.jumps.panel import PanelCounts, panel_counts, stack_counts
from dyninfer.jumps.scheme import RateScheme
from dyninfer.jumps.statistics import JumpStatistics
from dyninfer.jumps.zero_shot import JumpEstimate, infer

__all__ = [
    "ClonePaths",
    "Confusion",
    "GaussianEmission",
    "HiddenFit",
    "HiddenPaths",
    "JumpEstimate",
    "JumpFit",
    "JumpStatistics",
    "LabelNoise",
    "PanelCounts",
    "RateScheme",
    "em_label_noise",
    "em_panel",
    "expected_jumps",
    "fit_hidden",
    "fit_panel",
    "infer",
    "observe",
    "panel_counts",
    "stack_counts",
]
