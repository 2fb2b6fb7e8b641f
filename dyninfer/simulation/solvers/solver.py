"""The base of every solver, and how a solver is spelled in one word."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

from torch import Tensor

from dyninfer.learning.settings import Settings, brief, is_number
from dyninfer.simulation.equation import Equation
from dyninfer.simulation.grid import Grid
from dyninfer.simulation.kind import Kind
from dyninfer.simulation.solvers.task import LogWeights, Solution, Task

_POSITIVE = ("dt", "rtol", "atol")


@dataclass(kw_only=True, repr=False, eq=False)
class Solver(Settings):
    """A rule that runs a process; its settings set the accuracy.

    A subclass declares its short name, ``spelling``, and the kinds of problem that it can run.
    Those that solve equations define :meth:`integrate`; those of jump processes live with them.
    """

    spelling: ClassVar[str] = ""
    spellings: ClassVar[dict[str, type[Solver]]] = {}
    can_run: ClassVar[frozenset[Kind]] = frozenset()

    def __init_subclass__(cls, **keywords: Any):
        super().__init_subclass__(**keywords)
        Solver.spellings[cls.spelling] = cls

    @property
    def needs_all_paths(self) -> bool:
        """Whether all paths must be run at once, because the noise of one depends on the others."""
        return False

    @classmethod
    def spelled(cls, words: list[str]) -> Self:
        """Make the solver from its short name; ``words`` follow the first colon."""
        if words:
            spelling = ":".join([cls.spelling, *words])
            raise ValueError(
                f"solver {brief(spelling)} is not known: {cls.spelling!r} takes no further words; "
                f"write di.solvers.{cls.__name__}(...) to change its settings"
            )
        return cls()

    def refusal(self, kind: Kind, equation: Equation | None = None) -> str | None:
        """Why this solver cannot run a problem, or None if it can.

        Parameters
        ----------
        kind : Kind
        equation : Equation, optional
            The equation of the problem, if it has one.
        """
        if kind in self.can_run:
            return None
        return f"it is {kind.value}"

    def check(self) -> None:
        """Raise a ValueError that names an invalid setting."""
        names = {field.name for field in fields(self)}
        for name in names.intersection(_POSITIVE):
            value = getattr(self, name)
            if value is not None and not is_positive(value):
                raise ValueError(
                    f"{name} of {type(self).__name__} must be a positive number, "
                    f"found {brief(value)}"
                )
        self.check_kinds(prefix=f"{type(self).__name__}.")

    def grid(self, times: Tensor, longest: float | None = None) -> Grid:
        """Output times and the steps between them, by default no longer than ``longest``."""
        return Grid.of(times, getattr(self, "dt", None), longest)

    def integrate(self, task: Task, x: Tensor, w: LogWeights) -> Solution:
        """Solve the equation of a task over its output intervals.

        Parameters
        ----------
        task : Task
            The equation, the paths and the output intervals to cross.
        x, w : Tensor
            States ``(n, d)`` and log-weights ``(n,)`` or None at the start of the first interval.

        Returns
        -------
        Tensor, ``(n, interval, d)``
            States at the end of every interval.
        Tensor, ``(n, interval)``, or None
            Log-weights there.
        """
        raise NotImplementedError(f"{type(self).__name__} must define integrate(...)")


def is_positive(value: Any) -> bool:
    """Whether a value is a finite number above zero."""
    return is_number(value) and 0 < value < float("inf")


def as_solver(
    solver: Solver | str | None, default: Solver, kind: Kind, equation: Equation | None = None
) -> Solver:
    """Return the solver that was asked for, checked, or the default of the process.

    Raises
    ------
    TypeError
        If it is neither a solver nor a name.
    ValueError
        If it is not known, has a setting that cannot be used, or cannot run this kind of problem.
    """
    if solver is None:
        return default
    if isinstance(solver, str):
        solver = named(solver)
    if not isinstance(solver, Solver):
        raise TypeError(
            "solver must be a solver such as di.solvers.RungeKutta4(dt=0.01), its name, or None, "
            f"found {brief(solver)}"
        )
    solver.check()
    reason = solver.refusal(kind, equation)
    if reason is not None:
        raise ValueError(
            f"solver {brief(solver)} cannot run this process: {reason}; use {alternatives(kind)}"
        )
    return solver


def named(spelling: str) -> Solver:
    """Make a solver from its short name, such as ``"tsit5"`` or ``"torchsde:srk:adaptive"``.

    Raises
    ------
    ValueError
        If no solver has this name.

    Examples
    --------
    >>> import dyninfer as di
    >>> di.solvers.named("rk4")
    RungeKutta4()
    """
    first, *words = spelling.split(":")
    if first in Solver.spellings:
        return Solver.spellings[first].spelled(words)
    library = Solver.spellings["torchdiffeq"]
    if not words and first in library.methods:
        return library.spelled([first])
    # The base has an empty one.
    spellings = filter(None, sorted(Solver.spellings))
    names = ", ".join(map(repr, spellings))
    raise ValueError(f"solver {brief(spelling)} is not known; choose one of {names}")


def alternatives(kind: Kind) -> str:
    """Name the solvers that can run a kind of problem, for a message."""
    able = [cls for cls in Solver.spellings.values() if kind in cls.can_run]
    return ", ".join(f"{cls.__name__}()" for cls in able)
