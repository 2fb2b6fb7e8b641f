"""Bounds on memory: of what a file asks for, and of what a run would fill."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

try:
    import resource
except ImportError:  # Windows, which does not say how much memory there is either
    resource = None  # type: ignore[assignment]

_FACTORIES = frozenset(
    {
        torch.arange,
        torch.empty,
        torch.empty_strided,
        torch.eye,
        torch.full,
        torch.linspace,
        torch.ones,
        torch.rand,
        torch.randint,
        torch.randn,
        torch.randperm,
        torch.zeros,
    }
)
_CPU = torch.device("cpu")
# Beyond the weights themselves: buffers that are computed and not saved, in bytes.
_SPARE = 40_000_000
# Of a tensor without entries, in bytes: the module around it costs far more than its numbers.
_LEAST = 8000


class MemoryBudget(TorchFunctionMode):
    """Inside, a ValueError is raised before tensors take far more memory than some that exist.

    A file of settings may name any width and depth, and its own weights say what these can be.

    Parameters
    ----------
    tensors : iterable of Tensor
        Weights that what is built inside is to hold.

    Raises
    ------
    ValueError
        Inside, once more than twice their memory is asked for, beyond a spare 40 MB.
    """

    def __init__(self, tensors: Iterable[Tensor]):
        super().__init__()
        n_bytes = sum(_size(value) for value in tensors)
        self.n_left = _SPARE + 2 * n_bytes

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in _FACTORIES:
            # A tensor without memory knows its size; a generator is of another device.
            options = kwargs | {"device": "meta"}
            options.pop("generator", None)
            self.n_left -= _size(func(*args, **options))
            if self.n_left < 0:
                raise ValueError("its settings describe a far larger model than its weights")
        return func(*args, **kwargs)


def check_memory(n_bytes: int, what: str, device: torch.device = _CPU) -> None:
    """Raise a MemoryError before ``what`` fills more memory than there is on a device.

    Left to itself, the system lends memory that it does not have, and kills the process later.

    Parameters
    ----------
    n_bytes : int
        What is needed at least.
    what : str
        Subject of the message, such as "100 paths at 3 times".
    device : torch.device
    """
    n_there = _memory_of(device)
    # A float holds no larger number of bytes.
    n_bytes = min(n_bytes, 10**300)
    if n_there is not None and n_bytes > n_there:
        raise MemoryError(
            f"{what} take at least {n_bytes / 1e9:.3g} GB, but the memory here is "
            f"{n_there / 1e9:.3g} GB; ask for fewer"
        )


def _memory_of(device: torch.device) -> int | None:
    """Bytes of the whole memory of a device, or None where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        physical = os.sysconf("SC_PHYS_PAGES") * page
    except (AttributeError, ValueError, OSError):
        return None
    # Clusters and containers may grant a process less.
    granted, _ = resource.getrlimit(resource.RLIMIT_AS)
    return physical if granted == resource.RLIM_INFINITY else min(physical, granted)


def _size(value: Tensor) -> int:
    return _LEAST + value.numel() * value.element_size()
