"""Gaussian messages."""
