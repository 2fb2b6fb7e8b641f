"""Regression on interpolants: coupled samples, the quadratic losses, the bridge and the bound."""

from dyninfer.transport.objectives.bound import kl_bound
from dyninfer.transport.objectives.bridge import BridgeObjective
from dyninfer.transport.objectives.coupled import CoupledSamples, Ends
from dyninfer.transport.objectives.objective import MatchingBatch, MatchingObjective
from dyninfer.transport.objectives.rows import SameRows

__all__ = [
    "BridgeObjective",
    "CoupledSamples",
    "Ends",
    "MatchingBatch",
    "MatchingObjective",
    "SameRows",
    "kl_bound",
]
