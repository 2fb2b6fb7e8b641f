"""What a notebook shows of paths."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dyninfer.data import display
from dyninfer.data.paths.checks import is_missing
from dyninfer.data.words import as_text, counted, texts

if TYPE_CHECKING:
    from dyninfer.data.paths.paths import Paths


def description(paths: Paths) -> tuple[str, dict[str, str]]:
    """Title, and times, states and what else there is, as label and value."""
    times = np.concatenate(paths.times)
    lengths = paths.lengths
    first = as_text(times.min())
    last = as_text(times.max())
    extent = f"{first} to {last}"
    lines = {"times": f"{extent}, {lengths.min()} to {lengths.max()} per path"}
    size = counted(len(paths), "path")
    if paths.discrete:
        lines["states"] = display.listed(paths.state_names or ())
    else:
        lines["features"] = display.listed(paths.features)
        features = counted(paths.n_features, "feature")
        size += f" x {features}"
    states = np.concatenate(paths.states)
    missing = is_missing(states)
    if missing.any():
        lines["missing"] = f"{missing.mean():.3g} of all values"
    if paths.conditions is not None:
        distinct = np.unique(paths.conditions)
        labels = texts(distinct)
        lines["conditions"] = display.listed(labels)
    if paths.covariates is not None:
        lines["covariates"] = display.listed(paths.covariates.columns)
    observations = counted(len(times), "observation")
    return f"Paths: {size}, {observations}", lines
