"""What a fitted model knows about the data that it was learned from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What a fitted model knows about the data that it was learned from.

    Attributes
    ----------
    source : dict
        Keys by which an AnnData was read; empty for other data.
    features : tuple of str
        Names of the features, in their order.
    times : tuple of float
        Times of the snapshots; of paths, the first and the last time.
    sizes : tuple of int
        Samples at each time; of paths, the observations of each.
    hold_out : tuple
        Times, or names of paths, that were removed before anything was computed.
    seed : int
        Of the fit.
    digest : str
        Fingerprint of the data, without what was held out.
    version : str
        Of dyninfer, when the model was fitted.
    """

    source: dict[str, Any]
    features: tuple[str, ...]
    times: tuple[float, ...]
    sizes: tuple[int, ...]
    hold_out: tuple[Any, ...]
    seed: int
    digest: str
    version: str

    @classmethod
    def from_plain(cls, saved: dict[str, Any]) -> Provenance:
        """Undo ``dataclasses.asdict`` after JSON, which knows lists only."""
        fields: dict[str, Any] = {}
        for name, value in saved.items():
            is_list = isinstance(value, list)
            fields[name] = tuple(value) if is_list else value
        return cls(**fields)
