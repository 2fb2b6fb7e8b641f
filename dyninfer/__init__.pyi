"""Public names and where they are: for type checkers, and read by `dyninfer/__init__.py`.

As in every stub, `as` with the same name exports what is imported.
"""

from dyninfer import datasets as datasets
from dyninfer import metrics as metrics
from dyninfer import plotting, tools
from dyninfer import simulators as simulators
from dyninfer import testing as testing
from dyninfer.data.paths import Paths as Paths
from dyninfer.data.snapshots import Snapshots as Snapshots
from dyninfer.data.time_labels import read_times as read_times
from dyninfer.data.trajectories import Trajectories as Trajectories
from dyninfer.diffusions import Diffusion as Diffusion
from dyninfer.diffusions.regression import Bins as Bins
from dyninfer.diffusions.regression import Polynomials as Polynomials
from dyninfer.estimators import Estimator as Estimator
from dyninfer.estimators import load as load
from dyninfer.estimators.action_matching import ActionMatching as ActionMatching
from dyninfer.estimators.drift_families import DriftFamilies as DriftFamilies
from dyninfer.estimators.fields import FieldEstimator as FieldEstimator
from dyninfer.estimators.fractional_sde import FractionalSDE as FractionalSDE
from dyninfer.estimators.kramers_moyal import KramersMoyal as KramersMoyal
from dyninfer.estimators.lagrangian_flow import (
    WassersteinLagrangianFlow as WassersteinLagrangianFlow,
)
from dyninfer.estimators.markov_jump import MarkovJumpInference as MarkovJumpInference
from dyninfer.estimators.paths import PathEstimator as PathEstimator
from dyninfer.estimators.snapshots import SnapshotEstimator as SnapshotEstimator
from dyninfer.estimators.stochastic_interpolant import (
    StochasticInterpolant as StochasticInterpolant,
)
from dyninfer.estimators.vector_field import VectorFieldGP as VectorFieldGP
from dyninfer.fractional.localisation import Localisation as Localisation
from dyninfer.fractional.process import FractionalDiffusion as FractionalDiffusion
from dyninfer.fractional.settings import Exact as Exact
from dyninfer.fractional.settings import FractionalNoise as FractionalNoise
from dyninfer.fractional.settings import Latent as Latent
from dyninfer.fractional.settings import Observed as Observed
from dyninfer.fractional.settings import Variational as Variational
from dyninfer.fractional.views import View as View
from dyninfer.jumps.channels import IdenticalChannels as IdenticalChannels
from dyninfer.jumps.covariates import Covariates as Covariates
from dyninfer.jumps.covariates import Periods as Periods
from dyninfer.jumps.dwell import ApparentDwellTimes as ApparentDwellTimes
from dyninfer.jumps.dwell import DwellTimes as DwellTimes
from dyninfer.jumps.likelihood.discretize import KMeansStates as KMeansStates
from dyninfer.jumps.likelihood.discretize import MixtureStates as MixtureStates
from dyninfer.jumps.process import MarkovJump as MarkovJump
from dyninfer.jumps.settings import AllJumps as AllJumps
from dyninfer.jumps.settings import BirthDeath as BirthDeath
from dyninfer.jumps.settings import Clones as Clones
from dyninfer.jumps.settings import Confusion as Confusion
from dyninfer.jumps.settings import ExactLabels as ExactLabels
from dyninfer.jumps.settings import ExactTimes as ExactTimes
from dyninfer.jumps.settings import Gaussian as Gaussian
from dyninfer.jumps.settings import Labels as Labels
from dyninfer.jumps.settings import Only as Only
from dyninfer.jumps.settings import Reversible as Reversible
from dyninfer.learning.training import Training as Training
from dyninfer.simulation import log_density as log_density
from dyninfer.simulation import log_density_with_noise as log_density_with_noise
from dyninfer.simulation import simulate as simulate
from dyninfer.simulation import solvers as solvers
from dyninfer.transport.couplings import ConeCoupling as ConeCoupling
from dyninfer.transport.couplings import DensityRatio as DensityRatio
from dyninfer.transport.couplings import EntropicOTCoupling as EntropicOTCoupling
from dyninfer.transport.couplings import GivenPairs as GivenPairs
from dyninfer.transport.couplings import GrowthFirstCoupling as GrowthFirstCoupling
from dyninfer.transport.couplings import IndependentCoupling as IndependentCoupling
from dyninfer.transport.couplings import OTCoupling as OTCoupling
from dyninfer.transport.couplings import SparseOTCoupling as SparseOTCoupling
from dyninfer.transport.couplings import UnbalancedOTCoupling as UnbalancedOTCoupling
from dyninfer.transport.couplings import UnbalancedWeights as UnbalancedWeights
from dyninfer.transport.curves import DensityCurve as DensityCurve
from dyninfer.transport.lagrangians import Congestion as Congestion
from dyninfer.transport.lagrangians import DataManifold as DataManifold
from dyninfer.transport.lagrangians import InternalEnergy as InternalEnergy
from dyninfer.transport.lagrangians import MeanAcceleration as MeanAcceleration
from dyninfer.transport.lagrangians import OptimalTransport as OptimalTransport
from dyninfer.transport.lagrangians import PhysicalPotential as PhysicalPotential
from dyninfer.transport.lagrangians import SchrodingerBridge as SchrodingerBridge
from dyninfer.transport.lagrangians import UnbalancedTransport as UnbalancedTransport

# A name of its own is exported from a stub by assignment only.
pl = plotting
tl = tools

__version__: str
