"""Couplings: who at one time is paired with whom at the next.

One kind a file, the solvers of their problems (``emd``, ``sinkhorn``), and the coupled samples that
objectives draw from. How a pair moves in between belongs to ``interpolants`` and ``curves``.
"""

from __future__ import annotations

from dyninfer.learning.settings import brief
from dyninfer.transport.couplings.base import BlockCoupling, Coupling
from dyninfer.transport.couplings.chains import Chains, sample_chains, sample_weighted_chains
from dyninfer.transport.couplings.cone import ConeCoupling
from dyninfer.transport.couplings.density_ratio import DensityRatio
from dyninfer.transport.couplings.entropic import EntropicOTCoupling
from dyninfer.transport.couplings.exact import OTCoupling
from dyninfer.transport.couplings.given import GivenPairs
from dyninfer.transport.couplings.growth_first import GrowthFirstCoupling
from dyninfer.transport.couplings.independent import IndependentCoupling
from dyninfer.transport.couplings.natural import natural_couplings
from dyninfer.transport.couplings.plan import NOTHING, Plan
from dyninfer.transport.couplings.priced import (
    growth_penalty_of,
    priced_couplings,
    scaled_samples,
    suggested_growth_penalty,
)
from dyninfer.transport.couplings.problem import TransportProblem
from dyninfer.transport.couplings.reweighting import UnbalancedWeights
from dyninfer.transport.couplings.samples import Coupled, CoupledSamples, check_conserved
from dyninfer.transport.couplings.sparse import SparseOTCoupling
from dyninfer.transport.couplings.unbalanced import UnbalancedOTCoupling

COUPLINGS: dict[str, type[Coupling]] = {
    "independent": IndependentCoupling,
    "ot": OTCoupling,
    "unbalanced": UnbalancedOTCoupling,
    "entropic": EntropicOTCoupling,
    "sparse": SparseOTCoupling,
    "cone": ConeCoupling,
    "growth_first": GrowthFirstCoupling,
}


def as_coupling(coupling: str | Coupling) -> Coupling:
    """Turn a name or a coupling into a coupling; a ValueError lists the names."""
    if isinstance(coupling, Coupling):
        return coupling
    if not isinstance(coupling, str) or coupling not in COUPLINGS:
        names = ", ".join(COUPLINGS)
        raise ValueError(
            f"coupling {brief(coupling)} is not known; choose one of {names}, or give a Coupling"
        )
    return COUPLINGS[coupling]()


def uses_growth(coupling: str | Coupling) -> bool:
    """Whether a coupling, or one of this name, starts from the growth that the data expect."""
    return coupling != "auto" and as_coupling(coupling).uses_growth


__all__ = [
    "COUPLINGS",
    "NOTHING",
    "BlockCoupling",
    "Chains",
    "ConeCoupling",
    "Coupled",
    "CoupledSamples",
    "Coupling",
    "DensityRatio",
    "EntropicOTCoupling",
    "GivenPairs",
    "GrowthFirstCoupling",
    "IndependentCoupling",
    "OTCoupling",
    "Plan",
    "SparseOTCoupling",
    "TransportProblem",
    "UnbalancedOTCoupling",
    "UnbalancedWeights",
    "as_coupling",
    "check_conserved",
    "growth_penalty_of",
    "natural_couplings",
    "priced_couplings",
    "sample_chains",
    "sample_weighted_chains",
    "scaled_samples",
    "suggested_growth_penalty",
    "uses_growth",
]
