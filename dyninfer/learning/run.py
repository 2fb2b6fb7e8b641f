"""How one fit is run, and what it comes to, whatever the method."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
from torch import nn

from dyninfer.learning.files import check_target
from dyninfer.learning.settings import check_count, check_seed, check_switch


@dataclass(frozen=True, kw_only=True)
class Run:
    """How one fit is to be run.

    Attributes
    ----------
    seed : int
        Fixes every draw.
    max_steps : int, optional
        Steps at most.
    progress : bool
        Show a progress bar.
    checkpoint : path, optional
        File for the state of the run, or for its result where there is no state between.
    resume : bool
        Continue from the checkpoint if it exists.
    identity : dict of str
        What the fit is of: a checkpoint of other settings, data or seed is not resumed.
    """

    seed: int = 0
    max_steps: int | None = None
    progress: bool = True
    checkpoint: str | Path | None = None
    resume: bool = False
    identity: dict[str, str] = field(default_factory=dict)

    def checked(self) -> Run:
        """The same run with plain numbers, or an error that names what cannot be."""
        resume = check_switch(self.resume, "resume")
        progress = check_switch(self.progress, "progress")
        max_steps = self.max_steps
        if max_steps is not None:
            max_steps = check_count(max_steps, "max_steps")
        if self.checkpoint is not None:
            check_target(self.checkpoint, "checkpoint")
        elif resume:
            raise ValueError(
                "resume=True needs the checkpoint file to resume from; give checkpoint="
            )
        return replace(
            self,
            seed=check_seed(self.seed),
            max_steps=max_steps,
            progress=progress,
            resume=resume,
        )


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What learning came to.

    Attributes
    ----------
    history : DataFrame
        One row per logged step, start or round.
    status : str
        "finished", "stopped early", "interrupted" or "diverged".
    process : module, optional
        What was learned, where it is not the process that ``build`` returned, trained in place.
    checkpointed : bool
        Whether the state of the run lies in the checkpoint already.
    """

    history: pd.DataFrame
    status: str
    process: nn.Module | None = None
    checkpointed: bool = False
