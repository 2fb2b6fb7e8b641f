"""The one training loop: plain torch, any device, resumable bit for bit, one process or several.

Here belong the settings of a run, its steps, its checkpoints and its history. What is minimised
belongs to the methods, each with an :class:`~dyninfer.learning.objective.Objective`.
"""

from dyninfer.learning.training.loop import Result, TrainingRun, train
from dyninfer.learning.training.optimizer import AveragedOptimizer
from dyninfer.learning.training.settings import Training, warmup_then_cosine

__all__ = [
    "AveragedOptimizer",
    "Result",
    "Training",
    "TrainingRun",
    "train",
    "warmup_then_cosine",
]
