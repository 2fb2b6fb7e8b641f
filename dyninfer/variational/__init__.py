"""Inference of equations with fractional noise from paths: exact where all is Gaussian, else by a bound."""

from dyninfer.variational.bound import Guided, guided_paths
from dyninfer.variational.likelihood import exact_log_likelihood, exact_posterior, hurst_information, maximise
from dyninfer.variational.prior import LinearPrior
from dyninfer.variational.series import Series, check_moving

__all__ = [
    "Guided",
    "LinearPrior",
    "Series",
    "check_moving",
    "exact_log_likelihood",
    "exact_posterior",
    "guided_paths",
    "hurst_information",
    "maximise",
]
