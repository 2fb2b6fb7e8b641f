"""What the transport methods minimise: the action, its dual problem, regression on interpolants, the bridge.

Drawing belongs to ``curves`` and to the coupled samples here, networks and the loop to ``learning``.
"""

from dyninfer.transport.objectives.action import ActionObjective
from dyninfer.transport.objectives.bound import kl_bound
from dyninfer.transport.objectives.bridge import BridgeObjective
from dyninfer.transport.objectives.coupled import CoupledSamples, Ends
from dyninfer.transport.objectives.dual import DualObjective
from dyninfer.transport.objectives.objective import MatchingBatch, MatchingObjective
from dyninfer.transport.objectives.rows import SameRows

__all__ = [
    "ActionObjective",
    "BridgeObjective",
    "CoupledSamples",
    "Ends",
    "DualObjective",
    "MatchingBatch",
    "MatchingObjective",
    "SameRows",
    "kl_bound",
]
