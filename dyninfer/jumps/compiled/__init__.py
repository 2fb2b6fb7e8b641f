"""Loops over time, compiled by numba where it is installed.

Here belong: loops that visit every observation of every path on a CPU in float64, and those that
draw paths step by step. numba is imported by the first of them that runs, never with the package;
its code is kept on disk, so that only the first run on a machine compiles.

What is *not* here: what the loops are for (`likelihood`, `posterior`, `skeleton`), and data on
another device, for which the same is done there in torch.
"""
