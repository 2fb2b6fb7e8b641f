"""Fractional noise: exact motion, its Markov approximation, and estimators of its Hurst index."""

from dyninfer.fractional.incomplete_gamma import gamma_p, gamma_q, scaled_gamma_q
from dyninfer.fractional.markov import MarkovApproximation
from dyninfer.fractional.motion import FractionalBrownianMotion

__all__ = ["FractionalBrownianMotion", "MarkovApproximation", "gamma_p", "gamma_q", "scaled_gamma_q"]
