"""The exact solver: POT's network simplex, in this process or in several."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from dyninfer.transport.couplings.problem import TransportProblem

# POT stops at 100,000 by default, short of the optimum of a block of 2048.
MAX_ITERATIONS = 10_000_000


class ExactSolution(NamedTuple):
    """Optimal plan as a list of pairs, and how well it is known to be optimal."""

    source: np.ndarray  # (pairs,) row of the first sample
    target: np.ndarray  # (pairs,) row of the second sample
    mass: np.ndarray  # (pairs,)
    cost: float  # ⟨c, π⟩
    dual_gap: float  # ⟨c, π⟩ − ⟨u, a⟩ − ⟨v, b⟩: zero at the optimum, but for rounding
    converged: bool


def emd(problem: TransportProblem) -> ExactSolution:
    """Solve one problem here."""
    import ot

    cost, a, b = problem
    plan, log = ot.emd(a, b, cost, numItermax=MAX_ITERATIONS, log=True)
    return _solution(plan, log, a, b)


def emd_all(problems: Iterable[TransportProblem], n_workers: int) -> list[ExactSolution]:
    """Solve many problems, in order; with more than one worker, in processes of joblib's loky.

    The network simplex holds Python's global lock, so threads would not help. The processes need
    no ``if __name__ == "__main__"`` in the user's script, and end on Ctrl-C, or after the block
    at hand where this process is killed. A problem is taken from the iterable, and its cost made,
    only when its turn has come.

    Raises
    ------
    RuntimeError
        If a process ended before it answered.
    """
    if n_workers == 1:
        return [emd(problem) for problem in problems]
    import ot
    from joblib import Parallel, delayed, parallel_config

    weights = []

    def calls() -> Iterable[Any]:
        for cost, a, b in problems:
            weights.append((a, b))
            # POT's own function: the processes import POT, and neither torch nor this package.
            yield delayed(ot.emd)(a, b, cost, numItermax=MAX_ITERATIONS, log=True)

    with parallel_config(
        "loky",
        inner_max_num_threads=1,
        # Processes that wait for work hold memory: joblib would keep them for five minutes.
        idle_worker_timeout=20,
        initializer=_worker_initializer(),
        initargs=(os.getpid(),),
    ):
        # Costs go through pipes: a file for each would outlive a process that is killed.
        parallel = Parallel(n_jobs=n_workers, max_nbytes=None, pre_dispatch=n_workers)
        try:
            answers = parallel(calls())
        except BrokenProcessPool:
            raise RuntimeError(
                "a process that solves optimal transport ended before it answered, perhaps for "
                "lack of memory; use OTCoupling(workers=1)"
            ) from None
    solutions = []
    for (plan, log), (a, b) in zip(answers, weights, strict=True):
        if log["warning"] is not None:
            warnings.warn(log["warning"], UserWarning, stacklevel=2)
        solutions.append(_solution(plan, log, a, b))
    return solutions


@cache  # joblib keeps its processes only while it is given the same function
def _worker_initializer() -> Callable[[int], None]:
    """Return the function that a process calls first, with the id of its parent.

    It is nested so that it is sent as code: a module's function would make every process import
    this package, and torch with it.
    """

    def begin(parent: int) -> None:
        def leave_with_parent() -> None:
            while os.getppid() == parent:
                time.sleep(1)
            # Only this skips the clean-up, which would wait for an answer of the parent.
            os._exit(1)

        # Ctrl-C is answered by the parent, which ends the processes; each would print a traceback.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        threading.Thread(target=leave_with_parent, daemon=True).start()

    return begin


def _solution(plan: np.ndarray, log: dict[str, Any], a: np.ndarray, b: np.ndarray) -> ExactSolution:
    source, target = np.nonzero(plan)
    u, v = log["u"], log["v"]
    cost = float(log["cost"])
    dual_value = float(u @ a + v @ b)
    return ExactSolution(
        source=source,
        target=target,
        mass=plan[source, target],
        cost=cost,
        dual_gap=cost - dual_value,
        converged=log["warning"] is None,
    )
