"""Inference of equations with fractional noise from paths: exact where all is Gaussian, else by a bound."""

from dyninfer.variational.bound import Guided, guided_paths
from dyninfer.variational.encoder import Encoding, RecurrentEncoder
from dyninfer.variational.exact import ExactModel
from dyninfer.variational.fitting import default_training, fit_by_bound
from dyninfer.variational.likelihood import exact_log_likelihood, exact_posterior, hurst_information, maximise
from dyninfer.variational.neural import NeuralModel, Parts
from dyninfer.variational.prior import LinearPrior
from dyninfer.variational.process import process_of
from dyninfer.variational.series import Series, check_moving, facts_of
from dyninfer.variational.video import FrameDecoder, FrameEncoder

__all__ = [
    "Encoding",
    "ExactModel",
    "FrameDecoder",
    "FrameEncoder",
    "Guided",
    "LinearPrior",
    "NeuralModel",
    "Parts",
    "RecurrentEncoder",
    "Series",
    "check_moving",
    "default_training",
    "exact_log_likelihood",
    "exact_posterior",
    "facts_of",
    "fit_by_bound",
    "guided_paths",
    "hurst_information",
    "maximise",
    "process_of",
]
