"""Predicted steps of a solver along the gradient of a potential."""

from __future__ import annotations

from torch import Tensor

from dyninfer.diffusions import PotentialDiffusion
from dyninfer.learning.objective import NO_FLOW
from dyninfer.simulation.solvers.predicted import predicted_steps


def steps_of_potential(
    process: PotentialDiffusion, t: Tensor, x: Tensor, code: Tensor | None
) -> Tensor:
    """Steps ``(n,)`` that are predicted at times ``(n,)`` and states ``(n, d)``.

    Raises
    ------
    ValueError
        If the process has noise: its solvers take steps of a fixed length.
    """
    if process.sigma:
        raise ValueError(NO_FLOW)
    network = process.network

    def velocity(t: Tensor, x: Tensor) -> Tensor:
        return network.derivatives(t, x, c=code).gradient

    return predicted_steps(velocity, t, x)
