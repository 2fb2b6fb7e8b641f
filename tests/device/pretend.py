"""A GPU that is pretended: tensors stay in the memory of the CPU, and what a GPU would do is counted.

Every storage carries a mark that says on which side it would lie. ``tensor.device`` answers by the
mark, "cuda" becomes "cpu" and the mark, and every operation of torch passes by here. So the real code
runs to real numbers, and each launch, wait, transfer and mixture of devices is counted with the line
of the package that caused it. Fake tensors would not do: they hold no numbers to train on.
"""

from __future__ import annotations

import sys
import types
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import dyninfer

PACKAGE = str(Path(dyninfer.__file__).parent)
CPU = torch.device("cpu")
CUDA = torch.device("cuda:0")

# Operations that answer with another view of the same numbers: nothing is launched.
VIEWS = frozenset(
    [
        "_reshape_alias",
        "_unsafe_view",
        "alias",
        "as_strided",
        "chunk",
        "detach",
        "diagonal",
        "expand",
        "lift_fresh",
        "permute",
        "select",
        "slice",
        "split",
        "split_with_sizes",
        "squeeze",
        "t",
        "transpose",
        "unbind",
        "unfold",
        "unsqueeze",
        "view",
        "view_as_complex",
        "view_as_real",
        "_conj",
    ]
)
# Operations whose answer, or whose size, the host must know before it goes on. Factorisations are
# among them where they check themselves.
WAITS = frozenset(
    [
        "_linalg_check_errors",
        "_linalg_eigh",
        "_linalg_eigvals",
        "_linalg_svd",
        "_local_scalar_dense",
        "_unique2",
        "bincount",
        "equal",
        "is_nonzero",
        "linalg_eig",
        "linalg_lstsq",
        "linalg_matrix_exp",
        "masked_select",
        "nonzero",
        "unique_consecutive",
        "unique_dim",
    ]
)
COPIES = frozenset({"_foreach_copy_", "_to_copy", "copy_"})
# Functions that make a tensor of numbers that the host holds.
FROM_HOST = frozenset({"as_tensor", "asarray", "new_tensor", "tensor"})
TO_NUMPY = frozenset({"__array__", "numpy"})

# Marks after which those of tensors that are gone are swept away, and their memory with them.
SWEEP_EVERY = 32

# Kinds that make the host stand still, and all that leaves the device or its queue.
WAITS_OF_HOST = ("wait", "download")
TRAFFIC = (*WAITS_OF_HOST, "upload", "mixture", "host")

_read_device = Tensor.device.__get__
_read_is_cuda = Tensor.is_cuda.__get__
_read_is_cpu = Tensor.is_cpu.__get__


class Counts(Counter[tuple[str, str, str]]):
    """How often each (kind, line of the package, operation) was met.

    Kinds are ``launch``, ``wait`` (the host stands still), ``download`` (a wait as well),
    ``upload``, ``mixture`` (an error on a GPU) and ``host`` (an operation on the CPU).
    """

    def note(self, kind: str, operation: str) -> None:
        """Count one, at the line of the package that runs now."""
        self[kind, _line(), operation] += 1

    def total(self, *kinds: str) -> int:  # type: ignore[override]
        """Number of all that is of these kinds."""
        return sum(number for (kind, _, _), number in self.items() if kind in kinds)

    def places(self, *kinds: str) -> str:
        """What is of these kinds, the most frequent first, for a message."""
        rows = []
        for (kind, line, operation), number in self.most_common():
            if kind in kinds:
                rows.append(f"{number} x {kind}: {line} {operation}")
        return "\n".join(rows)

    def since(self, before: Counts) -> Counts:
        """What came after an earlier copy."""
        return Counts(self - before)


def _line() -> str:
    frame = sys._getframe(2)
    while frame.f_back is not None and not frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    name = frame.f_code.co_filename
    if not name.startswith(PACKAGE):
        return "outside"
    file = Path(name).relative_to(PACKAGE).as_posix()
    return f"{file}:{frame.f_lineno}"


class Marks:
    """On which side storages would lie."""

    def __init__(self) -> None:
        # A weak reference keeps the address of a storage from being used anew, and its memory.
        self.on_gpu: dict[int, StorageWeakRef] = {}
        self.n_put = 0

    def has(self, tensor: Tensor) -> bool:
        """Whether a tensor would lie on the GPU."""
        reference = self.on_gpu.get(_address(tensor))
        return reference is not None and not reference.expired()

    def put(self, tensor: Tensor, on_gpu: bool) -> None:
        """Say where a tensor would lie."""
        address = _address(tensor)
        self.n_put += 1
        if self.n_put % SWEEP_EVERY == 0:
            alive = [item for item in self.on_gpu.items() if not item[1].expired()]
            self.on_gpu = dict(alive)
        if address and on_gpu:
            self.on_gpu[address] = StorageWeakRef(tensor.untyped_storage())
        else:
            self.on_gpu.pop(address, None)

    def moved(self, tensor: Tensor, original: Tensor, on_gpu: bool) -> Tensor:
        """A tensor with its mark; a copy where it shares the memory of the original."""
        if _address(tensor) == _address(original):
            tensor = tensor.clone()
        self.put(tensor, on_gpu)
        return tensor


# One for all: what the package keeps for a device stays there from one pretended GPU to the next.
MARKS = Marks()


def _address(tensor: Tensor) -> int:
    if tensor.layout != torch.strided:
        return 0
    return tensor.untyped_storage()._cdata


def _tensors(values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def _is_cuda(device: Any) -> bool:
    return device is not None and "cuda" in str(device)


def _on_cpu(option: Any) -> Any:
    """An argument of ``to`` as this machine can follow it."""
    return CPU if isinstance(option, str | torch.device) else option


class Functions(TorchFunctionMode):
    """What is called by its name in Python: devices are asked for, given and moved to here."""

    def __init__(self, marks: Marks, counts: Counts):
        super().__init__()
        self.marks = marks
        self.counts = counts
        # Whether tensors that are made inside of the present call would lie on the GPU.
        self.makes_there = False
        self.name = ""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Answer questions about devices, and run everything else."""
        if func in (_read_device, _read_is_cuda, _read_is_cpu):
            return self._answer(func, args[0])
        before = self.makes_there, self.name
        kwargs = dict(kwargs or {})
        self.name = getattr(func, "__name__", "")
        self.makes_there = any(map(self.marks.has, _tensors((args, kwargs))))
        try:
            return self._run(func, args, kwargs)
        finally:
            self.makes_there, self.name = before

    def _answer(self, func: Any, tensor: Tensor) -> Any:
        if not self.marks.has(tensor):
            return func(tensor)
        answers = {_read_device: CUDA, _read_is_cuda: True, _read_is_cpu: False}
        return answers[func]

    def _run(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        first = args[0] if args and isinstance(args[0], Tensor) else None
        place = kwargs.get("device")
        if first is not None and self.name in ("to", "cpu", "cuda"):
            return self._move(func, first, args, kwargs)
        if self.name == "tolist" and self.makes_there:
            # No operation of its own: torch reads the memory.
            self.counts.note("wait", self.name)
        if self.name in TO_NUMPY and self.makes_there:
            is_forced = bool(kwargs.get("force"))
            self.counts.note("download" if is_forced else "mixture", self.name)
        there = _is_cuda(place)
        if place is None and first is not None:
            there = self.marks.has(first)
        self._check_generator(kwargs.get("generator"), there)
        if place is not None and there:
            kwargs["device"] = CPU
        if self.name in FROM_HOST and there:
            return self._upload(func, args, kwargs)
        if place is not None:
            self.makes_there = there
        return func(*args, **kwargs)

    def _check_generator(self, generator: Any, there: bool) -> None:
        if generator is not None and _is_cuda(generator.device) != there:
            self.counts.note("mixture", f"{self.name} with a generator on {generator.device}")

    def _upload(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Tensor:
        """Numbers of the host, which a GPU would be sent."""
        source = args[0]
        if self.name != "new_tensor" and isinstance(source, Tensor) and self.marks.has(source):
            return func(*args, **kwargs)
        self.makes_there = False
        out = func(*args, **kwargs)
        self.counts.note("upload", self.name)
        return self.marks.moved(out.clone(), out, True)

    def _move(self, func: Any, tensor: Tensor, args: Any, kwargs: dict[str, Any]) -> Tensor:
        """``to``, ``cpu`` and ``cuda``."""
        here = self.marks.has(tensor)
        out = tensor
        there = self.name == "cuda"
        if self.name == "to":
            there = here
            # A dtype or a flag says nothing of the place.
            for target in (*args[1:], *kwargs.values()):
                if isinstance(target, Tensor):
                    there = self.marks.has(target)
                elif isinstance(target, str | torch.device):
                    there = _is_cuda(target)
            plain = [_on_cpu(option) for option in args[1:]]
            keywords = {key: _on_cpu(option) for key, option in kwargs.items()}
            out = func(tensor, *plain, **keywords)
        if here == there:
            return out
        self.counts.note("upload" if there else "download", self.name)
        return self.marks.moved(out, tensor, there)


class Operations(TorchDispatchMode):
    """What reaches the device: every operation, those of a backward pass included."""

    def __init__(self, marks: Marks, counts: Counts, functions: Functions):
        super().__init__()
        self.marks = marks
        self.counts = counts
        self.functions = functions

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation, mark what it makes, and count it."""
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        inputs = _tensors((args, kwargs))
        addresses = {_address(tensor) for tensor in inputs}
        on_gpu = any(map(self.marks.has, inputs))
        # A number that Python wraps stays with the host.
        if not inputs and name != "scalar_tensor":
            on_gpu = self.functions.makes_there
        out = func(*args, **kwargs)
        for tensor in _tensors(out):
            # Lengths of packed sequences are for the host, which reads them.
            is_length = "pack" in name and tensor.dtype == torch.int64
            if _address(tensor) not in addresses:
                self.marks.put(tensor, on_gpu and not is_length)
        if name not in VIEWS and not name.startswith("_record_function"):
            self._count(name, args, kwargs, inputs)
        return out

    def _count(self, name: str, args: Any, kwargs: dict[str, Any], inputs: list[Tensor]) -> None:
        on_gpu = [self.marks.has(tensor) for tensor in inputs]
        if not (any(on_gpu) or (not inputs and self.functions.makes_there)):
            self.counts.note("host", name)
            return
        if name in COPIES:
            self._count_copy(name, on_gpu)
        elif "index" in name and len(args) > 1 and isinstance(args[1], list | tuple):
            self._count_index(name, args)
        else:
            self._count_mixture(name, inputs)
        if self._waits(name, kwargs):
            self.counts.note("wait", name)
        if name != "_local_scalar_dense":
            self.counts.note("launch", name)

    def _waits(self, name: str, kwargs: dict[str, Any]) -> bool:
        # It asks for the largest class where it is told of their number on the CPU only.
        if self.functions.name == "one_hot":
            return False
        if name == "repeat_interleave":
            return kwargs.get("output_size") is None
        return name in WAITS

    def _count_copy(self, name: str, on_gpu: list[bool]) -> None:
        """Copies say by the side of their target what they are."""
        if all(on_gpu):
            return
        is_download = name == "copy_" and not on_gpu[0]
        self.counts.note("download" if is_download else "upload", name)

    def _count_index(self, name: str, args: Any) -> None:
        indices = [index for index in args[1] if index is not None]
        is_mask = any(index.dtype in (torch.bool, torch.uint8) for index in indices)
        # One number at a mask is filled in without a look at how many places there are.
        is_fill = len(args) > 2 and len(indices) == 1 and args[2].numel() == 1
        if is_mask and not is_fill:
            self.counts.note("wait", f"{name} by a mask")
        if not self.marks.has(args[0]):
            self.counts.note("mixture", f"{name} of a tensor on the CPU")
        elif not all(map(self.marks.has, indices)):
            self.counts.note("upload", f"{name} by an index on the CPU")

    def _count_mixture(self, name: str, inputs: list[Tensor]) -> None:
        """Single numbers may come from the CPU, and the lengths of packed sequences."""
        for tensor in inputs:
            if tensor.dim() and not self.marks.has(tensor) and "pack" not in name:
                self.counts.note("mixture", name)
                return


class PretendGenerator(torch._C.Generator):
    """A generator of the CPU that says which device it was made for."""

    def __new__(cls, device: Any = "cpu") -> PretendGenerator:
        """Make one on the CPU."""
        generator = super().__new__(cls)
        generator.place = CUDA if _is_cuda(device) else CPU
        return generator

    def __init__(self, device: Any = "cpu"):
        pass

    @property
    def device(self) -> torch.device:
        """Where it would be."""
        return self.place


@contextmanager
def pretend_gpu() -> Iterator[Counts]:
    """Let this process believe in one GPU for a while; yields what is counted meanwhile."""
    marks, counts = MARKS, Counts()
    functions = Functions(marks, counts)
    card = types.SimpleNamespace(total_memory=10**11, name="pretended")

    def grouped(real: Callable[..., Any]) -> Callable[..., Any]:
        def groups(*args: Any, **kwargs: Any) -> Any:
            """Groups of tensors by device and dtype, the device as it would be."""
            answer = {}
            for (device, dtype), value in real(*args, **kwargs).items():
                one = value[0][0][0]
                answer[CUDA if marks.has(one) else device, dtype] = value
            return answer

        return groups

    grouping = "_group_tensors_by_device_and_dtype"

    def module_to(real: Callable[..., Any]) -> Callable[..., Any]:
        def to(module: Any, *args: Any, **kwargs: Any) -> Any:
            """A module goes where a tensor would lie, which torch would ask of its memory."""
            if args and isinstance(args[0], Tensor):
                args = (CUDA if marks.has(args[0]) else CPU, args[0].dtype)
            return real(module, *args, **kwargs)

        return to

    optimizer, clipping = torch.optim.Optimizer, torch.nn.utils.clip_grad
    of_optimizer = staticmethod(grouped(getattr(optimizer, grouping)))
    with ExitStack() as stack:
        patch = mock.patch.object
        for target, name, value in (
            (torch, "Generator", PretendGenerator),
            (torch.cuda, "is_available", lambda: True),
            (torch.cuda, "device_count", lambda: 1),
            (torch.cuda, "get_device_properties", lambda *_: card),
            (torch.cuda, "is_current_stream_capturing", lambda: False),
            (clipping, grouping, grouped(getattr(clipping, grouping))),
            (optimizer, grouping, of_optimizer),
            (torch.nn.Module, "to", module_to(torch.nn.Module.to)),
        ):
            stack.enter_context(patch(target, name, value))
        stack.enter_context(functions)
        stack.enter_context(Operations(marks, counts, functions))
        yield counts
