"""Products of many small matrices, with a logarithm of their size."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from dyninfer.jumps.process.chain import identity


class Chains(NamedTuple):
    """Which matrices of one pile are multiplied in every record ``(record, 2^k)`` int64.

    Behind the end of a record stands the number of a unit matrix, one beyond the pile.
    """

    rows: Tensor

    @classmethod
    def of(cls, lengths: ndarray) -> Chains:
        """Records whose matrices lie one behind the other in the pile."""
        longest = int(lengths.max())
        # The next power of two.
        n_steps = 1 << (longest - 1).bit_length()
        step = np.arange(n_steps)
        ends = np.cumsum(lengths)[:, None]
        begins = ends - lengths[:, None]
        rows = begins + step
        rows = np.where(rows < ends, rows, lengths.sum())
        return cls(torch.from_numpy(rows))

    def log_product(self, initial: Tensor, pile: Tensor) -> Tensor:
        """Log of ``initial · M_1 M_2 ... M_L · 1`` ``(record,)`` of matrices ``(n, S, S)``.

        ``initial`` is ``(record, S)``. Neighbours are multiplied, then neighbouring products, and
        so on: as many steps as the logarithm of the length.
        """
        unit = identity(pile).unsqueeze(0)
        with_unit = torch.cat([pile, unit])
        product = with_unit[self.rows]
        log_size = pile.new_zeros(self.rows.shape)
        while product.shape[1] > 1:
            left, right = product[:, 0::2], product[:, 1::2]
            product = left @ right
            log_size = log_size[:, 0::2] + log_size[:, 1::2]
            # Products of densities would leave the range of double precision.
            size = product.detach().amax((-2, -1), keepdim=True)
            # What is impossible stays 0, whose logarithm is −inf.
            size = torch.where(size > 0, size, 1.0)
            product = product / size
            log_size = log_size + size.log().flatten(1)
        whole = product.squeeze(1)
        ends = initial.unsqueeze(1) @ whole
        total = ends.sum((-2, -1))
        return total.log() + log_size.squeeze(1)
