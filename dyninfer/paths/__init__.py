"""Paths: time series of many individuals."""

from dyninfer.paths.paths import Paths

__all__ = ["Paths"]
