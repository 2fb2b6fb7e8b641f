"""A tangent field from velocities of cells that lie on a surface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dyninfer.data.arrays import as_array
from dyninfer.data.representation import check_finite
from dyninfer.data.velocities import Velocities
from dyninfer.data.words import counted
from dyninfer.diffusions import ScaledDiffusion
from dyninfer.diffusions.tangent import (
    LEAST_KEPT,
    Cloud,
    Statistics,
    TangentField,
    connection_spectrum,
    fit_posterior,
)
from dyninfer.estimators.base import Outcome, Run
from dyninfer.estimators.fields import FieldEstimator
from dyninfer.learning.scaling import Scaling
from dyninfer.learning.settings import check_count
from dyninfer.learning.warn import warn

# In bandwidths; points lie about one from their nearest neighbours.
_FAR = 4.0


@dataclass(kw_only=True, repr=False, eq=False)
class VectorFieldGP(FieldEstimator):
    r"""Gaussian process of tangent vectors on the surface that cells lie on.

    Velocities ``v_i`` at positions ``x_i``, noisy or missing, are regressed on the smoothest
    tangent fields that the positions allow; the posterior of their weights is exact:

    .. math:: v_i = T_i \Big(\sum_l c_l \varphi_l(x_i) + \eta\,\epsilon_i\Big), \qquad
        L \varphi_l = \lambda_l \varphi_l, \qquad
        c_l \sim N\big(0, a^2 (2\nu/\kappa^2 + \lambda_l)^{-\nu - d/2}\big)

    ``T_i`` spans the tangent plane. ``L`` is the connection Laplacian, which compares vectors of
    neighbours after rotating one plane into the other. The amplitude ``a``, the length ``κ`` and
    the noise ``η`` maximise the evidence.

    Use it to smooth and fill in RNA velocities with errors, and to follow them without leaving the
    data. If velocities are exact, a separate Gaussian process for each feature is better.

    Parameters
    ----------
    dimension : int, optional
        Dimension ``d`` of the surface; None estimates it from the spread of neighbours.
    n_neighbors : int
        Neighbours of a cell. Fewer resolve finer shapes; more average out noise in the positions.
    n_eigen : int
        Largest number of eigenfields; those that the graph cannot resolve are left out.

    Attributes
    ----------
    process_ : ScaledDiffusion
        A flow whose drift also returns states that have left the surface.
    dimension_ : int
    noise_ : float
        ``η``, in the units of the velocities.
    history_ : DataFrame
        One row: ``loss``, minus the log-evidence of a component in nats, standardised; and
        ``amplitude``, ``length``, ``noise``, also standardised.

    References
    ----------
    Peach et al. Implicit Gaussian process representation of vector fields over arbitrary latent
    manifolds. ICLR 2024, arXiv 2309.16746. Singer, Wu. Vector diffusion maps and the connection
    Laplacian. Commun. Pure Appl. Math. 65, 2012.

    Examples
    --------
    >>> import anndata
    >>> import numpy as np
    >>> import dyninfer as di
    >>> angle = np.linspace(0, 2 * np.pi, 300, endpoint=False)
    >>> circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    >>> turned = np.stack([-circle[:, 1], circle[:, 0]], axis=1)
    >>> cells = anndata.AnnData(obsm={"X_pca": circle, "velocity_pca": turned})
    >>> model = di.VectorFieldGP(dimension=1).fit(cells, velocity_key="velocity_pca")
    >>> half_turn = model.simulate(np.array([[1.0, 0.0]]), [0.0, np.pi])
    >>> bool(abs(half_turn.at(np.pi)[0, 0] + 1) < 0.02)
    True
    """

    citation: ClassVar[str] = (
        "@inproceedings{peach2024implicit,\n"
        "  title={Implicit Gaussian process representation of vector fields over arbitrary latent "
        "manifolds},\n"
        "  author={Peach, Robert L. and Vinao-Carl, Matteo and Grossman, Nir and David, Michael "
        "and Mallas, Emma and Sharp, David J. and Malhotra, Paresh A. and Vandergheynst, Pierre "
        "and Gosztolai, Adam},\n"
        "  booktitle={International Conference on Learning Representations},\n  year={2024}\n}"
    )

    dimension: int | None = None
    n_neighbors: int = 40
    n_eigen: int = 100

    def check(self) -> None:
        """Raise a ValueError or TypeError that names an invalid setting."""
        if self.dimension is not None:
            check_count(self.dimension, "dimension")
        check_count(self.n_eigen, "n_eigen")
        if check_count(self.n_neighbors, "n_neighbors") < 2:
            raise ValueError("n_neighbors must be at least 2, found 1")

    def facts(self, data: Velocities, seed: int = 0) -> dict[str, Any]:
        """Number of points; ``learn`` adds what the graph shows."""
        n, n_features = data.points.shape
        if n <= self.n_neighbors:
            raise ValueError(
                f"n_neighbors={self.n_neighbors} needs at least {self.n_neighbors + 1} cells, and "
                f"there are {n}; lower it"
            )
        if self.dimension is not None and self.dimension > n_features:
            raise ValueError(
                f"dimension={self.dimension} is more than the {counted(n_features, 'feature')} of "
                "the data; lower it"
            )
        return {"n": n, "dimension": self.dimension or n_features, "n_eigen": 1, "noise": 0.0}

    def build(self, data: Velocities | None, scaling: Scaling) -> ScaledDiffusion:
        """Return the process without a field, in the user's units."""
        facts = self.facts_
        inner = TangentField(
            facts["n"],
            scaling.n_features,
            facts["dimension"],
            facts["n_eigen"],
            self.n_neighbors,
        )
        return ScaledDiffusion(inner, scaling)

    def learn(self, process: Any, data: Velocities, run: Run) -> Outcome:
        """Find the eigenfields and solve the regression: there are no steps of training."""
        scaling = self.scaling_
        points = scaling.states(data.points.astype(np.float64))
        values = torch.as_tensor(data.values.astype(np.float64))
        velocities = scaling.velocities(values).numpy()
        cloud = Cloud.of(points, self.n_neighbors, self.dimension)
        n, d = len(points), cloud.dimension
        # Lanczos' method finds fewer eigenvectors than there are.
        n_eigen = min(self.n_eigen, n * d - 2)
        spectrum = connection_spectrum(cloud, n_eigen, run.seed)
        spectrum = spectrum.smoothest(1 - LEAST_KEPT)
        is_observed = data.is_observed
        components = np.einsum("nDd,nD->nd", cloud.frames, velocities)
        features = spectrum.fields[is_observed].reshape(-1, len(spectrum.values))
        statistics = Statistics.of(features, components[is_observed].ravel())
        posterior = fit_posterior(statistics, spectrum.laplacian, d)
        # A file holds the facts, from which a saved process is built.
        self.facts_ |= {"dimension": d, "n_eigen": len(spectrum.values)}
        self.facts_["noise"] = posterior.noise * scaling.unit / scaling.duration
        process = self.build(data, scaling)
        process.inner.learn(cloud, spectrum, posterior, velocities)
        row = {
            "step": 1,
            "loss": -posterior.log_evidence / statistics.n,
            "amplitude": posterior.amplitude,
            "length": posterior.length,
            "noise": posterior.noise,
        }
        return Outcome(history=pd.DataFrame([row]), status="finished", process=process)

    def predict(self, x: Any) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the field at positions, without observation errors.

        Parameters
        ----------
        x : array ``(n, feature)`` or AnnData

        Returns
        -------
        mean, deviation : array ``(n, feature)``
            In the tangent planes, in the units of the velocities.
        """
        self._check_fitted()
        z = self._scaled(x)
        self._warn_of_far(z)
        with torch.no_grad():
            mean, deviation = self.process_.inner.tangent(z)
        scaling = self.scaling_
        velocity = scaling.user_velocities(mean).numpy(force=True)
        spread = scaling.user_velocities(deviation).numpy(force=True)
        return velocity, spread

    def predict_from_neighbors(self, x: np.ndarray, n_neighbors: int = 5) -> np.ndarray:
        """Mean observed velocity of the nearest cells, in the tangent planes."""
        n_neighbors = check_count(n_neighbors, "n_neighbors")
        n_known = int(self.process_.inner.velocities.isfinite().all(1).sum())
        if n_neighbors >= n_known:
            raise ValueError(
                f"n_neighbors={n_neighbors} of {n_known} cells with a velocity leaves only the "
                "cell itself; lower it"
            )
        z = self._scaled(x)
        with torch.no_grad():
            mean = self.process_.inner.neighbors_mean(z, n_neighbors)
            frames = self.process_.inner.planes(z)
        along = _projected(frames, mean)
        return self.scaling_.user_velocities(along).numpy(force=True)

    def along(self, x: np.ndarray, values: np.ndarray) -> np.ndarray:
        """The part of vectors ``(n, feature)`` in the tangent planes."""
        with torch.no_grad():
            frames = self.process_.inner.planes(self._scaled(x))
        vectors = torch.as_tensor(values).to(frames)
        return _projected(frames, vectors).numpy(force=True)

    def noise_at(self, x: np.ndarray) -> np.ndarray:
        """Standard deviation of the errors along the surface ``(n, feature)``."""
        with torch.no_grad():
            frames = self.process_.inner.planes(self._scaled(x))
        # Errors are the same in every direction of the plane, which a feature lies in by its part.
        parts = frames.square().sum(2).sqrt()
        return self.noise_ * parts.numpy(force=True)

    @property
    def dimension_(self) -> int:
        """Dimension of the surface."""
        self._check_fitted()
        return self.facts_["dimension"]

    @property
    def noise_(self) -> float:
        """Standard deviation of the error of one velocity component."""
        self._check_fitted()
        return self.facts_["noise"]

    def _scaled(self, x: Any) -> Tensor:
        states = self._starting(x).states
        array = as_array(states, "x").astype(np.float64)
        if array.ndim != 2:
            raise ValueError(f"x must be (n, feature), found shape {array.shape}")
        points = self.process_.inner.points
        check_finite(array, "x")
        z = self.scaling_.states(torch.as_tensor(array))
        return z.to(points)

    def _warn_of_places(self, x: Any) -> None:
        if getattr(x, "ndim", 0) == 2 and len(x):
            self._warn_of_far(self._scaled(x))

    def _warn_of_far(self, z: Tensor) -> None:
        """Warn where states lie far from every cell, where the field is only continued."""
        with torch.no_grad():
            is_far = self.process_.inner.distance(z) > _FAR
        n_far = int(is_far.sum())
        if n_far:
            warn(
                f"{n_far} of {len(z)} positions lie far from every cell of the fit, "
                "where the field is that of the nearest cells and its errors are understated"
            )


def _projected(frames: Tensor, vectors: Tensor) -> Tensor:
    """Part of vectors ``(n, D)`` in planes ``(n, D, d)``."""
    components = frames.mT @ vectors[..., None]
    return (frames @ components)[..., 0]
