"""The one training loop: plain torch, any device, resumable bit for bit, one process or several.

Here belong the settings of a run, its steps, its checkpoints and its history. What is minimised
belongs to the methods, each with an :class:`~dyninfer.learning.objective.Objective`; an inner
game of an objective takes its steps with :class:`AveragedOptimizer`.
"""

from dyninfer.learning.training.loop import Result, TrainingRun, train
from dyninfer.learning.training.optimizer import AveragedOptimizer, copies
from dyninfer.learning.training.settings import Training, warmup_then_cosine

__all__ = [
    "AveragedOptimizer",
    "Result",
    "Training",
    "TrainingRun",
    "copies",
    "train",
    "warmup_then_cosine",
]
