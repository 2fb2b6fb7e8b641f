"""What tools ask of models and of fates: whether they are some, and which cells have them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy import ndarray

from dyninfer.data.columns import MissingKey
from dyninfer.data.words import listed, quoted
from dyninfer.learning.settings import brief


def check_model(model: Any, method: str = "simulate") -> None:
    """Raise a TypeError unless the model is an estimator, which alone can say whether it is fitted.

    Not by class: a method of the user's own may be none of ours.
    """
    if isinstance(model, type) or not hasattr(model, method):
        raise TypeError(f"model must be a fitted estimator, found {brief(model)}")


def with_fates(fates: pd.DataFrame) -> ndarray:
    """Which cells have fates ``(cell,)``: those after the last time, and lost ones, have none."""
    is_known = np.isfinite(fates.to_numpy())
    return is_known.all(1)


def check_fates(names: Sequence[str], fates: pd.DataFrame) -> None:
    """Raise an error with the fates that there are, where one is none of them, or none is named.

    Raises
    ------
    KeyError, ValueError
    """
    if not names:
        raise ValueError(f"fate is empty; the fates are {listed(fates.columns)}")
    # All that there are: fates are few, and their names are the user's.
    for name in names:
        if name not in fates.columns:
            raise MissingKey(f"{quoted(name)} is not a fate; the fates are {listed(fates.columns)}")
