"""Real data, one function each: shipped with the package or fetched from its public source.

Here belong the table of sources, how a file is found and checked, and one loader a data set. What
makes a shipped file stands beside it in the repository's ``datasets/``; systems with known dynamics
are in ``simulators``.

`available()` lists them. A file that is not shipped is looked for in the folder named by the
environment variable ``DYNINFER_DATA`` (as ``$DYNINFER_DATA/<data set>/<file>``), then in the
download cache, then at its source. Its sha256 is always checked. Every function returns an AnnData
whose ``uns["source"]`` names reference, licence and addresses.
"""

from __future__ import annotations

from dyninfer.datasets.individuals import nile_minima, single_particle_tracks
from dyninfer.datasets.loaders import (
    cite_hspc,
    dyngen_velocity,
    embryoid_body,
    emt_a549,
    larry_clones,
    mesc_retinoic_acid,
    weinreb_hematopoiesis,
)
from dyninfer.datasets.table import available

__all__ = [
    "available",
    "cite_hspc",
    "dyngen_velocity",
    "embryoid_body",
    "emt_a549",
    "larry_clones",
    "mesc_retinoic_acid",
    "nile_minima",
    "single_particle_tracks",
    "weinreb_hematopoiesis",
]
