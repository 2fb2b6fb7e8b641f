"""Several views of one hidden path: which features are of which kind, and what they look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dyninfer.fractional.setting_checks import check_at_least
from dyninfer.learning.settings import Settings, brief, check_word

FAMILIES = ("gaussian", "poisson", "negative_binomial")


@dataclass(kw_only=True, repr=False, eq=False)
class View(Settings):
    """Features of one kind, such as behaviour or spikes, and the coordinates behind them.

    Coordinates named by several views are shared; one named by a single view is private to it. The
    readout is linear in the mean, or in the logarithm of the rate of counts.

    Parameters
    ----------
    n_features : int
        Number of features, following those of the previous views.
    family : {"gaussian", "poisson", "negative_binomial"}
        Law of the observations. Counts are whole numbers per observation, not per unit of time. A
        negative binomial count is a Poisson count whose rate varies by a learned share.
    coordinates : list of int, optional
        Numbers of the latent coordinates that matter, from 0; None is all. Loadings on the others
        are 0.
    """

    n_features: int
    family: str = "gaussian"
    coordinates: list[int] | None = None

    @property
    def is_counted(self) -> bool:
        """Whether the features are counts."""
        return self.family != "gaussian"

    def check(self, dim: int) -> None:
        """Raise a ValueError or TypeError that names an invalid setting."""
        prefix = "state.views: "
        self.check_kinds(prefix)
        check_at_least(self, prefix, {"n_features": 1})
        check_word(self.family, f"{prefix}family", FAMILIES)
        if self.coordinates is None:
            return
        coordinates = list(self.coordinates)
        is_inside = [0 <= k < dim for k in coordinates]
        if not coordinates or not all(is_inside) or len(set(coordinates)) < len(coordinates):
            raise ValueError(
                f"{prefix}coordinates must be different numbers from 0 to {dim - 1}, as dim={dim}; "
                f"found {brief(self.coordinates)}"
            )


def check_views(views: Sequence[View], dim: int) -> None:
    """Raise an error unless every coordinate is looked at, by views that can be."""
    if len(views) == 0:
        raise ValueError("state.views is empty; leave it out if all features are of one kind")
    for view in views:
        view.check(dim)
    is_visible = visibility(views, dim).any(0)
    if not bool(is_visible.all()):
        hidden = int((~is_visible).int().argmax())
        raise ValueError(
            f"no view uses coordinate {hidden}, so nothing is learned about it; lower dim, or "
            "name it in coordinates"
        )


def visibility(views: Sequence[View], dim: int) -> Tensor:
    """Which feature looks at which coordinate, ``(F, d)`` of truth values."""
    rows = []
    for view in views:
        row = torch.ones(dim, dtype=torch.bool)
        if view.coordinates is not None:
            row = torch.zeros(dim, dtype=torch.bool)
            row[list(view.coordinates)] = True
        rows.append(row.expand(view.n_features, -1))
    return torch.cat(rows)


def first_loading(pattern: Tensor) -> Tensor:
    """Loadings to begin from ``(F, d)``: each coordinate is the next feature that looks at it.

    A coordinate that began without any loading would stay so: its sign is open.
    """
    loading = torch.zeros(pattern.shape)
    is_free = torch.ones(len(pattern), dtype=torch.bool)
    # Those that few features see choose first.
    order = pattern.sum(0).argsort(stable=True)
    for k in order.tolist():
        candidates = pattern[:, k] & is_free
        if not bool(candidates.any()):
            candidates = pattern[:, k]
        row = int(candidates.int().argmax())
        loading[row, k] = 1.0
        is_free[row] = False
    return loading
