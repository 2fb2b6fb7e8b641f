"""Names that the code of an odd input may use: plain data, fitted models, and builders of odd ones."""

import contextlib
import io
import os
import tempfile
from functools import cache
from pathlib import Path

import anndata
import matplotlib as mpl
import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch

import dyninfer as di
from dyninfer import fractional, report, testing
from dyninfer.cli.main import main
from dyninfer.data.arrays import as_tensor
from dyninfer.datasets import files
from dyninfer.fractional.process import FractionalDiffusion

__all__ = [
    "FractionalDiffusion",
    "Path",
    "anndata",
    "di",
    "fractional",
    "np",
    "pd",
    "report",
    "sp",
    "testing",
    "torch",
]

mpl.use("agg")  # pictures without a screen
N = 24  # cells at a time: more than the number below which a fit warns
QUICK = {"width": 4, "depth": 1}
unsplit = di.Training(validation_fraction=0)


def cells(k=0, n=N, d=2):
    """Cells at the k-th time, float32."""
    rng = np.random.default_rng(k)
    return rng.normal(0.4 * k, 1, (n, d)).astype(np.float32)


def marked(array, value, row=1):
    """A copy with one entry replaced."""
    array = np.array(array, dtype=np.result_type(np.asarray(array), type(value)))
    array.flat[row] = value
    return array


def snapshots(**columns):
    plain = {"times": [0, 1, 3], "samples": [cells(k) for k in range(3)]}
    return di.Snapshots(**(plain | columns))


def paths(n=6, length=8, **columns):
    """Paths of two features."""
    times = [np.arange(length) * 0.5 for _ in range(n)]
    states = [np.cumsum(cells(k, length), 0) for k in range(n)]
    return di.Paths(**({"times": times, "states": states} | columns))


def labels(n=8, length=10):
    """Paths of labels."""
    rng = np.random.default_rng(3)
    times = [np.arange(length) * 0.5 for _ in range(n)]
    return di.Paths(times=times, states=[rng.integers(0, 3, length) for _ in range(n)])


def adata(n=N):
    """Cells and tracks with a column and an array of every odd kind."""
    rows = 3 * n
    rng = np.random.default_rng(4)
    obs = pd.DataFrame(index=[f"c{i}" for i in range(rows)])
    obs["day"] = np.repeat([0.0, 1.0, 3.0], n)
    obs["track"] = np.tile([f"t{i}" for i in range(n)], 3)
    obs["state"] = pd.Categorical(rng.choice(["a", "b", "c"], rows))
    obs["weight"] = rng.uniform(0.5, 2, rows)
    obs["mass"] = np.repeat([1.0, 2.0, 3.0], n)
    obs["donor"] = pd.Categorical(np.tile(["d0", "d1"], rows // 2))
    obs["text"] = "words"
    obs["one"] = 1.0
    obs["zero"] = 0
    obs["nan"] = np.nan
    obs["half"] = np.where(np.arange(rows) % 2, np.nan, 1.0)
    obs["inf"] = np.where(obs["day"] == 1, np.inf, obs["day"])
    obs["huge"] = obs["day"] * 1e300
    obs["tiny"] = obs["day"] * 1e-300
    obs["unix"] = obs["day"] * 60 + 1.7e9
    obs["negative"] = -obs["day"] - 1
    obs["bool"] = obs["day"] > 0
    obs["dates"] = pd.Timestamp("2020-01-01") + pd.to_timedelta(obs["day"], unit="D")
    obs["span"] = pd.to_timedelta(obs["day"], unit="D")
    obs["nullable"] = obs["day"].astype("Int64").mask(obs["day"] == 3)
    obs["numbers as text"] = obs["day"].astype(str).astype("category")
    obs["every"] = np.arange(rows, dtype=float)
    obs["complex"] = obs["day"] + 1j
    x = np.concatenate([cells(k, n) for k in range(3)])
    made = anndata.AnnData(np.abs(x), obs=obs)
    made.obsm["X_pca"] = x
    made.obsm["nan"] = marked(x, np.nan, 5)
    made.obsm["inf"] = marked(x, np.inf, 5)
    made.obsm["huge"] = x.astype(float) * 1e200
    made.obsm["large"] = x.astype(float) * 1e30
    made.obsm["tiny"] = x.astype(float) * 1e-200
    made.obsm["constant"] = np.ones_like(x)
    made.obsm["half"] = x.astype(np.float16)
    made.obsm["whole"] = (10 * x).astype(int)
    made.obsm["bool"] = x > 0
    made.obsm["complex"] = x + 1j
    made.obsm["sparse"] = sp.csr_matrix(x)
    made.obsm["cube"] = x[:, :, None]
    made.obsm["empty"] = x[:, :0]
    made.obsm["single"] = x[:, :1]
    made.obsm["words"] = pd.DataFrame({"a": ["x"] * rows}, index=obs.index)
    made.obsm["frame"] = pd.DataFrame(x, index=obs.index, columns=["a", "b"])
    made.obsm["twice"] = pd.DataFrame(x, index=obs.index, columns=["a", "a"])
    return made


@cache
def fitted(name):
    """A quickly fitted model of each method."""
    quiet = {"progress": False, "max_steps": 3}
    if name == "MarkovJumpInference":
        return di.MarkovJumpInference().fit(labels(), progress=False)
    if name == "FractionalSDE":
        noise = di.FractionalNoise(n_nodes=2, hurst=0.5)
        return di.FractionalSDE(noise=noise).fit(paths(), **quiet)
    return getattr(di, name)(**QUICK).fit(snapshots(), **quiet)


@cache
def read_by_keys(name):
    """The same, fitted on an AnnData."""
    return getattr(di, name)(**QUICK).fit(
        adata(), time_key="day", use_rep="X_pca", progress=False, max_steps=3
    )


@cache
def trajectories():
    return fitted("ActionMatching").simulate(cells(0), [0, 1, 3])


@cache
def tree():
    """A folder with one file of every kind."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    fitted("ActionMatching").save(folder / "model.safetensors")
    read_by_keys("ActionMatching").save(folder / "keyed.safetensors")
    for suffix in (".h5ad", ".nc", ".zarr"):
        trajectories().save(folder / f"runs{suffix}")
    keep = ["day", "track", "state", "weight", "text", "nan"]
    small = adata()
    table = anndata.AnnData(small.X, obs=small.obs[keep], obsm={"X_pca": small.obsm["X_pca"]})
    table.write_h5ad(folder / "cells.h5ad")
    (folder / "empty").touch()
    (folder / "words.txt").write_text("some words\n")
    (folder / "noise.h5ad").write_bytes(np.random.default_rng(0).bytes(2000))
    (folder / "folder").mkdir()
    return folder


def place(name):
    """A path in the folder above."""
    return str(tree() / name)


def again(kind, name):
    """Save what is fitted to a place, and load it."""
    if kind == "trajectories":
        trajectories().save(name)
        return di.Trajectories.load(name)
    fitted(kind).save(name)
    return di.load(name)


@contextlib.contextmanager
def offline():
    """Nothing is fetched from the sources of data sets."""

    def refuse(entry, file):
        raise CommandRefused(f"dyninfer: {file.name} of data set {entry.name!r} is not here")

    download = files._download
    files._download = refuse
    try:
        yield
    finally:
        files._download = download


def shipped(name, folder):
    """Load a data set with another data folder."""
    before = os.environ.get(files.DATA_FOLDER)
    os.environ[files.DATA_FOLDER] = str(folder)
    try:
        with offline():
            return getattr(di.datasets, name)()
    finally:
        os.environ.pop(files.DATA_FOLDER)
        if before is not None:
            os.environ[files.DATA_FOLDER] = before


def chain():
    """A jump process of three states."""
    return di.MarkovJump([[-1.0, 1.0, 0.0], [2.0, -3.0, 1.0], [0.0, 1.0, -1.0]])


def walks(n=4, length=200):
    """Paths of a Brownian motion at even times."""
    return np.random.default_rng(5).normal(size=(n, length)).cumsum(1)


@cache
def runs():
    """What a model that was fitted on an AnnData simulates."""
    return read_by_keys("ActionMatching").simulate(adata(), [0, 1, 3])


@cache
def scores():
    return fitted("ActionMatching").evaluate(snapshots())


@cache
def compared():
    """What `compare` says of one method and one baseline."""
    model = di.ActionMatching(**QUICK)
    return di.tl.compare(
        snapshots(), model, baselines="still", metrics="w1", max_steps=2, progress=False
    )


@cache
def label_flows():
    model = read_by_keys("ActionMatching")
    return di.tl.flows(model, adata(), "state", n_draws=2, n_neighbors=2)


@cache
def growing():
    """A model that grows, fitted on an AnnData."""
    model = di.ActionMatching(**QUICK, growth_penalty=1.0)
    return model.fit(
        adata(), time_key="day", use_rep="X_pca", mass_key="mass", progress=False, max_steps=3
    )


@cache
def fate_table():
    return di.tl.transition_table(fated(), "state")


@cache
def gene_trends():
    return di.tl.trends(fated(), runs(), ["g0", "g1"])


@cache
def rate_table():
    return fitted("MarkovJumpInference").confidence_intervals()


class Potential(torch.nn.Module):
    """A network of a user: ``(t, x) -> (n,)``, or ``(n, d)``."""

    def __init__(self, n_out=None, change=None, dtype=None):
        super().__init__()
        torch.manual_seed(0)
        self.n_out, self.change = n_out, change
        self.inner = torch.nn.Linear(3, 4, dtype=dtype)
        self.outer = torch.nn.Linear(4, n_out or 1, dtype=dtype)

    def forward(self, t, x):
        inputs = torch.cat([t[:, None], x], 1)
        values = self.outer(torch.nn.functional.silu(self.inner(inputs)))
        if self.n_out is None:
            values = values[:, 0]
        return values if self.change is None else self.change(values)


def fated():
    """Cells with genes, loadings, velocities and fates; clones are tracks."""
    return _fated().copy()


@cache
def _fated():
    made = adata()
    made.var_names = ["g0", "g1"]
    made.varm["PCs"] = np.eye(2)
    model = read_by_keys("ActionMatching")
    model.annotate(made)
    di.tl.fates(model, made, "state", n_draws=2)
    return made


def genes():
    """Cells with a few genes of both sets of the growth scores."""
    from dyninfer.tools import gene_sets

    names = [*gene_sets.PROLIFERATION[:12], *gene_sets.APOPTOSIS[:12]]
    x = np.random.default_rng(6).random((N, len(names)))
    return anndata.AnnData(x, var=pd.DataFrame(index=names))


def changed(X_pca=None, day=None):
    """Cells with another representation, or another column of times."""
    made = adata()
    if X_pca is not None:
        made.obsm["X_pca"] = X_pca
    if day is not None:
        made.obs["day"] = made.obs[day]
    return made


class CommandRefused(ValueError):
    """What the command line printed."""


def command(*words):
    """Run the command line; what it prints as an error becomes an exception."""
    printed = io.StringIO()
    quiet = contextlib.redirect_stdout(io.StringIO())
    elsewhere = contextlib.chdir(tree())  # defaults of --out are names in the folder of work
    with contextlib.redirect_stderr(printed), quiet, offline(), elsewhere:
        try:
            code = main([str(word) for word in words])
        except SystemExit as end:
            code = end.code
    if code:
        lines = printed.getvalue().strip().splitlines()
        errors = [line for line in lines if not line.startswith("dyninfer: warning")]
        raise CommandRefused("\n".join(errors))
    return


def drift(t, x):
    return -x


def amplitude(parameters, x):
    """Logarithm of a wave function: a normal density of one width."""
    return -parameters[0] * x.square().sum(1)


def mean_field(t, x):
    """Grows without bound."""
    return x * x.abs()


def process(**fields):
    return di.Diffusion(**({"drift": drift} | fields))


def brier_of_observed(draws, observed, n_states):
    """Brier scores of what was observed: where nothing was, they are NaN as promised."""
    scores = di.metrics.brier_score(draws, observed, n_states)
    is_observed = as_tensor(observed, "observed") >= 0
    return scores[is_observed]
