"""What tools ask of fates in an AnnData: which cells have them, and whether one exists."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy import ndarray

from dyninfer.data.columns import MissingKey
from dyninfer.data.words import listed, quoted


def with_fates(fates: pd.DataFrame) -> ndarray:
    """Which cells have fates ``(cell,)``: those after the last time, and lost ones, have none."""
    is_known = np.isfinite(fates.to_numpy())
    return is_known.all(1)


def check_fates(names: Sequence[str], fates: pd.DataFrame) -> None:
    """Raise a KeyError with the fates that there are, where one is none of them."""
    # All that there are: fates are few, and their names are the user's.
    for name in names:
        if name not in fates.columns:
            raise MissingKey(f"{quoted(name)} is no fate; there are {listed(fates.columns)}")
