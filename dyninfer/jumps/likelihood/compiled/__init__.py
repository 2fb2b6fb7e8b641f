"""Recursions over time, compiled by numba where it is installed.

Here belong: loops that visit every observation of every path on a CPU in float64. numba is imported
by the first of them that runs, never with the package; its code is kept on disk, so that only the
first run on a machine compiles.

What is *not* here: what the recursions are for (`hidden`, `posterior`), and data on another device,
for which `hidden` has the same recursions in torch.
"""
