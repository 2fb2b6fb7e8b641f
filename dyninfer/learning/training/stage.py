"""Stages of a run: the number of steps is chosen, then all data are learned from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """Where a run stands.

    Attributes
    ----------
    last_step : int
        Step with which the stage ends.
    learns_from_all : bool
        Whether the number of steps is chosen, and what was held out is learned from as well.
    stopped_early : bool
        Whether the validation ended the first stage, before it ran out of steps.
    """

    last_step: int
    learns_from_all: bool = False
    stopped_early: bool = False
