"""What every method is, whatever data it learns from: settings, one way to fit, and a file."""

from __future__ import annotations

import copy
import json
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, replace
from inspect import isfunction
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np
import pandas as pd
import torch
from sklearn.exceptions import NotFittedError
from torch import Tensor, nn

import dyninfer
from dyninfer.data import keys
from dyninfer.data.columns import check_writable
from dyninfer.data.provenance import Provenance
from dyninfer.data.reading import is_anndata
from dyninfer.data.trajectories import Trajectories
from dyninfer.estimators.loading import check_identity, check_shapes, restored
from dyninfer.estimators.placing import Placed
from dyninfer.estimators.summary import Summarised
from dyninfer.learning.model_file import (
    FORMAT,
    check_format,
    is_result,
    read_model,
    table_from_text,
    table_to_text,
    write_model,
)
from dyninfer.learning.objective import Objective
from dyninfer.learning.parallel import join_processes, pick_device, rank
from dyninfer.learning.progress import showing
from dyninfer.learning.random import seeded_modules
from dyninfer.learning.run import Outcome, Run
from dyninfer.learning.scaling import Scaling
from dyninfer.learning.settings import (
    Settings,
    fingerprint,
    from_plain,
    setting_texts,
    to_plain,
)
from dyninfer.learning.surroundings import own_surroundings
from dyninfer.learning.training import Training, train
from dyninfer.learning.warn import warn

if TYPE_CHECKING:
    from anndata import AnnData


class Reading(NamedTuple):
    """Data as a method learns from them, and what is known about them."""

    data: Any
    scaling: Scaling
    facts: dict[str, Any]
    provenance: Provenance


@dataclass(kw_only=True, repr=False, eq=False)
class Estimator(Placed, Summarised, Settings, ABC):
    """Base of all methods: settings in the constructor, data in ``fit``, results in ``process_``.

    A method derives from :class:`SnapshotEstimator`, :class:`PathEstimator` or
    :class:`FieldEstimator`, which read the data. It defines

    * ``citation``: a BibTeX entry;
    * ``check()``: raise a ValueError that names an invalid setting (optional);
    * ``facts(data, seed)``: what ``build`` must know about the data besides the scaling (optional);
    * ``build(data, scaling)``: the untrained process, a torch module in the units of the data;
    * either ``make_objective(process, data, scaling, seed)``: what the training loop minimises;
    * or ``learn(process, data, run)``: another way to learn.

    Attributes
    ----------
    process_ : module
        What was learned, in the units of the data.
    history_ : DataFrame
        A record of training; its columns depend on the method.
    status_ : str
        "finished", "stopped early", "interrupted" or "diverged".
    provenance_ : Provenance
        Where the data came from and how they were read.
    scaling_ : Scaling
        How states and times are standardised inside.
    training_ : Training or None
        Settings of the training loop that were used.
    facts_ : dict
        What ``facts`` returned.
    """

    citation: ClassVar[str] = ""
    tables: ClassVar[tuple[str, ...]] = ("history_",)
    with_units: ClassVar[tuple[str, ...]] = ()  # settings in units of the data, by name

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        # Whatever a user calls, also of methods made elsewhere.
        for name, member in list(vars(cls).items()):
            if isfunction(member) and not name.startswith("_"):
                setattr(cls, name, own_surroundings()(member))

    @abstractmethod
    def fit(self, *args: Any, **kwargs: Any) -> Self:
        """Learn the process behind the data."""

    @abstractmethod
    def simulate(self, *args: Any, **kwargs: Any) -> Trajectories:
        """Run the learned process."""

    @abstractmethod
    def evaluate(self, *args: Any, **kwargs: Any) -> pd.DataFrame:
        """Compare what was learned with data."""

    @abstractmethod
    def annotations(self, adata: AnnData) -> dict[str, Any]:
        """What :meth:`annotate` writes: columns of ``obs`` ``(n,)``, and of ``obsm`` ``(n, d)``."""

    @abstractmethod
    def read(self, data: Any, source: dict[str, Any], hold_out: Any, run: Run) -> Reading:
        """Data without what is held out, and what is known about them."""

    def check(self) -> None:
        """Raise a ValueError that names an invalid setting."""

    def facts(self, data: Any, seed: int = 0) -> dict[str, Any]:
        """Plain facts about the data that ``build`` needs, even when a saved model is rebuilt."""
        return {}

    @abstractmethod
    def build(self, data: Any, scaling: Scaling) -> nn.Module:
        """Return the untrained process; ``data`` is None when a saved model is rebuilt."""

    def make_objective(self, process: Any, data: Any, scaling: Scaling, seed: int) -> Objective:
        """Return what the training loop minimises."""
        raise NotImplementedError(
            f"{type(self).__name__} must define make_objective(process, data, scaling, seed), "
            "or learn(process, data, run)"
        )

    def learn(self, process: Any, data: Any, run: Run) -> Outcome:
        """Train the process in place, by the training loop."""
        settings = self.training_ or Training()
        device = pick_device(settings.device)
        # Before anything is drawn or moved: each process of a group has a device of its own.
        join_processes(device)
        process.to(device, settings.dtype)
        objective = self.make_objective(process, data, self.scaling_, run.seed)
        result = train(
            process,
            objective,
            settings,
            seed=run.seed,
            checkpoint=run.checkpoint,
            resume=run.resume,
            progress=run.progress,
            identity=run.identity,
        )
        self.finish(objective)
        return Outcome(history=result.history, status=result.status, checkpointed=True)

    def finish(self, objective: Any) -> None:
        """Settle the process, and keep those DataFrames of the objective that ``tables`` names."""
        objective.settle()

    def annotate(self, adata: AnnData) -> AnnData:
        """Write what was learned into an AnnData, each row at its own time, and return it.

        Names of what is written begin with ``dyninfer_``; the settings and the provenance are
        stored as JSON in ``uns["dyninfer"]``.
        """
        self._check_fitted()
        # The settings are written too.
        self._check_settings()
        if not is_anndata(adata):
            raise TypeError(f"annotate writes into an AnnData, not {type(adata).__name__}")
        check_writable(adata)
        # All are computed before the first is written: an error leaves the AnnData as it was.
        for name, values in self.annotations(adata).items():
            place = adata.obsm if values.ndim == 2 else adata.obs
            place[name] = values
        # As text: AnnData stores neither None nor lists of mixed kinds.
        metadata = json.dumps(self._metadata())
        adata.uns[keys.UNS] = {"model": metadata}
        return adata

    def save(self, path: str | Path) -> Path:
        """Write the fitted model to one safetensors file: weights, settings, scaling, provenance.

        A failed save leaves the old file: the new one is moved into place when it is whole.

        Raises
        ------
        ValueError
            If the folder does not exist, or a setting was changed after ``fit``.
        OSError
            If the file cannot be written.
        """
        self._check_fitted()
        self._check_settings()
        return write_model(path, self._tensors(), self._metadata() | self._tables())

    def cite(self) -> str:
        """BibTeX of the method."""
        return self.citation

    @property
    def source_(self) -> dict[str, Any]:
        """Keys by which an AnnData was read."""
        return self._known().source

    @property
    def feature_names_in_(self) -> np.ndarray:
        """Names of the features ``(feature,)``."""
        return np.asarray(self._known().features, dtype=object)

    @property
    def n_features_in_(self) -> int:
        """Number of features."""
        return len(self._known().features)

    @property
    def times_(self) -> np.ndarray:
        """Times that were learned from; for paths, the first and the last."""
        return np.asarray(self._known().times)

    @property
    def sizes_(self) -> tuple[int, ...]:
        """Number of samples at each time; for paths, the number of observations of each."""
        return self._known().sizes

    @property
    def hold_out_(self) -> list[Any]:
        """Times, or names of paths, that were held out from the fit."""
        return list(self._known().hold_out)

    @property
    def seed_(self) -> int:
        """Seed of the fit."""
        return self._known().seed

    def _fit(self, data: Any, source: dict[str, Any], hold_out: Any, run: Run) -> Self:
        """The one way to fit: read, build, learn, keep.

        A copy learns, so that a fit that fails leaves what was learned before as it was.
        """
        self.check_kinds()
        self.check()
        run = run.checked()
        attempt = self._unfitted()
        attempt.training_ = attempt._training(run.max_steps)
        reading = attempt.read(data, source, hold_out, run)
        run = replace(run, identity=attempt._identity(reading.provenance))
        attempt.scaling_, attempt.facts_ = reading.scaling, reading.facts
        attempt.provenance_ = reading.provenance
        if not attempt._resume_result(run):
            # Learning needs gradients, even where they are switched off around it.
            with showing(run.progress), torch.inference_mode(False), torch.enable_grad():
                process = attempt._built(reading.data, run.seed)
                outcome = attempt.learn(process, reading.data, run)
            attempt.history_, attempt.status_ = outcome.history, outcome.status
            # Methods with a closed form make the process anew; training changes it in place.
            if outcome.process is not None:
                process = outcome.process
            attempt._keep(process)
            if not outcome.checkpointed:
                attempt._keep_result(run)
        attempt.fitted_settings_ = setting_texts(attempt)
        # All at once: no error or key stroke can leave half of what was learned.
        self.__dict__ = attempt.__dict__
        return self

    def _unfitted(self) -> Self:
        """A copy with the same settings, and nothing learned."""
        other = copy.copy(self)
        # By scikit-learn's convention: what ends so was learned.
        for name in list(vars(other)):
            if name.endswith("_"):
                delattr(other, name)
        return other

    def _training(self, max_steps: int | None) -> Training | None:
        """Settings of the training loop for one fit; None for a method without the setting."""
        if "training" not in self.get_params(deep=False):
            return None
        settings = getattr(self, "training", None) or self.default_training()
        if max_steps is not None:
            # A copy: the user's own settings stay as they are.
            parameters = settings.check().get_params()
            settings = Training(**(parameters | {"max_steps": max_steps}))
        return settings.check()

    def default_training(self) -> Training:
        """Settings of the training loop when none are given."""
        return Training()

    def _identity(self, provenance: Provenance) -> dict[str, str]:
        """What a fit is of, by name."""
        return {
            # A resumed run may be trained longer, or on another device.
            "settings": fingerprint(self, {"training"}),
            "data": provenance.digest,
            "seed": str(provenance.seed),
        }

    def _built(self, data: Any, seed: int) -> nn.Module:
        # Whatever seed others have set, the first weights are those of this one.
        with seeded_modules(seed, "modules"):
            return self.build(data, self.scaling_)

    def _keep(self, process: nn.Module) -> None:
        """Keep the trained process; both ``fit`` and ``load`` end here."""
        self.process_ = process.eval().requires_grad_(False)

    def _keep_result(self, run: Run) -> None:
        """Write the result into the checkpoint of a fit that has no state between."""
        # One process writes: all of them have learned the same.
        if run.checkpoint is None or rank() > 0:
            return
        metadata = self._metadata() | self._tables() | {"identity": run.identity}
        try:
            write_model(run.checkpoint, self._tensors(), metadata)
        # A full disk, or a setting without a plain form, must not cost the fit.
        except (OSError, TypeError) as error:
            warn(
                f"the fit is complete, but its checkpoint could not be written: {error}",
            )

    def _resume_result(self, run: Run) -> bool:
        """Take up the result of the same fit from its checkpoint, where one lies there finished."""
        path = run.checkpoint
        if path is None or not run.resume or not is_result(path):
            return False
        metadata, tensors = read_model(path)
        check_format(path, metadata)
        check_identity(path, metadata.get("identity"), run.identity)
        # A fit that ran out of steps is made anew, for it may be given more now.
        if metadata.get("status") != "finished":
            return False
        restored(self, path, metadata, tensors)
        return True

    def _tensors(self) -> dict[str, Tensor]:
        """Every tensor of a fitted estimator."""
        return self.process_.state_dict()

    def _tables(self) -> dict[str, str]:
        return {name: table_to_text(getattr(self, name)) for name in self.tables}

    def _metadata(self) -> dict[str, Any]:
        """Everything of a fitted estimator that is not a tensor or a table, as plain data."""
        scaling = {}
        for name in ("shift", "scale", "start", "duration", "unit"):
            scaling[name] = to_plain(getattr(self.scaling_, name), name)
        return {
            "format": FORMAT,
            "version": dyninfer.__version__,
            "model": to_plain(self),
            "provenance": asdict(self.provenance_),
            "scaling": scaling,
            "training": to_plain(self.training_),
            "facts": self.facts_,
            "status": self.status_,
        }

    def _restore(
        self, metadata: dict[str, Any], tensors: dict[str, Tensor], device: torch.device
    ) -> None:
        """Undo :meth:`_metadata`, :meth:`_tensors` and :meth:`_tables`."""
        self.scaling_ = Scaling(**metadata["scaling"])
        self.provenance_ = Provenance.from_plain(metadata["provenance"])
        self.training_ = from_plain(metadata["training"])
        self.facts_ = metadata["facts"]
        self.status_ = metadata["status"]
        for name in self.tables:
            setattr(self, name, table_from_text(metadata[name]))
        self._restore_process(metadata, tensors, device)
        self.fitted_settings_ = setting_texts(self)

    def _restore_process(
        self, metadata: dict[str, Any], tensors: dict[str, Tensor], device: torch.device
    ) -> None:
        # Any seed will do: the weights are overwritten.
        process = self._built(None, 0)
        process.to(device)
        if self.training_ is not None:
            process.to(self.training_.dtype)
        check_shapes(process.state_dict(), tensors)
        process.load_state_dict(tensors)
        self._keep(process)

    def _check_fitted(self) -> None:
        if not hasattr(self, "process_"):
            raise NotFittedError(
                f"this {type(self).__name__} is not fitted yet; call fit(data, ...) first"
            )

    def _check_settings(self) -> None:
        """Refuse to use settings that are not those of what was learned."""
        fitted = self.fitted_settings_
        for name, text in setting_texts(self).items():
            if fitted.get(name) != text:
                # A message has 300 characters, and a setting may be a long table.
                before, now = fitted.get(name, "nothing")[:60], text[:60]
                raise ValueError(
                    f"{name} was changed after fit, from {before} to {now}, so the settings "
                    "no longer describe what was learned; fit again, or set it back"
                )

    def _known(self) -> Provenance:
        if "provenance_" not in vars(self):
            self._check_fitted()
        return vars(self)["provenance_"]
