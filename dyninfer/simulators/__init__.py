"""Systems whose dynamics are known, to check estimators and solvers against."""

from dyninfer.simulators.base import Simulator
from dyninfer.simulators.double_well import DoubleWell
from dyninfer.simulators.ornstein_uhlenbeck import OrnsteinUhlenbeck

__all__ = ["DoubleWell", "OrnsteinUhlenbeck", "Simulator"]
