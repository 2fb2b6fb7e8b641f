"""`simulate`: one door for every kind of process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any

import torch

from dyninfer.data.trajectories import Trajectories
from dyninfer.data.trajectory_stream import Target, TrajectoryStore, streamed
from dyninfer.data.words import counted
from dyninfer.learning.budget import check_memory
from dyninfer.learning.parallel import threads
from dyninfer.learning.settings import LARGEST_SEED, brief, check_switch, is_number, is_whole
from dyninfer.learning.surroundings import own_surroundings
from dyninfer.simulation.grid import check_times
from dyninfer.simulation.solvers.solver import Solver
from dyninfer.simulation.start import device_of

Noise = float | Callable[[torch.Tensor], Any]


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a process is to be run: the keywords of :func:`simulate`, for the kind that runs it."""

    solver: Solver | str | None = None
    noise: Noise | None = None
    backward: bool = False
    n_paths: int | None = None
    resample: float | None = None
    seed: int = 0
    chunk_size: int | None = None
    progress: bool = False
    differentiable: bool = False
    compile: bool = False
    to: TrajectoryStore | None = None

    def refuse(self, *names: str, reason: str) -> None:
        """Raise a sentence if one of these options is set, which the process cannot use."""
        for name in names:
            value = getattr(self, name)
            # A noise of 0 is a choice; what is not set is None or False.
            if value is not None and value is not False:
                raise ValueError(f"{name}={brief(value)} cannot be used: {reason}; leave it out")


@own_surroundings()
def simulate(
    process: Any,
    x0: Any,
    times: Any,
    *,
    solver: Solver | str | None = None,
    noise: Noise | None = None,
    backward: bool = False,
    n_paths: int | None = None,
    resample: float | None = None,
    seed: int = 0,
    chunk_size: int | None = None,
    progress: bool = False,
    differentiable: bool = False,
    compile: bool = False,
    to: Target | TrajectoryStore | None = None,
) -> Trajectories:
    """Run a process from given states and store it at the requested times.

    Parameters
    ----------
    process : Diffusion, MarkovJump, FractionalDiffusion or another registered kind
        What was learned.
    x0 : array or Tensor, ``(n, d)``, or states ``(n,)`` of a jump process
        States at ``times[0]``, in the units of the data. Float64 gives float64 results, everything
        else float32. The run uses the device and precision of the parameters of the process, if it
        has any. A fitted process runs in the precision of the states, and computes its fields in
        that of its weights. If ``x0`` is a tensor, grad mode is on, and ``x0`` or a parameter
        requires grad, results carry their graph; an array or ``torch.no_grad()`` saves that memory.
        States of a jump process are numbers or names; None draws them from its initial
        distribution, ``n_paths`` of them.
    times : array, ``(time,)``
        Output times in the unit of the data: increasing, or decreasing with ``backward=True``. The
        first is the time of ``x0``.
    solver : Solver or str, optional
        One of :mod:`dyninfer.solvers <dyninfer.simulation.solvers>`, such as
        ``di.solvers.RungeKutta4(dt=0.01)``, or its short name, such as ``"tsit5"``, ``"dopri5"`` or
        ``"torchsde:srk:adaptive"``. By default: ``Tsit5()`` for a flow without noise, ``SRA1()``
        for noise that does not depend on the state, ``EulerMaruyama()`` for noise that does,
        ``Skeleton()`` for a jump process, ``FractionalEuler()`` for fractional noise.
    noise : float or callable, optional
        ``ε`` in ``dX = (v ± ε s) dt + √(2ε) dW`` for a diffusion with a score ``s``, where ``v =
        drift − ½ diffusion² s`` and the sign is minus backward in time: every ε gives the same
        marginals, 0 the deterministic flow. A callable takes the time as a scalar tensor. By
        default the noise of the process itself.
    backward : bool
        Run backward in time (diffusions).
    n_paths : int, optional
        Number of paths, drawn from the rows of ``x0``: with replacement if larger than ``n``,
        without if smaller. By default every row once.
    resample : float in (0, 1], optional
        If the effective sample size falls below this fraction at an output time, paths are
        resampled in proportion to their weights; ``parents`` then records the ancestry.
    seed : int
        Determines every random number. The noise of path ``i`` of a diffusion, fractional or not,
        depends only on ``(seed, i)``, so neither ``chunk_size`` nor ``n_paths`` changes it. (With
        adaptive steps of torchsde, and with its log_ode, it depends on all paths of a run, so
        ``chunk_size`` is refused.)
    chunk_size : int, optional
        Paths run at once; by default what fits a working set of 256 MiB, or 4 GiB on a GPU. It
        changes paths only by rounding, because matrix products of other sizes round differently.
    progress : bool
        Show a progress bar.
    differentiable : bool
        Require gradients, with an error if there are none. States are then functions of ``x0``, of
        the parameters of the process, and of tensors that its functions use, at fixed noise. All
        steps stay in memory. Jumps and ``resample`` have no derivative and are refused.
    compile : bool
        Compile the drift with ``torch.compile`` (diffusions): some twenty seconds at the first
        call, faster steps of networks after it. Results are the same but for rounding. On a CPU it
        needs a C++ compiler.
    to : path, optional
        A ``.zarr`` to write: each chunk of paths is written when it is done, so that memory holds
        the states of one chunk, and the weights. The paths are the same. States of the result stay
        in that file, without gradients, and are read on the CPU when used; ``Trajectories.load``
        reads them all. A failed run leaves an existing file unchanged. Jump processes and
        ``resample``, which need all paths at once, are refused.

    Returns
    -------
    Trajectories
        ``states`` ``(path, time, feature)``, or integers ``(path, time)`` of a jump process;
        ``origin`` is the row of ``x0`` that each path starts from; float64 ``log_weights`` ``(path,
        time)``, starting at 0, if the process grows; ``status`` is 1 for paths that diverged, whose
        states are NaN from then on. ``attrs["ess"]`` is the effective sample size at each time,
        before any resampling. ``attrs["evaluations"]`` is the mean number of evaluations of the
        equation per path.

    Raises
    ------
    TypeError
        If the kind of process is unknown, or an argument has the wrong type.
    ValueError
        If the value of an argument is invalid; the message names it and the remedy.
    MemoryError
        If the result alone would exceed the memory of the machine.
    RuntimeError
        If an adaptive method of torchdiffeq gives up; the message names the time and the number of
        paths.

    Warns
    -----
    RuntimeWarning
        Once, if paths diverged, with their number and the first output time.

    Examples
    --------
    >>> import torch
    >>> from dyninfer.diffusions import Diffusion
    >>> from dyninfer.simulation import simulate, solvers
    >>> ou = Diffusion(drift=lambda t, x: -x, diffusion=0.5)
    >>> simulate(ou, torch.ones(3, 2), [0.0, 0.5, 1.0]).states.shape
    torch.Size([3, 3, 2])
    >>> simulate(ou, torch.ones(3, 2), [0.0, 1.0], solver=solvers.EulerMaruyama(dt=0.1)).n_paths
    3
    """
    options = Options(
        solver=solver,
        noise=noise,
        backward=check_switch(backward, "backward"),
        n_paths=n_paths,
        resample=resample,
        seed=_check_seed(seed),
        chunk_size=chunk_size,
        progress=check_switch(progress, "progress"),
        differentiable=check_switch(differentiable, "differentiable"),
        compile=check_switch(compile, "compile"),
    )
    _check_options(options)
    if options.differentiable:
        _check_gradients(options)
    times = check_times(times, options.backward)
    n_kept = len(times)
    if to is not None:
        _check_stream(options)
        # Where each path is now; its other times are on the disk.
        n_kept = 1
    _check_size(process, x0, n_paths, n_kept)
    n_threads = 1 if _is_small(process, x0, n_paths) else None
    with threads(n_threads):
        result = streamed(to, lambda store: run(process, x0, times, replace(options, to=store)))
    # Only now: what a function closes over is not seen before it is called.
    if options.differentiable and not result.states.requires_grad:
        raise ValueError(
            "differentiable=True asks for gradients, but the states depend on nothing that has "
            "any; call requires_grad_() on x0 or on the tensors of the process"
        )
    return result


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
    n_parameters = sum(p.numel() for p in process.parameters())
    n_products = (n_paths or _n_rows(x0)) * n_parameters
    # About a millisecond of one thread; handing work to others costs tens of microseconds a layer.
    return n_products < 50_000_000


def _check_size(process: Any, x0: Any, n_paths: int | None, n_times: int) -> None:
    """Refuse a run whose states alone would not fit into memory."""
    n = n_paths or _n_rows(x0)
    shape: Any = getattr(x0, "shape", ())
    n_features = 1
    if len(shape) == 2:
        n_features = shape[1]
    # Four bytes a number, and the row that a path starts from: precision may make it more.
    bytes_per_path = 4 * n_features * n_times + 8
    n_bytes = n * bytes_per_path
    device = torch.device("cpu")
    if isinstance(x0, torch.Tensor):
        device = x0.device
    if isinstance(process, torch.nn.Module):
        device = device_of(process, device)
    check_memory(n_bytes, f"states of {counted(n, 'path')} at {counted(n_times, 'time')}", device)


def _n_rows(x0: Any) -> int:
    shape = getattr(x0, "shape", None)
    if shape:
        return shape[0]
    if isinstance(x0, list | tuple):
        return len(x0)
    # Whatever it is, the kind that runs it will say.
    return 1


def _check_seed(seed: Any) -> int:
    if not is_whole(seed):
        raise TypeError(f"seed must be an integer, but it is {brief(seed)}")
    if abs(int(seed)) >= LARGEST_SEED:
        raise ValueError(f"seed must be smaller than 2**128, but it is {brief(seed)}")
    return int(seed)


def _check_gradients(options: Options) -> None:
    if not torch.is_grad_enabled():
        raise ValueError(
            "differentiable=True asks for gradients, but they are turned off here, by "
            "torch.no_grad() or by a model that keeps none; run its process_ with di.simulate, "
            "outside of no_grad"
        )
    options.refuse(
        "resample",
        reason="which path is drawn anew has no slope, so that gradients would miss a part",
    )
    # A chunk bounds memory only if its steps can be forgotten.
    options.refuse("chunk_size", reason="gradients keep the steps of all paths in memory at once")


def _check_stream(options: Options) -> None:
    reason = "with to, chunks of paths are written one by one, and their steps are forgotten"
    options.refuse("differentiable", "resample", reason=reason)


def _check_options(options: Options) -> None:
    for name in ("n_paths", "chunk_size"):
        value: Any = getattr(options, name)
        if value is None:
            continue
        # Beyond the largest number of rows that an array can have, it is a mistake.
        if not is_whole(value) or not 1 <= value < 2**63:
            raise ValueError(f"{name} must be a positive integer or None, but it is {brief(value)}")
    fraction: Any = options.resample
    if fraction is None:
        return
    if not is_number(fraction) or not 0 < fraction <= 1:
        raise ValueError(
            f"resample must be a fraction in (0, 1] or None, but it is {brief(fraction)}"
        )
