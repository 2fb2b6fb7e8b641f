"""``dyninfer info``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

SUMMARY = "print versions and devices, for a bug report"
EXAMPLES = ["dyninfer info"]


def add_arguments(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """Add nothing: this command has no arguments."""


def run(arguments: argparse.Namespace) -> None:
    """Print versions and devices."""
    import torch

    from dyninfer.report import versions

    lines = versions()
    lines["threads"] = str(torch.get_num_threads())
    lines["gpu"] = _gpus()
    for name, value in lines.items():
        print(f"{name:<13} {value}")


def _gpus() -> str:
    import torch

    n_gpus = torch.cuda.device_count()
    names = [torch.cuda.get_device_name(k) for k in range(n_gpus)]
    if names:
        return ", ".join(names)
    if torch.backends.mps.is_available():
        return "mps"
    return "none"
