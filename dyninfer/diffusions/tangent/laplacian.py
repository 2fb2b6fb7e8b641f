"""Eigenvectors of the connection Laplacian: the smoothest tangent fields on a cloud of points."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy import ndarray
from scipy import sparse
from scipy.sparse.linalg import eigsh

from dyninfer.diffusions.tangent.frames import Cloud, nearest_rotation, taper
from dyninfer.learning.random import numpy_stream


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues and tangent eigenfields.

    Attributes
    ----------
    values : array ``(r,)``
        Eigenvalues ``λ`` of ``I − P``, from the smallest.
    fields : array ``(n, d, r)``
        Fields in the frames of the points, of mean square 1.
    density : array ``(n,)``
        Sum of the weights at every point, before the correction for density.
    laplacian : array ``(r,)``
        Eigenvalues of the Laplacian, per squared unit of length: ``2 d λ`` over the mean square of
        the steps that ``P`` averages over.
    """

    values: ndarray
    fields: ndarray
    density: ndarray
    laplacian: ndarray

    def smoothest(self, most: float) -> Spectrum:
        """Eigenpairs with values of at most ``most``; one at least."""
        n_smooth = max(1, int((self.values <= most).sum()))
        return replace(
            self,
            values=self.values[:n_smooth],
            fields=self.fields[:, :, :n_smooth],
            laplacian=self.laplacian[:n_smooth],
        )


def connection_spectrum(cloud: Cloud, n_eigen: int, seed: int = 0) -> Spectrum:
    r"""Smallest eigenpairs of ``I − P``, where ``P`` averages what neighbours carry to a point.

    .. math:: (P v)_i = \frac{1}{m_i} \sum_j \frac{w_{ij}}{q_i q_j} O_{ij} v_j, \qquad
        q_i = \sum_j w_{ij}, \qquad m_i = \sum_j \frac{w_{ij}}{q_i q_j}

    Division by the density ``q`` makes the limit the Laplacian of the surface however the points
    are spread (Coifman and Lafon, 2006, α = 1). ``P`` is similar to a symmetric matrix, whose
    largest eigenvalues are found.
    """
    n, k = cloud.neighbors.shape
    d = cloud.dimension
    weights = np.exp(-0.5 * (cloud.distances / cloud.bandwidth) ** 2)
    weights *= taper(cloud.distances, cloud.distances[:, -1:])
    rows = np.repeat(np.arange(n), k)
    columns = cloud.neighbors.ravel()
    graph = sparse.csr_array((weights.ravel(), (rows, columns)), shape=(n, n))
    # A point counts as its own neighbour once, so that no density is zero.
    graph = 0.5 * (graph + graph.T) + sparse.eye_array(n)
    density = graph.sum(1)
    graph = graph.multiply(1 / density[:, None]).multiply(1 / density[None, :])
    mass = graph.sum(1)
    root = np.sqrt(mass)
    graph = graph.multiply(1 / root[:, None]).multiply(1 / root[None, :]).tocsr()
    operator = _with_rotations(graph, cloud.frames)
    start = numpy_stream(seed, "eigenvectors").normal(size=n * d)
    values, vectors = eigsh(operator, k=n_eigen, which="LA", v0=start)
    # The largest of P are the smallest of I − P.
    order = np.argsort(-values)
    fields = vectors[:, order].reshape(n, d, n_eigen) / root[:, None, None]
    size = np.sqrt(np.square(fields).sum((0, 1)) / n)
    squares = _mean_square_step(cloud, graph, root)
    decay = 1 - values[order]
    return Spectrum(decay, fields / size, density, 2 * d * decay / squares)


def _mean_square_step(cloud: Cloud, graph: sparse.csr_array, root: ndarray) -> float:
    """Mean of ``Σ_j P_ij |x_i − x_j|²`` over points, from the symmetric ``graph``."""
    edges = graph.tocoo()
    rows, columns = edges.coords
    differences = cloud.points[rows] - cloud.points[columns]
    squares = np.square(differences).sum(1)
    # P and the symmetric matrix are similar by the root of the mass.
    shares = edges.data * root[columns] / root[rows]
    return float(shares @ squares) / len(root)


def _with_rotations(graph: sparse.csr_array, frames: ndarray) -> sparse.bsr_array:
    """Every weight ``(i, j)`` times the rotation that carries a vector from ``j`` to ``i``."""
    rows = np.repeat(np.arange(len(frames)), np.diff(graph.indptr))
    columns = graph.indices
    overlap = frames[rows].swapaxes(1, 2) @ frames[columns]
    rotation = nearest_rotation(torch.as_tensor(overlap)).numpy()
    blocks = graph.data[:, None, None] * rotation
    return sparse.bsr_array((blocks, columns, graph.indptr))
