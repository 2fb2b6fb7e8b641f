"""The contract of an estimator as a battery of checks, for our own methods and for those of others.

>>> from dyninfer.testing import check_estimator
>>> from dyninfer import ActionMatching
>>> check_estimator(ActionMatching(width=16, depth=2))
"""

from __future__ import annotations

from sklearn.base import clone

from dyninfer.estimators import Estimator, FieldEstimator, PathEstimator
from dyninfer.testing import fields, paths, snapshots
from dyninfer.testing.common import Battery
from dyninfer.testing.fields import example_velocities
from dyninfer.testing.paths import example_paths
from dyninfer.testing.snapshots import example_data


def checks_of(model: Estimator) -> Battery:
    """Checks that apply to a method, by name."""
    if isinstance(model, PathEstimator):
        return paths.CHECKS
    if isinstance(model, FieldEstimator):
        return fields.CHECKS
    return snapshots.CHECKS


def check_estimator(model: Estimator) -> None:
    """Run every check on an unfitted estimator; an AssertionError names the failed check."""
    method = type(model).__name__
    for name, check in checks_of(model).items():
        try:
            # A fresh one, so that no check sees what another has done.
            check(clone(model))
        except AssertionError as error:
            raise AssertionError(f"{method} fails {name}: {error}") from error


__all__ = ["check_estimator", "checks_of", "example_data", "example_paths", "example_velocities"]
