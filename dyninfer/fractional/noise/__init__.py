"""Fractional noise and its Hurst index.

Here belong exact fractional Brownian motion, its Markov approximation, motion whose index changes
with time, and estimators of the index that need no equation. Equations driven by this noise, and
their inference, do not: they are in ``fractional/process.py`` and ``fractional/inference``.
"""
