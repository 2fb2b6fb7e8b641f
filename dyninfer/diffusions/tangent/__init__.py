"""Tangent fields on a cloud of points: neighbours, connection Laplacian, regression, extension.

Here belongs what knows the shape of the data and vectors tangent to it. Drifts in a flat space
belong to the other rooms of ``diffusions``, and what reads an AnnData to ``estimators``.
"""

from dyninfer.diffusions.tangent.frames import Cloud
from dyninfer.diffusions.tangent.laplacian import Spectrum, connection_spectrum
from dyninfer.diffusions.tangent.process import LEAST_KEPT, TangentField
from dyninfer.diffusions.tangent.regression import Posterior, Statistics, fit_posterior

__all__ = [
    "LEAST_KEPT",
    "Cloud",
    "Posterior",
    "Spectrum",
    "Statistics",
    "TangentField",
    "connection_spectrum",
    "fit_posterior",
]
