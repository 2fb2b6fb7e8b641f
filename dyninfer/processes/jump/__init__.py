"""Markov jump processes: a generator, and everything that follows from it."""

from dyninfer.processes.jump.chain import transition_matrix, with_diagonal
from dyninfer.processes.jump.process import MarkovJump

__all__ = ["MarkovJump", "transition_matrix", "with_diagonal"]
