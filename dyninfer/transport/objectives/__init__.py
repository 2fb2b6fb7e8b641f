"""What the transport methods minimise: an action, its dual problem, regression on interpolants.

Who is paired with whom belongs to ``couplings``, how a density moves in between to ``curves``;
networks and the training loop to ``learning``.
"""

from dyninfer.transport.objectives.action import ActionObjective
from dyninfer.transport.objectives.bound import kl_bound
from dyninfer.transport.objectives.bridge import BridgeObjective
from dyninfer.transport.objectives.dual import DualObjective
from dyninfer.transport.objectives.game import Game
from dyninfer.transport.objectives.matching import MatchingBatch, MatchingObjective
from dyninfer.transport.objectives.rows import SameRows

__all__ = [
    "ActionObjective",
    "BridgeObjective",
    "DualObjective",
    "Game",
    "MatchingBatch",
    "MatchingObjective",
    "SameRows",
    "kl_bound",
]
