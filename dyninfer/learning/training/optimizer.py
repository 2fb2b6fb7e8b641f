"""An optimiser with a schedule, a clipped gradient and averaged weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import get_ema_multi_avg_fn

from dyninfer.learning.parallel import mean_over_processes
from dyninfer.learning.training.settings import Training


class AveragedOptimizer:
    """Steps of a torch optimiser, and the running mean of the weights that they lead to.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Its learning rates are the peaks of the schedule, each group's its own.
    schedule : callable, ``int -> float``
        Multiple of the peaks at a step, counted from 0.
    gradient_clip : float, optional
        Largest global norm of the gradient; None leaves it.
    ema_decay : float
        Decay of the averages; it rises to this value as ``(1 + n) / (10 + n)``, so that the average
        soon forgets the weights that the run began with.

    Attributes
    ----------
    parameters : list of Tensor
        What is optimised.
    average : list of Tensor
        Its running mean.
    n_steps : int
        Steps made so far.
    slowdown : float
        Factor of all learning rates, 1 unless :meth:`slow_down` was called.

    Notes
    -----
    The averages are those of ``torch.optim.swa_utils``, without its ``AveragedModel``: that one
    copies the whole module and counts its steps in a tensor, which a GPU is asked for, and waits
    for, in every step.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        schedule: Callable[[int], float],
        *,
        gradient_clip: float | None = 1.0,
        ema_decay: float = 0.999,
    ):
        self.optimizer = optimizer
        self.schedule = schedule
        # The norm is measured either way.
        self.max_norm = gradient_clip or math.inf
        self.ema_decay = ema_decay
        self.parameters: list[Tensor] = []
        for group in optimizer.param_groups:
            self.parameters += group["params"]
        self.average = copies(self.parameters)
        self.peaks = [group["lr"] for group in optimizer.param_groups]
        self.n_steps = 0
        self.slowdown = 1.0
        self.scheduler = LambdaLR(optimizer, self._multiple)

    def step(self) -> Tensor:
        """Follow the gradients that a backward pass has left.

        Returns
        -------
        Tensor
            Global norm of the gradient before it was clipped, a scalar on the device.
        """
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        mean_over_processes(gradients)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.max_norm)
        self.optimizer.step()
        self.scheduler.step()
        # An early average would be mostly of the weights that the run began with.
        ramp = (1 + self.n_steps) / (10 + self.n_steps)
        update = get_ema_multi_avg_fn(min(self.ema_decay, ramp))
        update(self.average, self.parameters, self.n_steps)
        self.n_steps += 1
        return norm

    def zero_grad(self) -> None:
        """Forget the gradients."""
        # To None: a parameter that the loss does not reach then stays where it is.
        self.optimizer.zero_grad(set_to_none=True)

    def slow_down(self, factor: float) -> None:
        """Multiply the learning rates of all further steps."""
        self.slowdown *= factor
        for group in self.optimizer.param_groups:
            group["lr"] *= factor

    def restart(self, values: Sequence[Tensor]) -> None:
        """Go on from given weights: averages begin there, and the optimiser's moments are gone."""
        self.put(values)
        self.average = copies(self.parameters)
        self.optimizer.state.clear()

    def put(self, values: Sequence[Tensor]) -> None:
        """Set the parameters."""
        with torch.no_grad():
            torch._foreach_copy_(self.parameters, list(values))

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Put the averages in the place of the parameters for a while."""
        # The module itself is asked, not a copy: it may hold what cannot be copied.
        own = copies(self.parameters)
        self.put(self.average)
        try:
            yield
        finally:
            self.put(own)

    def snapshot(self) -> dict[str, Any]:
        """Like :meth:`state`, in copies that further steps leave as they are."""
        return copy.deepcopy(self.state())

    def state(self) -> dict[str, Any]:
        """Everything that a resumed run needs, as tensors and numbers."""
        return {
            "parameters": [p.detach() for p in self.parameters],
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "n_steps": self.n_steps,
            "slowdown": self.slowdown,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Undo :meth:`state`; schedule and peaks stay those of this run."""
        self.put(state["parameters"])
        self.average = state["average"]
        self.n_steps = state["n_steps"]
        self.slowdown = state["slowdown"]
        self.optimizer.load_state_dict(state["optimizer"])
        groups = self.optimizer.param_groups
        for group, peak in zip(groups, self.peaks, strict=True):
            group["initial_lr"] = peak
        # Its first act is a step, which leads to the learning rate of `n_steps`.
        before = self.n_steps - 1
        self.scheduler = LambdaLR(self.optimizer, self._multiple, last_epoch=before)

    def _multiple(self, step: int) -> float:
        return self.slowdown * self.schedule(step)


def copies(values: Sequence[Tensor]) -> list[Tensor]:
    """Copies that no gradient flows to."""
    return [value.detach().clone() for value in values]


def optimizer_for(
    process: nn.Module, settings: Training, paces: dict[str, float]
) -> AveragedOptimizer:
    """AdamW over the parameters that learn, grouped by their multiple of the learning rate."""
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in process.named_parameters():
        if parameter.requires_grad:
            own_paces = [p for start, p in paces.items() if name.startswith(start)]
            pace = own_paces[0] if own_paces else 1.0
            groups.setdefault(pace, []).append(parameter)
    first_group = next(iter(groups.values()))
    device = first_group[0].device
    options = []
    for pace, group in groups.items():
        rate = settings.learning_rate * pace
        options.append({"params": group, "lr": rate})
    adam = torch.optim.AdamW(
        options,
        weight_decay=settings.weight_decay,
        # Foreach and fused Adam give the same numbers; fused is one launch, where there is one.
        fused=device.type in ("cpu", "cuda"),
    )
    return AveragedOptimizer(
        adam,
        settings.schedule,
        gradient_clip=settings.gradient_clip,
        ema_decay=settings.ema_decay,
    )
