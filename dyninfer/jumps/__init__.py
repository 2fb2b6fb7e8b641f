"""Likelihoods of Markov jump processes seen at times: panels, hidden states, and their fits."""

from dyninfer.jumps.fitting import JumpFit, fit_panel
from dyninfer.jumps.panel import PanelCounts, panel_counts, stack_counts
from dyninfer.jumps.scheme import RateScheme

__all__ = ["JumpFit", "PanelCounts", "RateScheme", "fit_panel", "panel_counts", "stack_counts"]
