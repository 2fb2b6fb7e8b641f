"""Dynamics of populations that are seen at times."""
