"""Systems whose dynamics are known, to check estimators and solvers against."""

from dyninfer.simulators.base import Simulator
from dyninfer.simulators.branching import BranchingPopulation
from dyninfer.simulators.double_well import DoubleWell
from dyninfer.simulators.hydrogen import HydrogenSuperposition
from dyninfer.simulators.ornstein_uhlenbeck import OrnsteinUhlenbeck
from dyninfer.simulators.quantum import FreeWavePacket, HarmonicWavePacket
from dyninfer.simulators.toggle import ToggleWithGrowth

__all__ = [
    "BranchingPopulation",
    "DoubleWell",
    "FreeWavePacket",
    "HarmonicWavePacket",
    "HydrogenSuperposition",
    "OrnsteinUhlenbeck",
    "Simulator",
    "ToggleWithGrowth",
]
