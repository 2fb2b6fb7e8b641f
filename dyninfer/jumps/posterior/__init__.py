"""Fits, and what is believed after them."""
