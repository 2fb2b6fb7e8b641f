"""Estimators: settings in the constructor, data in ``fit``; one file per method, found by itself.

The bases hold what all methods share: the one way to fit, files, and what users ask of a fitted
model. A method says how its process is built and what is minimised. The mathematics behind it
lives in the room of its family (``transport``, ``jumps``, ``fractional``), and what looks at fitted
models, such as pictures and reports, above this room.
"""

from __future__ import annotations

import importlib
import pkgutil

from dyninfer.estimators.base import Estimator, Outcome, Provenance, Run
from dyninfer.estimators.fields import FieldEstimator
from dyninfer.estimators.loading import load
from dyninfer.estimators.paths import PathEstimator
from dyninfer.estimators.snapshots import SnapshotEstimator

for _module in pkgutil.iter_modules(__path__):
    _found = importlib.import_module(f"{__name__}.{_module.name}")
    globals().update(
        {
            name: cls
            for name, cls in vars(_found).items()
            if isinstance(cls, type) and issubclass(cls, Estimator)
        }
    )


def registry() -> dict[str, type[Estimator]]:
    """All concrete estimators by name, those that a user has defined included."""
    from dyninfer.learning.settings import Settings

    return {
        name: cls
        for name, cls in sorted(Settings.registry.items())
        if issubclass(cls, Estimator) and not getattr(cls, "__abstractmethods__", None)
    }


__all__ = [
    "Estimator",
    "FieldEstimator",
    "Outcome",
    "PathEstimator",
    "Provenance",
    "Run",
    "SnapshotEstimator",
    "load",
    "registry",
    *registry(),
]
