"""Devices, threads and processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock, Thread
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from dyninfer.learning.settings import brief


def pick_device(device: str | torch.device = "auto") -> torch.device:
    """Turn "auto" or a name into a device that exists.

    Under ``torchrun`` every process gets a GPU of its own.

    Raises
    ------
    ValueError
        If the device is not there; the message lists those that are.
    """
    if not isinstance(device, str | torch.device):
        raise TypeError(f"device must be text, such as 'cpu', found {brief(device)}")
    n_gpus = torch.cuda.device_count()
    available = ["cpu", *(f"cuda:{number}" for number in range(n_gpus))]
    if device == "auto":
        device = "cuda" if n_gpus else "cpu"
    if device == "cuda":
        # Each process of a group takes a GPU of its own.
        local_rank = int(os.environ.get("LOCAL_RANK", 0))
        device = f"cuda:{local_rank % max(n_gpus, 1)}"
    try:
        choice = torch.device(device)
    except RuntimeError:
        raise ValueError(
            f"device {brief(device)} is not known; available: auto, {', '.join(available)}"
        ) from None
    if choice.type == "mps":
        raise ValueError(
            "device 'mps' has no double precision, which weights and likelihoods need; "
            "use device='cpu'"
        )
    if str(choice) not in available and choice.type not in ("cpu", "meta"):
        raise ValueError(
            f"device {brief(device)} is not on this machine; available: {', '.join(available)}"
        )
    return choice


def sum_over_processes(tensors: list[Tensor]) -> None:
    """Add tensors up over all processes in place, as one flat all-reduce."""
    if world() == 1:
        return
    # One message for all: many small ones would mostly wait.
    rows = [t.reshape(-1) for t in tensors]
    flat = torch.cat(rows)
    dist.all_reduce(flat)
    sizes = [t.numel() for t in tensors]
    parts = flat.split(sizes)
    for t, part in zip(tensors, parts, strict=True):
        t.copy_(part.view_as(t))


def mean_of_rows(rows: Tensor) -> Tensor:
    """Mean over the rows ``(n, ...)`` of all processes, whose numbers may differ by one."""
    total = rows.sum(0)
    # Filled in where the rows are: a number that is sent there would wait for them.
    number = rows.new_full((), len(rows))
    sum_over_processes([total, number])
    return total / number


def mean_over_processes(tensors: list[Tensor]) -> None:
    """Average tensors over all processes in place.

    DistributedDataParallel does not promise gradients of losses that hold derivatives; a plain mean
    does.
    """
    if world() == 1:
        return
    sum_over_processes(tensors)
    for t in tensors:
        t /= world()


def join_processes(device: torch.device) -> None:
    """Join the group that ``torchrun`` announced in the environment, if it did.

    Does nothing where the group was joined before.
    """
    if _announced() == 1 or not dist.is_available() or dist.is_initialized():
        return
    # Each moves tensors of one kind of device only.
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend)


def _announced() -> int:
    """Number of processes that the environment speaks of."""
    # Cluster scripts set it to nothing where there is no group.
    value = os.environ.get("WORLD_SIZE") or "1"
    if not value.isdecimal():
        raise ValueError(
            f"the environment variable WORLD_SIZE is {value!r}, not a number of processes; "
            "unset it, or start with torchrun"
        )
    return int(value)


def rank() -> int:
    """Number of this process among those of the group; 0 without a group."""
    if _in_group():
        return dist.get_rank()
    return 0


def world() -> int:
    """Number of processes in the group; 1 without a group."""
    if _in_group():
        return dist.get_world_size()
    return 1


def _in_group() -> bool:
    return dist.is_available() and dist.is_initialized()


def share(batch: Any) -> tuple[Any, float]:
    """Part of a batch for this process, and how its mean counts in the mean over processes.

    Parameters
    ----------
    batch : NamedTuple
        Of tensors with the same first dimension, of further such batches, or of None.
    """
    number = rank()
    n_processes = world()
    if n_processes == 1:
        return batch, 1.0
    n = next(len(part) for part in batch if isinstance(part, Tensor))
    n_mine = len(range(number, n, n_processes))
    mine = every(batch, number, n_processes)
    # One, where the batch divides evenly.
    return mine, n_mine * n_processes / n


def every(batch: Any, first: int, stride: int) -> Any:
    """Every so many rows of a batch, and of the batches in it."""
    if isinstance(batch, tuple):
        parts = [every(part, first, stride) for part in batch]
        return type(batch)(*parts)
    if batch is None:
        return None
    return batch[first::stride]


@contextmanager
def threads(number: int | None) -> Iterator[None]:
    """Set the number of CPU threads of the calling Python thread for a while; None leaves it."""
    before = torch.get_num_threads()
    if number is None or number == before:
        yield
        return
    _set_own(number)
    try:
        yield
    finally:
        _set_own(before)


_SETTING_THREADS = Lock()


def _set_own(number: int) -> None:
    """Set the number of CPU threads of this Python thread, and of no other.

    torch sets by the same call what Python threads begin with that start later: of two runs at
    once, each would take the number of the other for the user's, and leave it behind.
    """
    with _SETTING_THREADS:
        default = _in_new_thread(torch.get_num_threads)
        torch.set_num_threads(number)
        _in_new_thread(lambda: torch.set_num_threads(default))


def _in_new_thread(function: Callable[[], Any]) -> Any:
    """Call a function where no number of threads has been set yet."""
    results: list[Any] = []
    thread = Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    return results[0]
