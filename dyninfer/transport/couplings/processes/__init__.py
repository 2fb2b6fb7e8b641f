"""Processes of our own that solve transport problems, and end with the one that started them."""

from dyninfer.transport.couplings.processes.workers import Workers

__all__ = ["Workers"]
