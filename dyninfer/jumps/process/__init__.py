"""Markov jump processes: a generator, and everything that follows from it."""

from dyninfer.jumps.process.chain import transition_matrix, with_diagonal
from dyninfer.jumps.process.process import MarkovJump

__all__ = ["MarkovJump", "transition_matrix", "with_diagonal"]
