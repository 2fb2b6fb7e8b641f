"""The table of data sets: where each file is, what it must hash to, and whom to cite."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_GITHUB = "https://raw.githubusercontent.com"


@dataclass(frozen=True)
class File:
    """A file of a data set: its name in ``$DYNINFER_DATA/<data set>/``, hash and address."""

    name: str
    sha256: str
    url: str


@dataclass(frozen=True)
class Dataset:
    """One line of the table.

    Without files the data set is shipped; `repacked` may stand in for all files, and `folder` for
    the name in a user's folder of data.
    """

    name: str
    cells: int
    features: int
    times: str
    licence: str
    reference: str
    files: tuple[File, ...] = ()
    # The same numbers in a form that is no pickle; preferred where the user's folder has it.
    repacked: File | None = None
    # The folder of other data that these came with.
    folder: str | None = None
    # Files of the same cells with other numbers of features.
    other_sizes: Mapping[int, tuple[File, ...]] = field(default_factory=dict)

    @property
    def shipped(self) -> bool:
        """True when the data come with the package."""
        return not self.files

    @property
    def source(self) -> dict[str, str]:
        """What ``uns["source"]`` holds."""
        urls = [file.url for file in self.files]
        return {
            "name": self.name,
            "reference": self.reference,
            "licence": self.licence,
            "times": self.times,
            "files": " ".join(urls),
        }


# Each at one commit: a file that changes later is still the published one.
_LIGHTSB = f"{_GITHUB}/ngushchin/LightSB/70aa4ee5826ccefbbba644bcf831c32a994ceb76/data"
_NLSB = f"{_GITHUB}/take-koshizuka/NLSB/dc44f1fda929768eb840bdf3f5c892bc86451cc6/data"
_DEEPRUOT = f"{_GITHUB}/zhenyiizhang/DeepRUOTv2/6b9594b8308e8b15a3f3567cc8e1bde014b0745f/data"
_TIGON = f"{_GITHUB}/yutongo/TIGON/1ed92cfcc250415fc01b4d344a308b0680cc9635/Input"
_COSPAR = f"{_GITHUB}/AllonKleinLab/cospar/ca54cad8a9db9a72152ba8a8b6d67d57eace4acb/tests/data"
_CELLRANK = (
    f"{_GITHUB}/theislab/cellrank_reproducibility/c1b9232caacd15fdd16914007fab4890b136109f/data"
)

_LONG_MEMORY = f"{_GITHUB}/everval/LongMemory.jl/93040c546c44620290811f3d9e3e5dce29886e66/examples"

CITE_DAYS = (2, 3, 4, 7)
# Hashes of the files of these days, by the number of components that they hold.
_CITE_HASHES = {
    50: (
        "ba7cc587e6df22382099e8592939e188b1fe32681a71640473058719f56f1bf4",
        "3b427bff70dfae37e3c4793d3ae9b3493c96a88cb507518e41387b7eeca62f94",
        "db70a163f9ae8ec7ae26ea41a330f0de814facc97d1928f14e00cc3fa48a741b",
        "b8409dad032f03afba90ffd7762e49a6413b0b2ef8bfc3304a46ea143536bc07",
    ),
    100: (
        "85000b25eb6b7ae5c7daf7ad17e995741e8a76f25771d5716ccb539d3d22ad55",
        "5a4fdcbb076b2f25b2e823b87d92deccacf29d702f3ac32835490e7db10b59c8",
        "04cd3ba804006ee72413aab33c90b6d977eb3a4e4a38127445a46625436fe524",
        "4a422acef3226958035c72e87ca7d1644d86f4efbb29be2c0bea67fc1e93b24e",
    ),
}


def _cite_files(n_components: int) -> tuple[File, ...]:
    files = []
    for day, sha256 in zip(CITE_DAYS, _CITE_HASHES[n_components], strict=True):
        name = f"full_cite_pcas_{n_components}_day_{day}.npy"
        files.append(File(name, sha256, f"{_LIGHTSB}/{name}"))
    return tuple(files)


_DATASETS = (
    Dataset(
        name="mesc_retinoic_acid",
        cells=2449,
        features=41,
        times="0, 6, 12, 24, 36, 48, 60, 72, 96 hours",
        licence="BSD-3-Clause",
        reference="Semrau et al. 2017, Nature Communications 8:1096, "
        "doi 10.1038/s41467-017-01076-4",
    ),
    Dataset(
        name="single_particle_tracks",
        cells=5071,
        features=2,
        times="every 7.48 ms, 1,000 tracks",
        licence="MIT",
        reference="Heckert et al. 2022, eLife 11:e70169, doi 10.7554/eLife.70169",
    ),
    Dataset(
        name="nile_minima",
        cells=663,
        features=1,
        times="622 to 1284, every year",
        licence="MIT (repository); historical facts",
        reference="Toussoun 1925, Mémoires de l'Institut d'Égypte 8",
        files=(
            File(
                "nile_minima.csv",
                "92b44aa4020216a481a3bef9a7d1f4151494484e611804865865426a25207794",
                f"{_LONG_MEMORY}/NileRiverMin.csv",
            ),
        ),
        folder="long_memory",
    ),
    Dataset(
        name="cite_hspc",
        cells=29394,
        features=50,
        times="2, 3, 4, 7 days",
        licence="MIT (repository); data: terms of Open Problems 2022",
        reference="Open Problems, Multimodal Single-Cell Integration, 2022; "
        "as in Korotin et al. 2024, LightSB",
        files=_cite_files(50),
        other_sizes={100: _cite_files(100)},
    ),
    Dataset(
        name="embryoid_body",
        cells=2750,
        features=100,
        times="0, 1, 2, 3, 4 (bins of 3 days, 6 days apart)",
        licence="MIT (repository); data: terms of Mendeley Data, doi 10.17632/v6n743h5ng.1",
        reference="Moon et al. 2019, Nature Biotechnology 37:1482, doi 10.1038/s41587-019-0336-3",
        files=(
            File(
                "val_rna.npz",
                "7e1c894bf87cbb54d383e7a48d5fbcbd29cab97fd795fd8d488da8898e27cc6b",
                f"{_NLSB}/val_rna.npz",
            ),
            File(
                "test_rna.npz",
                "7516d91f115ed9a4063358c17913e7b5336ecf4084752bfd822b2f4055c851cf",
                f"{_NLSB}/test_rna.npz",
            ),
        ),
    ),
    Dataset(
        name="emt_a549",
        cells=3133,
        features=10,
        times="0, 8, 24, 72 hours",
        licence="MIT (repository, parts non-commercial); data: see the reference",
        reference="Cook & Vanderhyden 2020, Nature Communications 11:2142, "
        "doi 10.1038/s41467-020-16066-2",
        files=(
            File(
                "emt.csv",
                "820eca0ca6a9b8c5aba970dda04052b2e2ea4489b712b948559fe5cd185a8294",
                f"{_DEEPRUOT}/emt.csv",
            ),
        ),
    ),
    Dataset(
        name="weinreb_hematopoiesis",
        cells=10998,
        features=2,
        times="2, 4, 6 days",
        licence="MIT (repository); data: see the reference",
        reference="Weinreb et al. 2020, Science 367:eaaw3381, doi 10.1126/science.aaw3381",
        files=(
            File(
                "Lineage.npy",
                "b963f114d2d215767f88aa4daf15d591941502d40961308ecd4cc66682c86607",
                f"{_TIGON}/Lineage.npy",
            ),
        ),
        repacked=File(
            "weinreb_2d.npz",
            "36b76066b355a4b90c2f1363f1f290082306f70c167fbfbcdde7d7a1b063f0a6",
            f"{_TIGON}/Lineage.npy",
        ),
    ),
    Dataset(
        name="larry_clones",
        cells=781,
        features=2481,
        times="2, 4, 6 days",
        licence="MIT (repository); data: see the reference",
        reference="Weinreb et al. 2020, Science 367:eaaw3381, doi 10.1126/science.aaw3381",
        files=(
            File(
                "test_adata_preprocessed.h5ad",
                "3c9a5d728f402ff2b87cfecb3cd6639a7fa342fe3a7d44ad57ac526a5ef674af",
                f"{_COSPAR}/test_adata_preprocessed.h5ad",
            ),
        ),
    ),
    Dataset(
        name="dyngen_velocity",
        cells=1000,
        features=250,
        times="continuous, 0 to 4 (simulation units)",
        licence="BSD-3-Clause",
        reference="Lange et al. 2022, Nature Methods 19:159, doi 10.1038/s41592-021-01346-6",
        files=(
            File(
                "cellrank_bifurcating.h5ad",
                "9f2b9d722f7bae3652b60e8b80d45a18a432fae405c8826f4e5224b81b25fed2",
                f"{_CELLRANK}/dyngen_simulated_data/bifurcating.h5ad",
            ),
        ),
    ),
)
TABLE = {entry.name: entry for entry in _DATASETS}


def available() -> pd.DataFrame:
    """Table of the data sets, one per row.

    Columns are name, cells, features, times, origin (shipped or downloaded), licence and reference.

    Examples
    --------
    >>> import dyninfer as di
    >>> "mesc_retinoic_acid" in di.datasets.available().to_string()
    True
    """
    import pandas as pd

    columns = ["name", "cells", "features", "times", "origin", "licence", "reference"]
    rows = []
    for entry in TABLE.values():
        origin = "shipped" if entry.shipped else "downloaded"
        row = [
            entry.name,
            entry.cells,
            entry.features,
            entry.times,
            origin,
            entry.licence,
            entry.reference,
        ]
        rows.append(row)
    return pd.DataFrame(rows, columns=columns)
