"""The solver of fractional noise: the memory exactly, the state by Euler's or Heun's rule."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from torch import Tensor

from dyninfer.fractional.memory import MemoryEquation
from dyninfer.fractional.stepper import StepNoise, Stepper
from dyninfer.learning.settings import brief
from dyninfer.simulation.kind import Kind
from dyninfer.simulation.solvers.solver import Solver
from dyninfer.simulation.solvers.task import LogWeights, Outputs, Solution, Task


@dataclass(kw_only=True, repr=False, eq=False)
class FractionalEuler(Solver):
    """Euler's rule for the state of a fractional diffusion, with an exact step of its memory.

    The default for fractional noise. If the noise depends on the state (Stratonovich), it takes
    Heun's rule. With constant fields there is no error; else the drift has strong order 1, and the
    noise an order set by the smoothness of its path.

    Parameters
    ----------
    dt : float, optional
        Longest step, in units of time; by default a hundredth of the whole span.
    memory : "exact" or "euler"
        The exact transition of the memory, for steps of any length, or Euler's rule, whose steps
        must be shorter than the fastest node.
    """

    dt: float | None = field(default=None, kw_only=False)
    memory: Literal["exact", "euler"] = "exact"

    spelling: ClassVar[str] = "fractional_euler"
    can_run: ClassVar[frozenset[Kind]] = frozenset(
        {Kind.FRACTIONAL_ADDITIVE, Kind.FRACTIONAL_MULTIPLICATIVE}
    )

    def check(self) -> None:
        """Raise a ValueError that names an invalid setting."""
        super().check()
        if self.memory not in ("exact", "euler"):
            raise ValueError(f"memory must be 'exact' or 'euler', found {brief(self.memory)}")

    def integrate(self, task: Task, x: Tensor, w: LogWeights) -> Solution:
        """Solve for state and memory ``(n, D)``; see :meth:`Solver.integrate`."""
        assert isinstance(task.equation, MemoryEquation)
        process = task.equation.process
        layout = task.equation.layout
        grid = task.grid
        state, y, origin = layout.split(x)
        first, last = task.steps()
        starts = grid.starts[first:last]
        lengths = grid.lengths[first:last]
        stepper = Stepper(process, starts, lengths, state, self.memory)
        # Numbered by the steps of the whole run, so that a window of it draws the same noise.
        noise = StepNoise(task.seed, grid.n_steps, stepper.rank, state)
        outputs = Outputs(task)
        for interval in task.intervals:
            for k in grid.steps(interval):
                z = noise.at(k, task.rows)
                step = k - first
                state, y = stepper.step(step, state, y, origin, z)
            rows = layout.join(state, y, origin)
            outputs.enter(rows, None)
        return outputs.solution()
