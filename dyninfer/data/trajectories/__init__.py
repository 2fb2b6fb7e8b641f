"""Trajectories: what every simulation returns."""

from dyninfer.data.trajectories.trajectories import Trajectories

__all__ = ["Trajectories"]
