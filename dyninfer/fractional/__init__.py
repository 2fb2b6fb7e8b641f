"""Equations with memory: motion driven by fractional noise, and its Hurst index.

Here belong the noise (``noise/``), the process that it drives and how it is run, closed forms of
Gaussian chains (``gaussian/``), inference from paths (``inference/``), and the settings of it. The
estimator that a user fits does not: it is ``estimators/fractional_sde.py``. Nor do transport
between snapshots and jumps between states, which have rooms of their own.
"""

from dyninfer.fractional.noise.blur import blurred_covariance
from dyninfer.fractional.noise.displacement import MSDExponent, msd_exponent
from dyninfer.fractional.noise.estimate import HurstEstimate
from dyninfer.fractional.noise.hurst import hurst_mle, hurst_whittle
from dyninfer.fractional.noise.hurst_function import (
    HurstFunction,
    MultifractionalFit,
    fit_multifractional,
)
from dyninfer.fractional.noise.incomplete_gamma import gamma_p, gamma_q, scaled_gamma_q
from dyninfer.fractional.noise.markov import MarkovApproximation
from dyninfer.fractional.noise.motion import FractionalBrownianMotion
from dyninfer.fractional.noise.multifractional import (
    approximate_covariance,
    multifractional_covariance,
    sample_multifractional,
)
from dyninfer.fractional.noise.scaling_laws import hurst_dfa, hurst_rs, hurst_variogram
from dyninfer.fractional.simulation import run_fractional_diffusion

__all__ = [
    "FractionalBrownianMotion",
    "HurstEstimate",
    "HurstFunction",
    "MSDExponent",
    "MarkovApproximation",
    "MultifractionalFit",
    "approximate_covariance",
    "blurred_covariance",
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
    "run_fractional_diffusion",
    "sample_multifractional",
    "scaled_gamma_q",
]
