"""Fractional noise: exact motion, its Markov approximation, and estimators of its Hurst index."""

from dyninfer.fractional.displacement import MSDExponent, msd_exponent
from dyninfer.fractional.hurst import (
    HurstEstimate,
    hurst_dfa,
    hurst_mle,
    hurst_rs,
    hurst_variogram,
    hurst_whittle,
)
from dyninfer.fractional.hurst_function import HurstFunction, MultifractionalFit, fit_multifractional
from dyninfer.fractional.incomplete_gamma import gamma_p, gamma_q, scaled_gamma_q
from dyninfer.fractional.markov import MarkovApproximation
from dyninfer.fractional.motion import FractionalBrownianMotion
from dyninfer.fractional.multifractional import (
    approximate_covariance,
    multifractional_covariance,
    sample_multifractional,
)

__all__ = [
    "FractionalBrownianMotion",
    "HurstEstimate",
    "HurstFunction",
    "MSDExponent",
    "MarkovApproximation",
    "MultifractionalFit",
    "approximate_covariance",
    "fit_multifractional",
    "gamma_p",
    "gamma_q",
    "hurst_dfa",
    "hurst_mle",
    "hurst_rs",
    "hurst_variogram",
    "hurst_whittle",
    "msd_exponent",
    "multifractional_covariance",
    "sample_multifractional",
    "scaled_gamma_q",
]
