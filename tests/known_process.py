"""A fitted model whose process is a setting, for tests of what is asked of a model."""

from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch

from dyninfer.estimators import SnapshotEstimator
from dyninfer.learning.run import Outcome


@dataclass(kw_only=True, repr=False, eq=False)
class KnownProcess(SnapshotEstimator):
    """A process that is a setting: nothing is learned."""

    citation = "none"
    process: Any = None

    def build(self, data, scaling):
        return torch.nn.Identity()

    def learn(self, process, data, run):
        return Outcome(history=pd.DataFrame(), status="finished", process=self.process)

    def check_kinds(self, prefix=""):
        pass
