"""Devices, threads and processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def pick_device(device: str = "auto") -> torch.device:
    """Turn "auto" or a name into a device that exists; under ``torchrun`` every process gets a GPU of its own.

    Raises
    ------
    ValueError
        If the device is not there; the message lists those that are.
    """
    n = torch.cuda.device_count()
    available = ["cpu", *(f"cuda:{i}" for i in range(n))]
    own = f"cuda:{int(os.environ.get('LOCAL_RANK', 0)) % max(n, 1)}"
    if device == "auto":
        return torch.device(own if n else "cpu")
    try:
        wanted = torch.device(own if device == "cuda" else device)
    except RuntimeError:
        raise ValueError(
            f"device {device!r} is not known; available: auto, {', '.join(available)}"
        ) from None
    if wanted.type == "mps":
        raise ValueError(
            "device 'mps' has no double precision, which weights and likelihoods need; use device='cpu'"
        )
    if str(wanted) not in available and wanted.type not in ("cpu", "meta"):
        raise ValueError(
            f"device {device!r} is not on this machine; available: {', '.join(available)}"
        )
    return wanted


def sum_over_processes(tensors: list[Tensor]) -> None:
    """Add tensors up over all processes in place, as one flat all-reduce."""
    if world() == 1:
        return
    flat = torch.cat([t.reshape(-1) for t in tensors])
    dist.all_reduce(flat)
    for t, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        t.copy_(part.view_as(t))


def mean_over_processes(tensors: list[Tensor]) -> None:
    """Average tensors over all processes in place.

    DistributedDataParallel does not promise gradients of losses that hold derivatives; a plain mean does.
    """
    sum_over_processes(tensors)
    for t in tensors if world() > 1 else ():
        t /= world()


def join_processes(device: torch.device) -> None:
    """Join the group that ``torchrun`` announced in the environment, if it did and nobody joined yet."""
    if (
        int(os.environ.get("WORLD_SIZE", "1")) > 1
        and dist.is_available()
        and not dist.is_initialized()
    ):
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")


def rank() -> int:
    """Number of this process among those of the group; 0 without a group."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def world() -> int:
    """Number of processes in the group; 1 without a group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def share(batch: Any) -> tuple[Any, float]:
    """Take the part of the batch for this process, and how its mean counts in the mean over processes."""
    me, all_of_us = rank(), world()
    if all_of_us == 1:
        return batch, 1.0
    n = next(len(part) for part in batch if isinstance(part, Tensor))
    mine = _every(batch, me, all_of_us)
    return mine, len(range(me, n, all_of_us)) * all_of_us / n


def _every(batch: Any, first: int, stride: int) -> Any:
    """Every so many rows of a batch, and of the batches in it."""
    if isinstance(batch, tuple):
        return type(batch)(*(_every(part, first, stride) for part in batch))
    return None if batch is None else batch[first::stride]


@contextmanager
def threads(wanted: int | None) -> Iterator[None]:
    """Set the number of CPU threads for a while; None leaves it."""
    before = torch.get_num_threads()
    torch.set_num_threads(wanted or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
