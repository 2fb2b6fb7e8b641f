"""A network that reads generators off paths."""
