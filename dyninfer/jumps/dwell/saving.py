"""Fits of dwell times in model files: numbers and plain facts, and what they are made into."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self

import pandas as pd
from torch import Tensor

from dyninfer import __version__
from dyninfer.learning.budget import MemoryBudget
from dyninfer.learning.model_file import (
    FORMAT,
    check_format,
    read_model,
    reading,
    table_from_text,
    table_to_text,
    write_model,
)
from dyninfer.learning.settings import brief

# Stands in a file where a model would name its settings.
KEY = "dwell_fit"


class SavedFit(ABC):
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

    @abstractmethod
    def _tensors(self) -> dict[str, Tensor]:
        """Numbers of the fit, by the names that they have in a file."""

    @abstractmethod
    def _facts(self) -> dict[str, Any]:
        """All else of it, as JSON holds it."""

    @classmethod
    @abstractmethod
    def _restored(cls, facts: dict[str, Any], tensors: dict[str, Tensor]) -> Self:
        """The fit of the tensors and facts of a file, which may be anybody's."""


def read_fit(path: str | Path, metadata: dict[str, Any], tensors: dict[str, Tensor]) -> Any:
    """Make the fit of what a file holds, or raise a ValueError with its name."""
    with reading(path):
        facts = metadata[KEY]
        name = facts["class"]
        if name not in SavedFit.registry:
            raise ValueError(f"it holds a {brief(name)}, which is not a fit of dwell times")
        for key, value in tensors.items():
            is_number = value.isfinite().all()
            if not bool(is_number):
                raise ValueError(f"{key!r} holds numbers that are not finite")
        # Names of strangers may ask for any size, which is compared before it is built.
        with MemoryBudget(tensors.values()):
            return SavedFit.registry[name]._restored(facts, tensors)


def tensor_of(tensors: dict[str, Tensor], name: str, *shape: int) -> Tensor:
    """A tensor of a file, or a ValueError where it has another shape."""
    value = tensors[name]
    if tuple(value.shape) != shape:
        raise ValueError(f"{name!r} has shape {tuple(value.shape)}, where {shape} belongs")
    return value


def text_of(table: pd.DataFrame | None) -> str | None:
    """A table as a file holds it, where there is one."""
    return None if table is None else table_to_text(table)


def table_of(text: str | None) -> pd.DataFrame | None:
    """Undo :func:`text_of`."""
    return None if text is None else table_from_text(text)
