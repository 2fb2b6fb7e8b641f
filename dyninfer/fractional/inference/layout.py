"""Which networks a nonlinear model has, and their sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dyninfer.fractional.families import Families
from dyninfer.learning.scaling import Scaling


class Parts(NamedTuple):
    """Which networks a model has: "network", a module or function of the user's, or None.

    See :class:`dyninfer.FractionalSDE` for their inputs and outputs.
    """

    drift: Any = None
    amplitude: Any = None
    encoder: Any = None
    decoder: Any = None
    control: Any = "network"


@dataclass(frozen=True)
class Layout:
    """Sizes of a nonlinear model, and the units of its data.

    Attributes
    ----------
    n_features : int
    latent : bool
        Whether the observations are decoded from the state, and the guide led by an encoder's
        pseudo-observations.
    content_dim : int
        Numbers that stay the same along a path.
    width, depth : int
        Units and hidden layers of the networks.
    n_steps : int
        Steps between two observations.
    read_first : int, optional
        How many observations of a path encoder and guide may read.
    families : Families
        Laws of the observations.
    visibility : Tensor of bool ``(F, d)``, optional
        Which loadings of a linear decoder are not 0; None is all.
    path_weight : float
        Weight of the divergence from the prior.
    begin, horizon : float
        First time of the data, and the length of the longest path.
    scaling : Scaling, optional
        Units of the state, in which the user's own fields are evaluated; None is standardised ones.
    """

    n_features: int
    latent: bool = False
    content_dim: int = 0
    width: int = 64
    depth: int = 2
    n_steps: int = 2
    read_first: int | None = None
    families: Families = Families()
    visibility: Tensor | None = None
    path_weight: float = 1.0
    begin: float = 0.0
    horizon: float = 1.0
    scaling: Scaling | None = None


def unit_scaling(n_states: int) -> Scaling:
    """Units of states that have none of their own: 0 and 1."""
    zeros = torch.zeros(n_states)
    return Scaling(shift=zeros, scale=zeros + 1, start=0.0, duration=1.0, unit=1.0)
