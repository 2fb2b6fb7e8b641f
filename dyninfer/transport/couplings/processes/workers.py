"""A handful of processes that each solve one transport problem at a time."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any, Self

from dyninfer.transport.couplings.processes import emd

# POT loads every array library it finds; the children need none of them.
_ALONE = {f"POT_BACKEND_DISABLE_{name}": "1" for name in ("PYTORCH", "JAX", "CUPY", "TENSORFLOW")}


class Workers:
    """Solve exact transport problems in ``n`` processes; with one, here.

    The network simplex of POT holds Python's global lock, so threads would not help. A child is a Python of its own that reads
    problems from a pipe: it needs no guard in the user's script, inherits nothing, and ends when the pipe is closed, which
    happens however its parent ends. Leaving the context kills the children, also on Ctrl-C.

    Parameters
    ----------
    n : int
        Number of processes; each takes a second of CPU to start.
    """

    def __init__(self, n: int):
        self.n = n if sys.executable else 1
        self.children: list[subprocess.Popen[bytes]] = []
        self.idle: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for child in self.children:
            child.kill()
        for child in self.children:
            child.wait()
            for pipe in (child.stdin, child.stdout):
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()  # type: ignore[union-attr]

    def map(self, problem: Callable[[Any], tuple[Any, ...]], tasks: Sequence[Any]) -> list[Any]:
        """Solve ``problem(task) = (cost, a, b)`` for every task, in order; a cost is made only when its turn has come."""
        if self.n == 1:
            return [emd.emd(*problem(task)) for task in tasks]
        for _ in range(self.n):
            self.children.append(self._child())
            self.idle.put(self.children[-1])
        threads = ThreadPoolExecutor(self.n)
        try:
            return list(threads.map(lambda task: self._solve(problem(task)), tasks))
        except BaseException:
            for child in self.children:
                child.kill()  # so that no thread waits for an answer
            raise
        finally:
            threads.shutdown(cancel_futures=True)

    def _child(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-P", emd.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **_ALONE, "OMP_NUM_THREADS": "1"},
        )

    def _solve(self, problem: tuple[Any, ...]) -> Any:
        child = self.idle.get()
        try:
            pickle.dump(problem, child.stdin, protocol=5)  # type: ignore[arg-type]
            child.stdin.flush()  # type: ignore[union-attr]
            answer, said = pickle.load(child.stdout)  # type: ignore[arg-type]
        except (EOFError, BrokenPipeError, pickle.UnpicklingError):
            raise RuntimeError(
                "a process that solves optimal transport ended before it answered, perhaps for lack of memory; "
                "use OTCoupling(workers=1)"
            ) from None
        finally:
            self.idle.put(child)
        for message in said:
            warnings.warn(message, UserWarning, stacklevel=2)
        return answer
