"""Inference of equations with fractional noise from paths: exact where all is Gaussian, else by a bound."""

from dyninfer.fractional.inference.bound import Guided, guided_paths
from dyninfer.fractional.inference.encoder import Encoding, RecurrentEncoder
from dyninfer.fractional.inference.exact import ExactModel
from dyninfer.fractional.inference.fitting import default_training, fit_by_bound
from dyninfer.fractional.inference.likelihood import (
    exact_log_likelihood,
    exact_posterior,
    hurst_information,
    maximise,
)
from dyninfer.fractional.inference.neural import NeuralModel, Parts
from dyninfer.fractional.inference.prior import LinearPrior
from dyninfer.fractional.inference.process import process_of
from dyninfer.fractional.inference.series import Series, check_moving, facts_of
from dyninfer.fractional.inference.video import FrameDecoder, FrameEncoder

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
