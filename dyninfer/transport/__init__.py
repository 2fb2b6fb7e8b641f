"""Dynamics of populations that are seen at times: what the snapshot methods share.

``couplings`` pair the samples of neighbouring snapshots. ``interpolants`` and ``curves`` say how a
pair and a density move in between, and ``schedule`` lays an interpolant over the times of the data.
``lagrangians`` hold what is known beforehand, and ``objectives`` what is minimised. The methods
themselves are estimators; solvers and networks lie below.
"""
