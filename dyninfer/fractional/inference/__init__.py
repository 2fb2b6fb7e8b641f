"""Inference of equations with fractional noise from paths.

Here belong the models that are learned: the linear prior with its exact likelihood, and networks
with their evidence lower bound, guide and training. Closed forms of Gaussian chains do not: they
are in ``fractional/gaussian``. What a user sets is in ``fractional/settings.py``.
"""

from dyninfer.fractional.inference.assembly import build_model
from dyninfer.fractional.inference.bound import Guided, Readout, guided_paths
from dyninfer.fractional.inference.encoder import Encoding, RecurrentEncoder
from dyninfer.fractional.inference.equation import Control, Equation
from dyninfer.fractional.inference.exact import ExactModel
from dyninfer.fractional.inference.facts import (
    check_continuous,
    check_knots,
    check_moving,
    facts_of,
    scaling_of,
)
from dyninfer.fractional.inference.fitted import FittedEquation
from dyninfer.fractional.inference.fitting import BoundObjective, fit_by_bound
from dyninfer.fractional.inference.layout import Layout, Parts
from dyninfer.fractional.inference.likelihood import exact_log_likelihood, exact_posterior
from dyninfer.fractional.inference.maximum import index_facts, maximise
from dyninfer.fractional.inference.neural import NeuralModel
from dyninfer.fractional.inference.posterior import PathPosterior
from dyninfer.fractional.inference.prior import LinearPrior
from dyninfer.fractional.inference.series import Series
from dyninfer.fractional.inference.starts import FirstStates
from dyninfer.fractional.inference.video import FrameDecoder, FrameEncoder

__all__ = [
    "BoundObjective",
    "Control",
    "Encoding",
    "Equation",
    "ExactModel",
    "FirstStates",
    "FittedEquation",
    "FrameDecoder",
    "FrameEncoder",
    "Guided",
    "Layout",
    "LinearPrior",
    "NeuralModel",
    "Parts",
    "PathPosterior",
    "Readout",
    "RecurrentEncoder",
    "Series",
    "build_model",
    "check_continuous",
    "check_knots",
    "check_moving",
    "exact_log_likelihood",
    "exact_posterior",
    "facts_of",
    "fit_by_bound",
    "guided_paths",
    "index_facts",
    "maximise",
    "scaling_of",
]
