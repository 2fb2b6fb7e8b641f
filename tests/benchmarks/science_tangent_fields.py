"""Tangent fields against channels alone and against neighbours: on a sphere, where the truth is known, and on embryoid bodies.

DYNINFER_DATA=... python tests/benchmarks/science_tangent_fields.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import anndata
import numpy as np
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

# The folders that `benchmarks` and `estimators` are in.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.science import Rows, parser_of, print_tables
from estimators.test_vector_field import field, fit, random_sphere, scalar_fields

import dyninfer as di
from dyninfer.diffusions.tangent import Cloud
from dyninfer.metrics.velocities import score_velocities


def texts(*scores: dict[str, float]) -> list[str]:
    """Alignment and relative error of every method."""
    return [f"{s['alignment']:.3f}, {s['relative_error']:.3f}" for s in scores]


def sphere() -> tuple[list[str], Rows]:
    """Noise of velocities, and the share of the 2,000 cells that have one; scored on the others."""

    def rows() -> Rows:
        x = random_sphere(2000)
        v = field(x)
        for noise, share in [(0.5, 0.5), (0.5, 0.05), (0.0, 0.5)]:
            rng = np.random.default_rng(1)
            y = v + noise * rng.normal(size=v.shape)
            is_observed = rng.random(len(x)) < share
            model = fit(x, np.where(is_observed[:, None], y, np.nan))
            others = ~is_observed
            channels = scalar_fields(Cloud.of(x, 40), x, y, is_observed)
            predictions = (
                model.predict(x[others])[0],
                channels[others],
                model.predict_from_neighbors(x[others]),
            )
            scores = [score_velocities(v[others], prediction) for prediction in predictions]
            yield [f"{noise:g}", f"{share:g}", *texts(*scores)]

    return ["noise", "share", "connection", "channels alone", "5 neighbours"], rows()


def embryoid() -> tuple[list[str], Rows]:
    """Observed velocities of a fifth of the cells, held out."""

    def rows() -> Rows:
        adata = di.datasets.embryoid_body()
        for d in (5, 10):
            x = adata.obsm["X_pca"][:, :d]
            v = adata.obsm["velocity_pca"][:, :d]
            cells = anndata.AnnData(obs=adata.obs, obsm={"X_pca": x, "velocity_pca": v})
            rng = np.random.default_rng(0)
            is_out = rng.random(len(x)) < 0.2
            model = di.VectorFieldGP()
            names = list(cells.obs_names[is_out])
            model.fit(cells, velocity_key="velocity_pca", hold_out=names)
            row = model.evaluate(cells).iloc[0]
            ours = {"alignment": row["alignment"], "relative_error": row["relative_error"]}
            nearest = {name: row[f"{name}_neighbors"] for name in ours}
            train = np.flatnonzero(~is_out)
            few = train[rng.permutation(len(train))[:800]]
            z, unit = x / x.std(), v.std()
            kernel = ConstantKernel(1) * RBF(1) + WhiteKernel(0.5)
            # Hyperparameters from 800 cells: all of them take minutes.
            first = GaussianProcessRegressor(kernel).fit(z[few], v[few] / unit)
            whole = GaussianProcessRegressor(first.kernel_, optimizer=None)
            whole.fit(z[train], v[train] / unit)
            alone = score_velocities(v[is_out], whole.predict(z[is_out]) * unit)
            mean = score_velocities(v[is_out], np.broadcast_to(v[train].mean(0), v[is_out].shape))
            coverage = f"{row['coverage']:.3f}"
            yield [str(d), str(model.dimension_), *texts(ours, alone, nearest, mean), coverage]

    head = ["PCs", "dimension", "connection", "plain GP", "5 neighbours", "mean", "coverage"]
    return head, rows()


TABLES = {"sphere": sphere, "embryoid": embryoid}

if __name__ == "__main__":
    print_tables(parser_of(TABLES, __doc__), TABLES, of_data=["embryoid"])
