"""Alias tables give back the weights they were made of."""

from __future__ import annotations

import torch

from dyninfer.jumps.alias import alias_tables


def test_tables_hold_the_weights_exactly():
    g = torch.Generator().manual_seed(0)
    weights = torch.rand(50, 7, generator=g, dtype=torch.float64)
    weights = weights * (torch.rand(50, 7, generator=g) > 0.5)
    weights[:, 2] = weights[:, 2] + 1e-6
    own, other = (table.reshape(50, 7) for table in alias_tables(weights))
    law = (own / 7).scatter_add(1, other, (1 - own) / 7)
    torch.testing.assert_close(law, weights / weights.sum(1, keepdim=True), rtol=0, atol=1e-14)
    assert own.min() >= 0


def test_rows_without_weight_do_no_harm():
    own, other = alias_tables(torch.zeros(2, 3, dtype=torch.float64))
    assert own.isfinite().all()
    assert ((other >= 0) & (other < 3)).all()
