"""A diffusion whose networks are told a condition beside time and state."""

from __future__ import annotations

import copy
from typing import Any, Self

import torch
from torch import Tensor

from dyninfer.data.conditions import ConditionCode
from dyninfer.diffusions.diffusion import Diffusion


class ConditionedDiffusion(Diffusion):
    """Base of the diffusions that were learned under conditions, or without any.

    Parameters
    ----------
    code : ConditionCode, optional
        Code of the conditions that the networks were told; None where there were none.
    """

    def __init__(self, code: ConditionCode | None = None):
        super().__init__()
        self.code = code
        self.condition: Tensor | None = None

    def given(self, condition: Any) -> Self:
        """Return the same process under one condition; parameters are shared, not copied.

        Raises
        ------
        ValueError
            If the process knows no conditions, or not this one.
        """
        if self.code is None:
            return super().given(condition)
        process = copy.copy(self)
        code = self.code.encode([condition])
        process.condition = torch.as_tensor(code)
        return process

    def _code(self, x: Tensor) -> Tensor | None:
        """Vector of the condition for every state ``(n, m)``; None without conditions."""
        if self.code is None:
            return None
        if self.condition is None:
            raise ValueError(
                "the process was learned under conditions; name one: process.given(condition), "
                "or simulate(..., condition=...)"
            )
        code = self.condition.to(x)
        return code.expand(len(x), -1)
