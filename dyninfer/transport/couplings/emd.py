"""The exact solver: POT's network simplex, in this process or in several."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from typing import Any

from dyninfer.learning.warn import warn
from dyninfer.metrics.simplex import OptimalPlan, best_plan
from dyninfer.transport.couplings.problem import TransportProblem


def emd(problem: TransportProblem) -> OptimalPlan:
    """Solve one problem here; warns where the plan is not known to be the best."""
    plan = best_plan(*problem)
    _warn_unless_optimal(plan)
    return plan


def emd_all(problems: Iterable[TransportProblem], n_workers: int) -> list[OptimalPlan]:
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
    from joblib import Parallel, delayed, parallel_config

    def calls() -> Iterable[Any]:
        for cost, a, b in problems:
            # A function that needs NumPy and POT alone: the processes do not import torch.
            yield delayed(best_plan)(cost, a, b)

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
            plans = parallel(calls())
        except BrokenProcessPool:
            raise RuntimeError(
                "a process that solves optimal transport ended before it answered, perhaps for "
                "lack of memory; use OTCoupling(workers=1)"
            ) from None
    for plan in plans:
        _warn_unless_optimal(plan)
    return plans


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


def _warn_unless_optimal(plan: OptimalPlan) -> None:
    if plan.is_optimal:
        return
    warn(
        f"optimal transport was not solved: the pairs cost {plan.cost:.6g}, and their dual gap is "
        f"{plan.dual_gap:.2g}, so the least cost may be that much lower; lower batch_size",
        UserWarning,
    )
