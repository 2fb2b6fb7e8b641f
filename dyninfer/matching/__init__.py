"""Regression on interpolants: coupled samples, the quadratic losses, the bridge and the bound."""

from dyninfer.matching.bound import kl_bound
from dyninfer.matching.bridge import BridgeObjective
from dyninfer.matching.coupled import CoupledSamples, Ends
from dyninfer.matching.objective import MatchingBatch, MatchingObjective
from dyninfer.matching.rows import SameRows

__all__ = [
    "BridgeObjective",
    "CoupledSamples",
    "Ends",
    "MatchingBatch",
    "MatchingObjective",
    "SameRows",
    "kl_bound",
]
