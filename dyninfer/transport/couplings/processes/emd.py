"""Exact transport of one block; run as a file, it serves such problems from standard input until that is closed.

It imports neither torch nor the rest of the package, so that a process starts in about a second.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import warnings
from typing import BinaryIO

import numpy as np


def emd(
    cost: np.ndarray, a: np.ndarray, b: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, columns and mass of the optimal plan ``(n, m)``."""
    import ot

    plan = ot.emd(a, b, cost, numItermax=10_000_000)
    i, j = np.nonzero(plan)
    return i, j, plan[i, j]


def serve(questions: BinaryIO, answers: BinaryIO) -> None:
    """Answer ``(cost, a, b)`` with the plan and the warnings on the way, until there are no more."""
    while True:
        try:
            problem = pickle.load(questions)
        except EOFError:
            return
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            answer = emd(*problem)
        pickle.dump((answer, [str(w.message) for w in said]), answers, protocol=5)
        answers.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is answered by the process that asks
    try:
        serve(sys.stdin.buffer, sys.stdout.buffer)
    except BrokenPipeError:  # nobody waits for the answer any more
        os._exit(1)
