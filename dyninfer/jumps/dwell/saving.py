"""Fits of dwell times in model files: numbers and plain facts, and what they are made into."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

from torch import Tensor

from dyninfer import __version__
from dyninfer.learning.budget import MemoryBudget
from dyninfer.learning.model_file import FORMAT, check_format, read_model, reading, write_model
from dyninfer.learning.settings import brief

# Stands in a file where a model would name its settings.
KEY = "dwell_fit"


class SavedFit:
    """What :meth:`save` writes and :func:`dyninfer.load` reads: a fit, without its data.

    A subclass says which tensors and facts it is made of, and makes itself of them.
    """

    registry: ClassVar[dict[str, type[SavedFit]]] = {}

    def __init_subclass__(cls, **keywords: Any):
        super().__init_subclass__(**keywords)
        SavedFit.registry[cls.__name__] = cls

    def save(self, path: str | Path) -> Path:
        """Write the fit to one model file, which :func:`dyninfer.load` reads; never its data.

        Raises
        ------
        ValueError
            If the folder does not exist.
        OSError
            If the file cannot be written.
        """
        facts = {"class": type(self).__name__, **self._facts()}
        metadata = {"format": FORMAT, "version": __version__, KEY: facts}
        return write_model(path, self._tensors(), metadata)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a fit that :meth:`save` wrote.

        Raises
        ------
        FileNotFoundError, ValueError
            If there is no such file, or it holds something else.
        """
        metadata, tensors = read_model(path)
        check_format(path, metadata)
        fit = read_fit(path, metadata, tensors)
        with reading(path):
            if not isinstance(fit, cls):
                raise ValueError(f"it holds a {type(fit).__name__} and not a {cls.__name__}")
        return fit

    def _tensors(self) -> dict[str, Tensor]:
        raise NotImplementedError

    def _facts(self) -> dict[str, Any]:
        raise NotImplementedError

    @classmethod
    def _restored(cls, facts: dict[str, Any], tensors: dict[str, Tensor]) -> Self:
        raise NotImplementedError


def read_fit(path: str | Path, metadata: dict[str, Any], tensors: dict[str, Tensor]) -> Any:
    """Make the fit of what a file holds, or raise a ValueError with its name."""
    with reading(path):
        facts = metadata[KEY]
        name = facts["class"]
        if name not in SavedFit.registry:
            raise ValueError(f"it holds a {brief(name)}, which is no fit of dwell times")
        for key, value in tensors.items():
            check_finite(value, key)
        # Names of strangers may ask for any size, which is compared before it is built.
        with MemoryBudget(tensors.values()):
            return SavedFit.registry[name]._restored(facts, tensors)


def check_finite(value: Tensor, name: str) -> None:
    """Raise a ValueError where numbers of a file are none."""
    is_number = value.isfinite().all()
    if not bool(is_number):
        raise ValueError(f"{name!r} holds numbers that are not finite")


def check_shape(value: Tensor, name: str, *shape: int) -> Tensor:
    """Return a tensor of a file, or raise a ValueError where it has another shape."""
    if tuple(value.shape) != shape:
        raise ValueError(f"{name!r} has shape {tuple(value.shape)}, where {shape} belongs")
    return value
