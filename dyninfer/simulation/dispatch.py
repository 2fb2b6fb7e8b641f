"""`simulate`: one door for every kind of process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any

import numpy as np
import torch

from dyninfer.data.trajectories import Trajectories
from dyninfer.learning.parallel import threads
from dyninfer.simulation.grid import check_times


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a simulation is to be run: the keywords of :func:`simulate`, for the kind that runs it."""

    solver: str = "auto"
    dt: float | None = None
    noise: float | Callable[[torch.Tensor], Any] | None = None
    backward: bool = False
    n_paths: int | None = None
    seed: int = 0
    chunk_size: int | None = None
    rtol: float = 1e-4
    atol: float = 1e-5
    resample: float | None = None
    origin: Sequence[str] | None = None
    features: Sequence[str] | None = None
    progress: bool = False


def simulate(
    process: Any,
    x0: Any,
    times: Any,
    *,
    solver: str = "auto",
    dt: float | None = None,
    noise: float | Callable[[torch.Tensor], Any] | None = None,
    backward: bool = False,
    n_paths: int | None = None,
    seed: int = 0,
    chunk_size: int | None = None,
    rtol: float = 1e-4,
    atol: float = 1e-5,
    resample: float | None = None,
    origin: Sequence[str] | None = None,
    features: Sequence[str] | None = None,
    progress: bool = False,
) -> Trajectories:
    """Run a process from given states and keep the requested times.

    Parameters
    ----------
    process : Diffusion or another registered kind
        What was learned.
    x0 : array or Tensor, ``(n, d)``
        States at ``times[0]``, in the user's units. Float64 gives float64 results, everything else float32. The run
        takes place on the device, and in the precision, of the process' parameters where it has any. Where ``x0`` is
        a tensor, grad mode is on, and ``x0`` or a parameter requires grad, results carry their graph; an array, or
        ``torch.no_grad()``, avoids that memory.
    times : array, ``(time,)``
        Output times in the user's units: increasing, or decreasing with ``backward=True``. The first is that of ``x0``.
    solver : str
        ``"auto"``, or by name. A flow without noise: ``"tsit5"`` (auto; adaptive, every path its own step),
        ``"euler"``, ``"heun"``, ``"rk4"`` (steps of ``dt``), ``"dopri5"`` or any other method of torchdiffeq, also
        as ``"torchdiffeq:<method>"``. With noise: ``"sra1"`` (auto where the noise does not depend on the state;
        strong order 1.5, two evaluations a step), ``"euler_maruyama"`` (auto elsewhere; one evaluation), ``"heun"``
        (Heun's rule for the drift, Itô noise at the left point), or ``"torchsde:<method>"``, with ``:adaptive`` or
        ``:adjoint`` appended where wanted.
    dt : float, optional
        Largest step, in time units; every output interval is divided evenly so that outputs are hit exactly. By
        default a hundredth of the whole span. Adaptive solvers do not use it.
    noise : float or callable, optional
        ``ε`` in ``dX = (v ± ε s) dt + √(2ε) dW`` for a process with a score ``s``, where ``v = drift − ½ diffusion² s``
        and the sign is minus backward in time: every ε gives the same marginals, 0 the deterministic flow. A callable
        takes the time as a scalar tensor. By default the process' own noise.
    backward : bool
        Run time downwards.
    n_paths : int, optional
        Number of paths, drawn from the rows of ``x0``: with replacement if larger than ``n``, without if smaller.
        By default every row once.
    seed : int
        Everything random derives from it. The noise of path ``i`` depends on ``(seed, i)`` alone, so neither
        ``chunk_size`` nor ``n_paths`` changes it. (torchsde's noise does depend on the chunk.)
    chunk_size : int, optional
        Paths integrated at once; by default what fits a working set of 256 MiB, or 4 GiB on a GPU.
    rtol, atol : float
        Tolerances of the adaptive solvers, per path.
    resample : float in (0, 1], optional
        Where the effective sample size falls below this fraction at an output time, paths are drawn anew in
        proportion to their weights; ``parents`` then tells who descends from whom.
    origin : sequence of str, optional
        Names of the rows of ``x0``, handed on to the paths that start there.
    features : sequence of str, optional
        Names of the ``d`` features.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Trajectories
        ``states`` ``(path, time, feature)``; float64 ``log_weights`` ``(path, time)`` starting at 0 where the process
        grows; ``status`` 1 for paths that diverged, whose states are NaN from then on. ``attrs["ess"]`` is the
        effective sample size at each time, before any resampling.

    Raises
    ------
    TypeError
        If the process is of no known kind, or an argument is of the wrong type.
    ValueError
        If an argument has a value that cannot be run; the message names it and the remedy.
    RuntimeError
        If one of torchdiffeq's adaptive methods gives up; the message names the time and the number of paths.

    Warns
    -----
    RuntimeWarning
        Once, where paths diverged, with their number and the first output time.

    Examples
    --------
    >>> import torch
    >>> from dyninfer.diffusions import Diffusion
    >>> from dyninfer.simulation import simulate
    >>> ou = Diffusion(drift=lambda t, x: -x, diffusion=0.5)
    >>> simulate(ou, torch.ones(3, 2), [0.0, 0.5, 1.0]).states.shape
    torch.Size([3, 3, 2])
    """
    options = Options(
        solver=solver,
        dt=dt,
        noise=noise,
        backward=backward,
        n_paths=n_paths,
        seed=seed,
        chunk_size=chunk_size,
        rtol=rtol,
        atol=atol,
        resample=resample,
        origin=origin,
        features=features,
        progress=progress,
    )
    _check_options(options)
    with threads(1 if _is_small(process, x0, n_paths) else None):
        return run(process, x0, check_times(times, backward), replace(options, seed=int(seed)))


@singledispatch
def run(process: Any, x0: Any, times: torch.Tensor, options: Options) -> Trajectories:
    """Run one kind of process; a new kind registers its function with ``@run.register``."""
    raise TypeError(
        f"simulate runs a process such as Diffusion, but process is a {type(process).__name__}"
    )


def _is_small(process: Any, x0: Any, n_paths: int | None) -> bool:
    """Whether one evaluation is so little work that a second CPU thread would mostly wait."""
    if not isinstance(process, torch.nn.Module):
        return False
    shape = getattr(x0, "shape", None)
    n = n_paths or (shape[0] if shape else len(x0) if isinstance(x0, list | tuple) else 1)
    return n * sum(p.numel() for p in process.parameters()) < 50_000_000


def _check_options(options: Options) -> None:
    if not isinstance(options.solver, str):
        raise TypeError(
            f"solver must be a name such as 'auto', but it is a {type(options.solver).__name__}"
        )
    if isinstance(options.seed, bool) or not isinstance(options.seed, int | np.integer):
        raise TypeError(f"seed must be an integer, but it is {options.seed!r}")
    for name in ("n_paths", "chunk_size"):
        value = getattr(options, name)
        if value is not None and not (isinstance(value, int | np.integer) and value >= 1):
            raise ValueError(f"{name} must be a positive integer or None, but it is {value!r}")
    for name in ("dt", "rtol", "atol"):
        value = getattr(options, name)
        if value is not None and not (
            isinstance(value, int | float | np.number) and 0 < value < float("inf")
        ):
            raise ValueError(f"{name} must be a positive number, but it is {value!r}")
    if options.resample is not None and not (
        isinstance(options.resample, int | float) and 0 < options.resample <= 1
    ):
        raise ValueError(
            f"resample must be a fraction in (0, 1] or None, but it is {options.resample!r}"
        )
