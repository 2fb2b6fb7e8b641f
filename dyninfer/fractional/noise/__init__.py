"""Fractional noise: exact motion, its Markov approximation, and its index."""
