"""Data in which individuals are followed: a row is an observation, ``obs`` says whose and when."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dyninfer.data.shipped import shipped
from dyninfer.datasets.assembly import annotated
from dyninfer.datasets.files import paths

if TYPE_CHECKING:
    from anndata import AnnData

# As the documentation of saspt gives them.
_MICROMETRES_PER_PIXEL = 0.16
_SECONDS_PER_FRAME = 0.00748


def single_particle_tracks(min_length: int = 1) -> AnnData:
    """Tracks of single proteins in nuclei of living cells, one frame per 7.48 ms. Shipped.

    Parameters
    ----------
    min_length : int
        Smallest number of detections of a track to keep. Most tracks are short, because particles
        leave the focus or bleach.

    Returns
    -------
    AnnData
        Detections x 2: ``X`` and ``obsm["position"]`` are ``(y, x)`` in micrometres, float64 in
        ``obsm``; ``obs["track"]`` names the particle, ``obs["time"]`` is in seconds. 5,071
        detections of 1,000 tracks, or 1,397 detections of 36 tracks with ``min_length=20``.

    Raises
    ------
    FileNotFoundError
        If the installation lacks its data folder.
    ValueError
        If no track has ``min_length`` detections.

    Notes
    -----
    Source: Python package saspt 0.4.0, MIT, file samples/sample_tracks.csv; pixels of 0.16 µm, as
    in its documentation. Cite Heckert, Dahal, Tjian & Darzacq 2022, eLife 11:e70169, doi
    10.7554/eLife.70169.

    Examples
    --------
    >>> import dyninfer as di
    >>> di.datasets.single_particle_tracks().n_obs
    5071
    """
    import pandas as pd

    # It imports torch, for which a list of the data sets need not wait.
    from dyninfer.learning.settings import brief, check_count

    check_count(min_length, "min_length")
    table = pd.read_csv(shipped("single_particle_tracks", "tracks.csv.gz"))
    length = table.groupby("trajectory")["frame"].transform("size")
    is_long = length >= min_length
    table = table[is_long].sort_values(["trajectory", "frame"])
    if table.empty:
        raise ValueError(
            f"min_length={brief(min_length)}: the longest of these tracks has {length.max()} "
            "detections"
        )
    pixels = table[["y", "x"]].to_numpy(dtype=np.float64)
    position = pixels * _MICROMETRES_PER_PIXEL
    track = table["trajectory"].astype(str)
    frame = table["frame"]
    frames = frame.astype(str)
    names = "track" + track + "_" + frames
    obs = pd.DataFrame(index=names.to_numpy())
    obs["track"] = track.to_numpy()
    obs["time"] = frame.to_numpy() * _SECONDS_PER_FRAME
    adata = annotated("single_particle_tracks", position, obs, ["y", "x"])
    # Particles move by fractions of a pixel in a field of many: float64 keeps them apart.
    adata.obsm["position"] = position
    return adata


def nile_minima() -> AnnData:
    """Yearly minimal water levels of the Nile at Roda, 622 to 1284: Hurst's series.

    Returns
    -------
    AnnData
        663 years x 1: the minimum in ``X``, ``obs["year"]``, and ``obs["river"]``, a constant that
        serves as ``path_key``.

    Raises
    ------
    ConnectionError
        If the file is missing and cannot be downloaded.
    ValueError
        If the file is not the published one.

    Notes
    -----
    The exact likelihood of fractional Gaussian noise has its maximum at a Hurst index of 0.837,
    standard error 0.025.

    Source: github.com/everval/LongMemory.jl, MIT. Cite Toussoun 1925, Mémoires de l'Institut
    d'Égypte 8, and Beran 1994, Statistics for Long-Memory Processes.
    """
    import pandas as pd

    (path,) = paths("nile_minima")
    table = pd.read_csv(path)
    minimum = table[["NileMin"]].to_numpy()
    year = table["Year"]
    years = year.astype(int).astype(str)
    obs = pd.DataFrame(index=years)
    obs["year"] = year.to_numpy(dtype=np.float64)
    # One river is one path.
    obs["river"] = "Nile"
    return annotated("nile_minima", minimum, obs, ["minimum"])
