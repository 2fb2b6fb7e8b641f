"""Snapshots: unpaired samples of a population at several times."""

from dyninfer.data.snapshots.snapshots import Snapshots

__all__ = ["Snapshots"]
