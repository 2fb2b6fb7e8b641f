"""A diffusion whose networks are told a condition beside time and state."""

from __future__ import annotations

import copy
from typing import Any, Self

import torch
from torch import Tensor

from dyninfer.data.conditions import ConditionCode
from dyninfer.diffusions.conditioned_growth import GrowthByCondition
from dyninfer.diffusions.diffusion import Diffusion
from dyninfer.diffusions.growth import BoundedGrowth


class ConditionedDiffusion(Diffusion):
    """Base of the diffusions that were learned under conditions, or without any.

    Parameters
    ----------
    code : ConditionCode, optional
        Code of the conditions that the networks were told; None where there were none.
    law : BoundedGrowth or GrowthByCondition, optional
        What is known of the growth rate, and its bounds: with conditions, of each of them.

    Attributes
    ----------
    law : BoundedGrowth or None
        That of the condition which is given, where there are conditions.
    """

    law: BoundedGrowth | None
    laws: GrowthByCondition | None

    def __init__(
        self,
        code: ConditionCode | None = None,
        law: BoundedGrowth | GrowthByCondition | None = None,
    ):
        super().__init__()
        self.code = code
        self.condition: Tensor | None = None
        has_conditions = code is not None
        self.law = None if has_conditions else law  # type: ignore[assignment]
        self.laws = law if has_conditions else None  # type: ignore[assignment]

    @property
    def has_law(self) -> bool:
        """Whether something is known of the growth."""
        return self.law is not None or self.laws is not None

    def breaks(self) -> Tensor:
        """Times where the growth bends; see :meth:`Diffusion.breaks`."""
        return super().breaks() if self.law is None else self.law.breaks()

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
        # A shallow copy shares the table of submodules, in which the law is replaced.
        process._modules = dict(self._modules)
        code = self.code.encode([condition])
        process.condition = torch.as_tensor(code)
        if self.laws is not None:
            law = self.laws.of(condition)
            process.law = self.laws.compose(condition, process) if law is None else law
        return process

    def settle_law(
        self, time: Tensor, rate: Tensor, weight: Tensor | None, code: Tensor | None
    ) -> None:
        """Set mean and bounds of the growth by learned rates ``(n,)`` at samples of the density.

        ``code`` ``(n, m)`` holds the conditions of the samples, where there are conditions.
        """
        if self.law is not None:
            self.law.settle(time, rate, weight)
        if self.laws is not None:
            assert code is not None
            self.laws.settle(time, rate, weight, code)

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
