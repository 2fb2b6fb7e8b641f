"""Systems whose dynamics are known, to check estimators and solvers against.

One file a system: its parameters are the fields of a frozen dataclass, and it gives the true
process, exact or well-resolved samples, and the closed forms that tests compare with. Real data are
in ``datasets``; how a process is run is in ``simulation``; made-up cases that serve one test stay
with that test.
"""

from dyninfer.simulators.alanine import AlanineDipeptide
from dyninfer.simulators.base import Simulator
from dyninfer.simulators.birth_death import BirthDeath
from dyninfer.simulators.bouncing_shapes import BouncingShapes
from dyninfer.simulators.branching import BranchingPopulation
from dyninfer.simulators.bursting_channel import BurstingChannel
from dyninfer.simulators.cell_states import CellStates
from dyninfer.simulators.double_well import DoubleWell
from dyninfer.simulators.flashing_ratchet import FlashingRatchet
from dyninfer.simulators.gene_network import BranchingNetwork
from dyninfer.simulators.ground_state import GroundState
from dyninfer.simulators.hydrogen import HydrogenSuperposition
from dyninfer.simulators.ion_channel import IonChannel
from dyninfer.simulators.ornstein_uhlenbeck import OrnsteinUhlenbeck
from dyninfer.simulators.patient_panel import PatientPanel
from dyninfer.simulators.protein_folding import ProteinFolding
from dyninfer.simulators.quantum import FreeWavePacket, HarmonicWavePacket
from dyninfer.simulators.toggle import ToggleWithGrowth

__all__ = [
    "AlanineDipeptide",
    "BirthDeath",
    "BouncingShapes",
    "BranchingNetwork",
    "BranchingPopulation",
    "BurstingChannel",
    "CellStates",
    "DoubleWell",
    "FlashingRatchet",
    "FreeWavePacket",
    "GroundState",
    "HarmonicWavePacket",
    "HydrogenSuperposition",
    "IonChannel",
    "OrnsteinUhlenbeck",
    "PatientPanel",
    "ProteinFolding",
    "Simulator",
    "ToggleWithGrowth",
]
