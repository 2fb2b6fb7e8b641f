"""Build mesc_retinoic_acid.h5ad from the source distribution of the Python package cardamom 0.0.3.

    python prepare.py                        # download with pip, check, build, write beside this
    file python prepare.py --sdist cardamom-0.0.3.tar.gz --out somewhere.h5ad

Needs dyninfer's own dependencies only. Counts, X and PCs are the same on every machine (to the last
digits of float32); the UMAP is fixed by its seed for given versions of scanpy and umap-learn, so it
is stored.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd

PACKAGE = "cardamom==0.0.3"
SHA256 = "99205ce94649e270094b239d298f575c72a4588257882e95841de8fc1dc496af"
FOLDER = "cardamom-0.0.3/results_article/Semrau_network_analysis/Semrau/Data"
N_PCS = 10
# The four groups of genes, in the order of the panel, as in figure 5 of the CARDAMOM paper.
GROUPS = {
    "pluripotency": 10,
    "post-implantation epiblast": 10,
    "neuroectoderm": 11,
    "extraembryonic endoderm": 10,
}
SOURCE = {
    "name": "mesc_retinoic_acid",
    "reference": "Semrau et al. 2017, Nature Communications 8:1096",
    "doi": "10.1038/s41467-017-01076-4",
    "panel": "Ventre, Herbach et al. 2023, PLOS Computational Biology, "
    "doi 10.1371/journal.pcbi.1010962",
    "distribution": "Python package cardamom 0.0.3, source distribution",
    "licence": "BSD-3-Clause",
    "time_unit": "hours",
}


def download(folder: Path) -> Path:
    """Fetch the source distribution with pip and return its path."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:"]
    subprocess.run([*command, "--dest", str(folder), PACKAGE], check=True)
    return next(folder.glob("cardamom-*.tar.gz"))


def check_sha256(path: Path, expected: str = SHA256) -> None:
    """Raise ValueError unless the file is the published one."""
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    if sha256 != expected:
        raise ValueError(f"{path.name} has sha256 {sha256}, expected {expected}; download it again")


def read_panel(sdist: Path) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Return counts (cell, gene), gene names and times (cell,) in hours from the archive.

    In the panel's table the first row holds the times, the second the stimulus (0 before retinoic
    acid, 1 after), then come the genes; the first column numbers the rows.
    """
    with tarfile.open(sdist) as archive:
        table = archive.extractfile(f"{FOLDER}/panel_real.txt").read().decode()
        names = archive.extractfile(f"{FOLDER}/panel_genes.txt").read().decode()
    values = np.loadtxt(io.StringIO(table))
    numbered = [line.split() for line in names.splitlines() if line.strip()]
    if [int(number) for number, _ in numbered] != values[1:, 0].astype(int).tolist():
        raise ValueError("panel_genes.txt and panel_real.txt do not list the same rows")
    times, stimulus, counts = values[0, 1:], values[1, 1:], values[2:, 1:].T
    if not np.array_equal(stimulus, times > 0):
        raise ValueError("the stimulus row is not 0 at 0 h and 1 afterwards")
    if not np.array_equal(counts, np.rint(counts)) or counts.min() < 0:
        raise ValueError("the panel holds values that are not counts")
    return counts.astype(np.int32), [name for _, name in numbered[1:]], times


def principal_components(x: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores (cell, n), loadings (gene, n) and shares of the variance (n,)."""
    centred = x - x.mean(0)
    _, singular, loadings = np.linalg.svd(centred, full_matrices=False)
    # The sign of a component is arbitrary: its largest loading is made positive.
    largest = np.abs(loadings).argmax(1)
    signs = np.sign(loadings[np.arange(len(loadings)), largest])
    loadings = (loadings * signs[:, None])[:n].T
    ratios = singular**2 / np.sum(singular**2)
    return centred @ loadings, loadings, ratios[:n]


def build(counts: np.ndarray, genes: list[str], times: np.ndarray) -> ad.AnnData:
    """Assemble the AnnData: counts, log1p(counts), PCs and groups of genes.

    README.md has the reasons.
    """
    x = np.log1p(counts.astype(np.float64))
    scores, loadings, ratios = principal_components(x, N_PCS)
    within = pd.Series(times).groupby(times).cumcount()
    names = [f"{int(time):02d}h_{number:03d}" for time, number in zip(times, within, strict=True)]
    groups = pd.Categorical(np.repeat(list(GROUPS), list(GROUPS.values())), categories=list(GROUPS))
    adata = ad.AnnData(
        X=x.astype(np.float32),
        obs=pd.DataFrame(
            {"time": times.astype(np.float64), "total_counts": counts.sum(1)}, index=names
        ),
        var=pd.DataFrame({"group": groups}, index=genes),
        layers={"counts": counts},
    )
    adata.obsm["X_pca"] = scores.astype(np.float32)
    adata.varm["PCs"] = loadings.astype(np.float32)
    adata.uns["pca"] = {"variance_ratio": ratios}
    adata.uns["source"] = SOURCE
    return adata


def add_umap(adata: ad.AnnData) -> None:
    """Write obsm["X_umap"] (cell, 2): 30 neighbours in X_pca, seed 0, nothing else kept."""
    import scanpy as sc

    scratch = ad.AnnData(adata.X, obsm={"X_pca": adata.obsm["X_pca"]})
    sc.pp.neighbors(scratch, n_neighbors=30, use_rep="X_pca", random_state=0)
    sc.tl.umap(scratch, random_state=0)
    adata.obsm["X_umap"] = scratch.obsm["X_umap"].astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sdist", type=Path, help="a source distribution already downloaded")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).with_name("mesc_retinoic_acid.h5ad")
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sdist = args.sdist or download(Path(folder))
        check_sha256(sdist)
        adata = build(*read_panel(sdist))
    add_umap(adata)
    adata.write_h5ad(args.out, compression="gzip", compression_opts=9)
    print(f"{args.out}: {adata.n_obs} cells, {adata.n_vars} genes, {args.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
