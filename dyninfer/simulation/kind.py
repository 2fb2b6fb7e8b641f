"""The kinds of problem that a solver may be able to run."""

from __future__ import annotations

from enum import Enum


class Kind(Enum):
    """What is to be run; the value completes the sentence "this process is ...".

    ``FLOW``, ``ADDITIVE`` and ``MULTIPLICATIVE`` are ``dX = f dt + g dW`` with one Brownian motion
    for every coordinate. In fractional noise the state and its memory share a Brownian motion.
    """

    FLOW = "a flow without noise"
    ADDITIVE = "an equation whose noise does not depend on the state"
    MULTIPLICATIVE = "an equation whose noise depends on the state"
    FRACTIONAL_ADDITIVE = "driven by fractional noise that does not depend on the state"
    FRACTIONAL_MULTIPLICATIVE = "driven by fractional noise that depends on the state"
    JUMPS = "a jump process"
