"""Markov jump processes: what follows from a generator, and generators from data.

Here belong: the process and its simulation (`process`, `simulation`), likelihoods of observed paths
(`likelihood`), the pretrained network (`amortized`), fits and posteriors (`posterior`), and the
settings by which users say what they observed and which jumps can happen (`settings`).

What is *not* here: estimators, reading of data, plots. No other family of methods is imported.
"""

from dyninfer.jumps.amortized.zero_shot import JumpEstimate, infer
from dyninfer.jumps.likelihood.clones import ClonePaths
from dyninfer.jumps.likelihood.hidden import HiddenPaths
from dyninfer.jumps.likelihood.observation import ConfusionMatrix, GaussianEmission, LabelNoise
from dyninfer.jumps.likelihood.observe import observe
from dyninfer.jumps.likelihood.pairs import PanelPairs
from dyninfer.jumps.likelihood.panel import PanelCounts, panel_counts, stack_counts
from dyninfer.jumps.likelihood.scheme import RateScheme
from dyninfer.jumps.likelihood.statistics import JumpStatistics
from dyninfer.jumps.posterior.em import em_label_noise, em_panel, expected_jumps
from dyninfer.jumps.posterior.fitting import JumpFit, fit_panel
from dyninfer.jumps.posterior.fitting_hidden import HiddenFit, HiddenProblem, fit_hidden
from dyninfer.jumps.simulation import run_markov_jump

__all__ = [
    "ClonePaths",
    "ConfusionMatrix",
    "GaussianEmission",
    "HiddenFit",
    "HiddenPaths",
    "HiddenProblem",
    "JumpEstimate",
    "JumpFit",
    "JumpStatistics",
    "LabelNoise",
    "PanelCounts",
    "PanelPairs",
    "RateScheme",
    "em_label_noise",
    "em_panel",
    "expected_jumps",
    "fit_hidden",
    "fit_panel",
    "infer",
    "observe",
    "panel_counts",
    "run_markov_jump",
    "stack_counts",
]
