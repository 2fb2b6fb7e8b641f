"""Trajectories: what every simulation returns."""

from dyninfer.trajectories.trajectories import Trajectories

__all__ = ["Trajectories"]
