"""What a method gives to the training loop: its batches, its loss, and what else it cares for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

# A NamedTuple whose entries have the same first dimension, or are None: what can be shared out
# over processes row by row.
Batch = Any

NO_FLOW = (
    "training.solver_penalty shortens the runs of flows without noise, and this fit learns none; "
    "leave it at 0"
)


class Objective(ABC):
    """A loss over batches that a method draws itself.

    A method writes :meth:`batch` and :meth:`loss`. Each of the others has a default that suits a
    method which draws from its data, learns nothing from a step, and does not stop early.

    Examples
    --------
    >>> import torch
    >>> from typing import NamedTuple
    >>> from dyninfer.learning.objective import Objective
    >>> from dyninfer.learning.training import Training, train
    >>> class Points(NamedTuple):
    ...     x: torch.Tensor
    >>> class Halve(Objective):
    ...     def batch(self, n, generator):
    ...         return Points(torch.rand(n, 1, generator=generator))
    ...
    ...     def loss(self, process, batch):
    ...         return {"loss": (process(batch.x) - batch.x / 2).square().sum(1)}
    >>> result = train(torch.nn.Linear(1, 1), Halve(), Training(max_steps=10), progress=False)
    >>> result.status
    'finished'
    """

    # Part of the data that validates until `learn_from_all`; where there is none, training ends
    # with the step that validates best.
    held_out: float = 0.0

    @abstractmethod
    def batch(self, n: int, generator: torch.Generator) -> Batch:
        """Draw the samples of one step.

        Parameters
        ----------
        n : int
            Number of samples, over all processes together.
        generator : torch.Generator
            Of the run, on the device of the weights; a resumed run continues it.

        Returns
        -------
        NamedTuple
            Tensors with the same first dimension, or None.
        """

    # Empty on purpose, as are others below: most methods have nothing to do here.
    def reach(self, step: int) -> None:  # noqa: B027
        """Make ready what the step of this number draws from; nothing by default.

        Of a resumed run the first call may be of any step.
        """

    def n_drawn(self, n: int) -> int:
        """Number of samples in a batch of ``n``; less where there are no more to be drawn."""
        return n

    @abstractmethod
    def loss(self, process: Any, batch: Batch) -> dict[str, Tensor]:
        """Terms of the loss, each per sample ``(n,)`` or a scalar.

        The mean of the entry "loss" is minimised; the means of all entries go into the history.
        """

    def observe(self, batch: Batch, terms: dict[str, Tensor]) -> None:  # noqa: B027
        """Learn from a step that was made; nothing by default.

        May take entries out of ``terms`` and put others in; what is left goes into the history.
        """

    def validation(self, process: Any) -> float | None:
        """Value that decides about early stopping, lower is better; None never stops."""
        return None

    def effort(self, process: Any, batch: Batch) -> Tensor:
        """Steps ``(n,)`` in which a solver is expected to run the process, from these samples.

        Of methods whose process is a flow; a penalty on it makes the flow easier to solve.
        """
        raise ValueError(NO_FLOW)

    def companions(self) -> list[tuple[Any, Objective]]:
        """The same problem with other parts of the data held out, each with a module of its own.

        They are trained beside this one, and the mean of all validations decides; none by default.
        """
        return []

    def learn_from_all(self) -> None:  # noqa: B027
        """Learn from now on from what was held out too; nothing by default."""

    def settle(self) -> None:  # noqa: B027
        """Set what is computed of the trained process rather than learned; nothing by default."""

    def state(self) -> dict[str, Any]:
        """Tensors and plain values that a resumed run needs to continue bit for bit."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:  # noqa: B027
        """Undo :meth:`state`."""
