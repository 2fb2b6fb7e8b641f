"""One function per data set, each returning an AnnData with numeric times in ``obs``."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from numpy import ndarray

from dyninfer.data.shipped import shipped
from dyninfer.datasets.assembly import of_representation, of_snapshots
from dyninfer.datasets.files import paths
from dyninfer.datasets.table import CITE_DAYS, TABLE

if TYPE_CHECKING:
    from anndata import AnnData

# What the files themselves do not hold, from the papers.
_WEINREB_DAYS = (2, 4, 6)
_EB_BINS = ("day 0-3", "day 6-9", "day 12-15", "day 18-21", "day 24-27")
# A cell's bin is known, its day is not.
_EB_MIDPOINTS = np.array([1.5, 7.5, 13.5, 19.5, 25.5])
_EMT_HOURS = np.array([0.0, 8.0, 24.0, 72.0])


def mesc_retinoic_acid() -> AnnData:
    """Mouse embryonic stem cells in retinoic acid: nine snapshots of a bifurcation. Shipped.

    Pluripotent cells split into a neuroectoderm-like and an extraembryonic endoderm-like
    population.

    Returns
    -------
    AnnData
        2,449 cells x 41 genes. ``obs["time"]`` in hours (0, 6, 12, 24, 36, 48, 60, 72, 96),
        ``layers["counts"]`` UMI counts, ``X`` log1p of the counts, ``obsm["X_pca"]`` (cell, 10),
        ``varm["PCs"]`` (gene, 10), ``obsm["X_umap"]`` for pictures, ``var["group"]`` the role of
        each gene.

    Raises
    ------
    FileNotFoundError
        If the installation lacks its data folder.

    Notes
    -----
    Source: Python package cardamom 0.0.3, BSD-3-Clause. Cite Semrau et al. 2017, Nature
    Communications 8:1096, doi 10.1038/s41467-017-01076-4, and, for the choice of genes, Ventre et
    al. 2023, PLOS Computational Biology, doi 10.1371/journal.pcbi.1010962.
    ``datasets/mesc_retinoic_acid/README.md`` has the preprocessing and the floors.

    Examples
    --------
    >>> import dyninfer as di
    >>> di.datasets.mesc_retinoic_acid().shape
    (2449, 41)
    """
    import anndata as ad

    return ad.read_h5ad(shipped("mesc_retinoic_acid", "mesc_retinoic_acid.h5ad"))


def cite_hspc(n_components: int = 50) -> AnnData:
    """Human CD34+ stem cells over four days (CITE-seq, RNA part), in principal components.

    The first five PCs, z-scored over all cells, are the input of the published leave-one-day-out
    benchmark: exact-OT interpolation has Wasserstein-1 0.828 at day 3 and 0.926 at day 4 (2,500
    cells on each side). Two halves of one day are 0.36 to 0.46 apart, so a smaller number is a
    mistake.

    Returns
    -------
    AnnData
        29,394 cells. ``obs["day"]`` in days: 2, 3, 4, 7 (6071, 7643, 8485, 7195 cells);
        ``obsm["X_pca"]`` (cell, 50). ``X`` holds the same PCs: the genes are not in the source.

    Raises
    ------
    ConnectionError
        If a file is not here and cannot be downloaded.
    ValueError
        If a file is not the published one.

    Notes
    -----
    Source: github.com/ngushchin/LightSB, MIT; the data are those of Open Problems 2022, under its
    terms. Cite Burkhardt et al. 2022, Open Problems: Multimodal Single-Cell Integration (Kaggle
    competition).
    """
    if n_components not in (50, 100):
        # It brings pandas along, for which nobody waits who only imports this room.
        from dyninfer.learning.settings import brief

        raise ValueError(
            f"n_components must be 50 or 100, as the source has them; found {brief(n_components)}"
        )
    blocks = [np.load(path) for path in paths("cite_hspc", n_components)]
    return of_snapshots("cite_hspc", blocks, CITE_DAYS, "day", "X_pca", "PC")


def embryoid_body() -> AnnData:
    """Human embryoid bodies over 27 days, in 100 raw principal components with RNA velocity.

    A sixth of all cells: the validation and test parts of the NLSB benchmark, 2,750 of 16,819, with
    550 from each bin. So few cells have a high floor: report a Wasserstein distance only next to
    that between two halves of one bin.

    Returns
    -------
    AnnData
        ``obs["time"]``: the bin, 0 to 4, as in the published benchmarks; ``obs["day"]``: midpoint
        of the bin in days (1.5, 7.5, 13.5, 19.5, 25.5); ``obs["bin"]`` its name; ``obs["part"]``
        "val" or "test". ``obsm["X_pca"]`` (cell, 100), the same in ``X``; ``obsm["velocity_pca"]``
        (cell, 100). Names are row numbers of the full data.

    Raises
    ------
    ConnectionError
        If a file is not here and cannot be downloaded.
    ValueError
        If a file is not the published one.

    Notes
    -----
    Published results are in PCs z-scored over the full data: PCs 1 to 5 have mean 52.15457, .22162,
    .07449, .05770, .04400 and standard deviation 2.64561, 6.27800, 4.63171, 4.49815, 3.37244 there.

    Source: github.com/take-koshizuka/NLSB, MIT; the data are Mendeley Data 10.17632/v6n743h5ng.1,
    under its terms. Cite Moon et al. 2019, Nature Biotechnology 37:1482, doi
    10.1038/s41587-019-0336-3.
    """
    import pandas as pd

    pieces: dict[str, list[ndarray]] = {"X": [], "v": [], "ts": [], "idx": [], "part": []}
    for path in paths("embryoid_body"):
        part_name, _, _ = path.name.partition("_")
        with np.load(path) as arrays:
            for key in ("X", "v", "ts", "idx"):
                pieces[key].append(arrays[key])
            n_cells = len(arrays["ts"])
        pieces["part"].append(np.repeat(part_name, n_cells))
    table = {key: np.concatenate(blocks) for key, blocks in pieces.items()}
    # Rows of the full data, so that both parts come in its order.
    rows = table["idx"]
    order = np.argsort(rows)
    x = table["X"][order]
    velocity = table["v"][order]
    bins = table["ts"][order]
    parts = table["part"][order]
    names = rows[order].astype(str)
    obs = pd.DataFrame(index=names)
    obs["time"] = bins.astype(np.float64)
    obs["day"] = _EB_MIDPOINTS[bins]
    obs["bin"] = pd.Categorical.from_codes(bins, _EB_BINS)
    obs["part"] = pd.Categorical(parts)
    adata = of_representation("embryoid_body", x, obs, "X_pca", "PC")
    adata.obsm["velocity_pca"] = velocity.astype(np.float32)
    return adata


def emt_a549() -> AnnData:
    """Epithelial-mesenchymal transition of A549 cells under TGFB1, in 10 autoencoder latents.

    Returns
    -------
    AnnData
        3,133 cells. ``obs["time"]`` in hours: 0, 8, 24, 72 (577, 885, 788, 883 cells);
        ``obsm["X_latent"]`` (cell, 10), the same in ``X``.

    Raises
    ------
    ConnectionError
        If a file is not here and cannot be downloaded.
    ValueError
        If a file is not the published one.

    Notes
    -----
    Source: github.com/zhenyiizhang/DeepRUOTv2, MIT with parts under a non-commercial licence. Cite
    Cook & Vanderhyden 2020, Nature Communications 11:2142, doi 10.1038/s41467-020-16066-2, and
    Zhang et al. 2025, arXiv 2505.11197.
    """
    import pandas as pd

    (path,) = paths("emt_a549")
    table = pd.read_csv(path)
    # The file numbers the times of sampling.
    number = table.pop("samples").to_numpy(dtype=int)
    states = table.to_numpy()
    blocks = [states[number == k] for k in range(len(_EMT_HOURS))]
    return of_snapshots("emt_a549", blocks, list(_EMT_HOURS), "time", "X_latent", "latent")


def weinreb_hematopoiesis() -> AnnData:
    """Mouse blood progenitors in the two coordinates of the SPRING layout; the population grows.

    The numbers of cells, 1 : 2.65 : 4.05, are the relative mass of the population in the published
    use of these data (unbalanced transport with growth).

    Returns
    -------
    AnnData
        10,998 cells. ``obs["day"]`` in days: 2, 4, 6 (1429, 3781, 5788 cells); ``obsm["X_spring"]``
        (cell, 2), the same in ``X``.

    Raises
    ------
    ConnectionError
        If a file is not here and cannot be downloaded.
    ValueError
        If a file is not the published one.

    Notes
    -----
    Source: github.com/yutongo/TIGON, MIT. Cite Weinreb et al. 2020, Science 367:eaaw3381, doi
    10.1126/science.aaw3381, and Sha et al. 2024, Nature Machine Intelligence 6:25, doi
    10.1038/s42256-023-00763-w.
    """
    (path,) = paths("weinreb_hematopoiesis")
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            blocks = [arrays[f"day_{day}"] for day in _WEINREB_DAYS]
    else:
        # The published file is an array of arrays, stored as a pickle, which could run code: its
        # hash was checked above.
        blocks = list(np.load(path, allow_pickle=True)[0])
    return of_snapshots(
        "weinreb_hematopoiesis", blocks, list(_WEINREB_DAYS), "day", "X_spring", "SPRING"
    )


def larry_clones() -> AnnData:
    """Mouse blood progenitors with barcodes, which show the cells of each clone.

    Returns
    -------
    AnnData
        781 cells x 2,481 genes. ``obs["day"]`` in days: 2, 4, 6 (34, 316, 431 cells),
        ``obs["state_info"]`` cell types, ``obsm["X_clone"]`` (cell, 339) membership in clones, 126
        of them seen on more than one day, ``obsm["X_pca"]`` (cell, 40).

    Raises
    ------
    ConnectionError
        If a file is not here and cannot be downloaded.
    ValueError
        If a file is not the published one.

    Notes
    -----
    Source: github.com/AllonKleinLab/cospar, MIT. Cite Weinreb et al. 2020, Science 367:eaaw3381,
    doi 10.1126/science.aaw3381, and Wang et al. 2022, Nature Biotechnology 40:1066, doi
    10.1038/s41587-022-01209-1.
    """
    adata = _read_h5ad("larry_clones")
    # The file holds the days as text.
    text = adata.obs["time_info"].astype(str)
    adata.obs["day"] = text.astype(np.float64)
    return adata


def dyngen_velocity() -> AnnData:
    """Simulated bifurcating differentiation whose true times and branches are known.

    Returns
    -------
    AnnData
        1,000 cells x 250 genes. ``obs["global_time"]``: true time, continuous, 0 to 4 in units of
        the simulation (``obs["time"]`` starts again at 0 on every segment: not a time to fit with);
        ``obs["lineage"]`` the branch. The velocities that the file calls true are left out: none is
        negative, and hundreds are infinite, where nothing is spliced.

    Raises
    ------
    ConnectionError
        If a file is not here and cannot be downloaded.
    ValueError
        If a file is not the published one.

    Notes
    -----
    Source: github.com/theislab/cellrank_reproducibility, BSD-3-Clause. Cite Lange et al. 2022,
    Nature Methods 19:159, doi 10.1038/s41592-021-01346-6, and the simulator: Cannoodt et al. 2021,
    Nature Communications 12:3942, doi 10.1038/s41467-021-24152-2.
    """
    adata = _read_h5ad("dyngen_velocity")
    # A velocity that is never negative, and infinite where nothing is spliced, is none.
    adata.uns.pop("gt_velocities", None)
    return adata


def _read_h5ad(name: str) -> AnnData:
    import anndata as ad

    (path,) = paths(name)
    with warnings.catch_warnings():
        # These files predate anndata's encoding metadata; nothing a user can do about it.
        warnings.simplefilter("ignore", ad.OldFormatWarning)
        adata = ad.read_h5ad(path)
    adata.uns["source"] = TABLE[name].source
    return adata
