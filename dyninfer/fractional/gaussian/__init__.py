"""Gaussian chains: linear equations with memory, Kalman's filter, and conditioning on the future.

Here belongs what has a closed form because everything is Gaussian: transitions of a linear
equation, the exact likelihood, and the one backward filter that says what later observations tell
of the noise of every step. Parameters that are learned, and anything nonlinear, do not: they are in
``fractional/inference``.

Shapes: ``P`` paths, ``G`` independent groups of coordinates, ``L`` times, ``S`` states and ``p``
observed numbers of a group. Where all paths share their times, what does not depend on the values
has one path for all, written ``P or 1``.
"""
