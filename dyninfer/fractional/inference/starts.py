"""Where simulated paths start, and what goes along with them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from numpy import ndarray
from torch import Tensor


class FirstStates(NamedTuple):
    """States at the first time, and what is known of the paths that they are of.

    Attributes
    ----------
    states : Tensor, ``(n, d)``
    content : Tensor, ``(n, content_dim)``, optional
        What stays the same along a path.
    names : array, ``(n,)``, optional
    """

    states: Tensor
    content: Tensor | None = None
    names: ndarray | None = None

    def content_of(self, rows: ndarray) -> Tensor | None:
        """Content of the paths that start from some rows."""
        if self.content is None:
            return None
        return self.content[torch.as_tensor(rows)]

    def origin_of(self, rows: ndarray) -> ndarray:
        """Names of such paths, or their rows where they have no names."""
        if self.names is None:
            return rows
        return self.names[rows]
