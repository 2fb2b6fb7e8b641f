"""Paths: time series of many individuals."""

from dyninfer.data.paths.paths import Paths

__all__ = ["Paths"]
