"""Settings of the training loop, and the schedule of its learning rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch

from dyninfer.learning.settings import Settings, brief

Precision = Literal["float32", "float64", "bfloat16"]


@dataclass(kw_only=True, repr=False, eq=False)
class Training(Settings):
    """Settings of the training loop.

    Parameters
    ----------
    max_steps : int
        Largest number of optimiser steps.
    batch_size : int
        Samples per step, over all processes together.
    learning_rate : float
        Peak learning rate of AdamW.
    warmup_steps : int
        Steps over which the learning rate rises linearly to its peak; afterwards it falls along a
        cosine.
    final_learning_rate : float
        Learning rate at ``max_steps`` as a fraction of the peak.
    weight_decay : float
        Decoupled weight decay.
    solver_penalty : float
        Adds this multiple of the predicted number of steps of the default solver to the loss, which
        makes flows from snapshots cheaper to run; 0.01 is much. It takes as long as the loss does
        itself, and too much of it spoils the fit. 0 leaves it out.
    gradient_clip : float or None
        Largest global norm of the gradient.
    ema_decay : float
        Decay of the averaged weights, which are the result; it rises to this value as
        ``(1 + n) / (10 + n)``.
    validation_fraction : float
        Share of the data held out to choose the number of steps: of the paths, or of the pairs of a
        plan, all pairs of a cell together. If fewer than fifty cells would be held out, all are, in
        up to five runs whose mean decides. Of plans so large that they are solved during training,
        at most half a block per interval is held out (1,024 cells of the default coupling).
        Held-out pairs are then learned from as well, in proportionally more steps. 0 learns from
        everything for ``max_steps``.
    validate_every : int
        Steps between two validations.
    patience : int or None
        Validations without improvement after which training stops; None never stops early.
    log_every : int
        Steps between two rows of the history.
    checkpoint_every : int
        Steps between two checkpoints, if a checkpoint file was given.
    device : str
        "auto" takes a GPU if there is one; otherwise any torch device.
    threads : int, optional
        CPU threads; by default one for networks of fewer than 300,000 parameters, where more
        threads would mostly wait, and the default of torch above.
    precision : {"float32", "float64", "bfloat16"}
        Number format; bfloat16 computes the loss under autocast and keeps float32 weights.
    compile : bool
        Compile the loss with ``torch.compile``: a few seconds at the start, faster steps for small
        networks.

    Examples
    --------
    >>> import dyninfer as di
    >>> di.ActionMatching(training=di.Training(max_steps=500, learning_rate=1e-3)).training
    Training(learning_rate=0.001, max_steps=500)
    """

    max_steps: int = 4000
    batch_size: int = 512
    learning_rate: float = 3e-3
    warmup_steps: int = 100
    final_learning_rate: float = 0.01
    weight_decay: float = 1e-5
    solver_penalty: float = 0.0
    gradient_clip: float | None = 1.0
    ema_decay: float = 0.999
    validation_fraction: float = 0.1
    validate_every: int = 200
    patience: int | None = 8
    log_every: int = 20
    checkpoint_every: int = 500
    device: str = "auto"
    threads: int | None = None
    precision: Precision = "float32"
    compile: bool = False

    def check(self) -> Training:
        """Return self, or raise a ValueError or TypeError that names the invalid setting."""
        self.check_kinds("training.")
        for name in ("max_steps", "batch_size", "validate_every", "log_every", "checkpoint_every"):
            self._require(name, getattr(self, name) >= 1, "be at least 1")
        self._require(
            "validation_fraction", 0 <= self.validation_fraction <= 0.9, "lie in [0, 0.9]"
        )
        for name in ("ema_decay", "final_learning_rate"):
            value = getattr(self, name)
            self._require(name, 0 <= value <= 1, "lie in [0, 1]")
        for name in ("warmup_steps", "weight_decay", "solver_penalty"):
            self._require(name, getattr(self, name) >= 0, "not be negative")
        self._require("learning_rate", self.learning_rate > 0, "be positive")
        for name in ("learning_rate", "weight_decay", "solver_penalty"):
            self._require(name, getattr(self, name) < math.inf, "be finite")
        if self.gradient_clip is not None:
            self._require("gradient_clip", self.gradient_clip > 0, "be positive")
        if self.patience is not None:
            self._require(
                "patience", self.patience >= 1, "be at least 1, or None to never stop early"
            )
        if self.threads is not None:
            self._require("threads", self.threads >= 1, "be at least 1, or None")
        # Half precision without a scaled loss loses small gradients, so it is not offered.
        is_precision = self.precision in get_args(Precision)
        self._require("precision", is_precision, "be float32, float64 or bfloat16")
        return self

    @property
    def dtype(self) -> torch.dtype:
        """Number format of weights and data."""
        if self.precision == "float64":
            return torch.float64
        # Weights stay in single precision under bfloat16 too: small updates would be lost.
        return torch.float32

    def schedule(self, step: int) -> float:
        """Learning rate at a step as a fraction of the peak."""
        return warmup_then_cosine(
            step, self.max_steps, warmup=self.warmup_steps, final=self.final_learning_rate
        )

    def learning_rate_at(self, step: int) -> float:
        """Learning rate at a step."""
        return self.learning_rate * self.schedule(step)

    def _require(self, name: str, fits: Any, must: str) -> None:
        if not fits:
            value = brief(getattr(self, name))
            raise ValueError(f"training.{name} must {must}, found {value}")


def warmup_then_cosine(step: int, total: int, *, warmup: int = 0, final: float = 0.0) -> float:
    """Multiple of the peak learning rate: a straight rise, then half a period of a cosine.

    Parameters
    ----------
    step : int
        Counted from 0.
    total : int
        Step at which the cosine ends; later ones have its last value.
    warmup : int
        Steps of the rise; the first of them is not at zero.
    final : float
        Value at the end.
    """
    if step < warmup:
        return (step + 1) / warmup
    # A run that is all warm-up has no cosine, and nothing to divide by.
    length = max(total - warmup, 1)
    progress = min((step - warmup) / length, 1.0)
    angle = math.pi * progress
    cosine = 0.5 * (1 + math.cos(angle))
    return final + (1 - final) * cosine
