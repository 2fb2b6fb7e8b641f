"""What every method is, whatever data it learns from: settings, a citation, and a file that brings it back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch
from sklearn.exceptions import NotFittedError
from torch import Tensor

import dyninfer
from dyninfer.data.trajectories import Trajectories
from dyninfer.estimators.tables import from_text, to_text
from dyninfer.learning.model_file import read_model, write_model
from dyninfer.learning.parallel import pick_device
from dyninfer.learning.settings import Settings, from_plain, to_plain


@dataclass(kw_only=True, repr=False, eq=False)
class Estimator(Settings, ABC):
    """Base of all methods: settings in the constructor, data in ``fit``, what was learned in ``process_``.

    A method derives from :class:`SnapshotEstimator` or :class:`PathEstimator`, which read the data.
    """

    citation: ClassVar[str] = ""
    tables: ClassVar[tuple[str, ...]] = ("history_",)

    def check(self) -> None:
        """Raise a ValueError naming a setting that cannot be."""

    @abstractmethod
    def fit(self, *args: Any, **kwargs: Any) -> Self:
        """Learn the process behind the data."""

    @abstractmethod
    def simulate(self, *args: Any, **kwargs: Any) -> Trajectories:
        """Run the learned process."""

    @abstractmethod
    def evaluate(self, *args: Any, **kwargs: Any) -> pd.DataFrame:
        """Compare what was learned with data."""

    def save(self, path: str | Path) -> Path:
        """Write the fitted model to one safetensors file: weights, settings, scaling, feature names.

        The file is written beside and moved into place, so a failed save leaves the old one.
        """
        self._check_fitted()
        metadata = self._metadata() | {name: to_text(getattr(self, name)) for name in self.tables}
        return write_model(path, self._tensors(), metadata)

    def cite(self) -> str:
        """BibTeX of the method."""
        return self.citation

    def _tensors(self) -> dict[str, Tensor]:
        """Every tensor of a fitted estimator."""
        return self.process_.state_dict()

    def _metadata(self) -> dict[str, Any]:
        """Everything of a fitted estimator that is not a tensor or a table, as plain data."""
        return {
            "version": dyninfer.__version__,
            "model": to_plain(self),
            "features": [str(f) for f in self.feature_names_in_],
            "hold_out": self.hold_out_,
            "source": self.source_,
            "seed": self.seed_,
            "status": self.status_,
        }

    def _restore(
        self, metadata: dict[str, Any], tensors: dict[str, Tensor], device: torch.device
    ) -> None:
        """Undo :meth:`_metadata`; the process is there already."""
        self.seed_, self.status_ = metadata["seed"], metadata["status"]
        self.source_, self.hold_out_ = metadata["source"], metadata["hold_out"]
        self.feature_names_in_ = np.asarray(metadata["features"], dtype=object)
        self.n_features_in_ = len(self.feature_names_in_)
        for name in self.tables:
            setattr(self, name, from_text(metadata[name]))

    def _check_fitted(self) -> None:
        if not hasattr(self, "process_"):
            raise NotFittedError(
                f"this {type(self).__name__} is not fitted yet; call fit(data, ...) first"
            )


def load(path: str | Path, device: str = "auto") -> Any:
    """Load a model that :meth:`~dyninfer.Estimator.save` wrote.

    Parameters
    ----------
    path : path
        A safetensors file; it holds numbers and text, and loading it runs no code from it.
    device : str
        Where to put the process.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or it is not a dyninfer model, or of a class that is not known here.
    """
    metadata, tensors = read_model(path)
    try:
        model = from_plain(metadata["model"])
        model._restore(metadata, tensors, pick_device(device))
    except KeyError as missing:
        raise ValueError(
            f"{str(path)!r} was written by dyninfer {metadata.get('version')} and lacks {missing}, which version "
            f"{dyninfer.__version__} needs; load it with that version, or fit and save again"
        ) from None
    return model
