"""Markov jump processes: a generator, and everything that follows from it.

Here belongs what is known once the rates are: transition probabilities, stationary distributions,
passage times, fluxes. How rates are learned belongs to ``likelihood``, ``posterior`` and
``amortized``; how paths are drawn, to the files beside this folder.
"""

from dyninfer.jumps.process.chain import transition_matrix, with_diagonal
from dyninfer.jumps.process.process import MarkovJump

__all__ = ["MarkovJump", "transition_matrix", "with_diagonal"]
