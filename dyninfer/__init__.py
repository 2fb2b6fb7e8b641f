"""Learn the dynamics behind snapshots and sparse paths, then simulate them."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from typing import Any

__version__ = "0.2.0"


def _places() -> dict[str, tuple[str, str]]:
    """Module of every public name, and its name there, as the stub beside this file says."""
    stub = ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    imported = {}
    public = {}
    for node in stub.body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                imported[alias.name] = (node.module or "", alias.name)
                if alias.asname:
                    public[alias.asname] = imported[alias.name]
        elif isinstance(node, ast.Assign):
            public[ast.unparse(node.targets[0])] = imported[ast.unparse(node.value)]
    return public


# Imported on first use: torch, POT and scanpy are slow to import.
_PLACES = _places()

__all__ = ["__version__", *_PLACES]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'dyninfer' has no attribute {name!r}")
    module, name_there = _PLACES[name]
    if module == "dyninfer":
        return importlib.import_module(f"dyninfer.{name_there}")
    return getattr(importlib.import_module(module), name_there)


def __dir__() -> list[str]:
    return sorted(__all__)
